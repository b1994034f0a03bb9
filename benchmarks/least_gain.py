"""By how much another candidate must be imagined better than the policy's own before it is taken, calibrated on held-out episodes.

    python benchmarks/least_gain.py configs/checkpoints/ogbench_cube_double_s.safetensors --dataset datasets/held_out
    python benchmarks/least_gain.py CHECKPOINT --write runs/careful.safetensors

Imagines what recorded actions lead to, and compares with what came of them, by the checkpoint's own cost and horizon: in 95 % of the
windows no more is promised too much than what is printed, which is `planner.least_gain` of the checkpoint's planning settings. Without
--dataset ten fresh episodes of the checkpoint's world are played. --write leaves a checkpoint that plans so; weights stay as they are.
--evaluated adds what methods of a results.jsonl of `robo-dream evaluate` reach, and what each gains over the policy alone.
Figures go to `docs/results/least_gain.json`, as `CHECKPOINT/SETTINGS/least_gain` and `CHECKPOINT/TASK/METHOD/FIGURE`; others stay.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

sys.path.insert(0, str(Path(__file__).parent))

from imagination_pays import figures_of
from results_file import write_figures

from robo_dream.data.cache import frames_of, open_dataset
from robo_dream.evaluation.results import read_results
from robo_dream.models import checkpoint
from robo_dream.runtime.collect import collect, dataset_spec
from robo_dream.runtime.inspect import fresh_config
from robo_dream.runtime.least_gain import least_gains, write_with_least_gains
from robo_dream.training.promises import NUM_WINDOWS


def measured(path: Path, folder: Path, fraction: float, windows: int) -> dict[str, float]:
    info, model, data = checkpoint.read_info(path), checkpoint.load(path), open_dataset(folder)
    return least_gains(info, model, frames_of(data, range(data.num_episodes)), fraction, windows)


def fresh(path: Path, folder: Path, num_episodes: int) -> Path:
    """Episodes that nobody learned from."""
    config = fresh_config(path, checkpoint.read_info(path), folder, num_episodes, 0, 1)
    list(collect(config, dataset_spec(config), range(config.seed, config.seed + num_episodes)))
    return folder


def evaluated(path: Path) -> dict[str, float | int | str | None]:
    """By task and method, as `imagination_pays` tells them, but for rollouts, which the checkpoint says."""
    found, every = {}, read_results(path)
    for task, method in dict.fromkeys((one.task, one.method) for one in every):
        figures = figures_of(method, [one for one in every if one.task == task], 0)
        found |= {f"{task}/{method}/{name}": value for name, value in figures.items() if name != "rollouts"}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dataset", type=Path, metavar="FOLDER", help="held-out episodes, instead of ten fresh ones")
    parser.add_argument("--fraction", type=float, default=0.95, help="of windows in which no more may be promised too much")
    parser.add_argument("--windows", type=int, default=NUM_WINDOWS)
    parser.add_argument("--write", type=Path, metavar="FILE", help="the checkpoint again, planning so")
    parser.add_argument("--evaluated", type=Path, help="results.jsonl of `robo-dream evaluate` with methods to be compared")
    parser.add_argument("--results", type=Path, default=Path("docs/results/least_gain.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="robo-dream-least-gain-") as folder:
        gains = measured(args.checkpoint, args.dataset or fresh(args.checkpoint, Path(folder), 10), args.fraction, args.windows)
    print("\n".join(f"{name}: planner.least_gain={gain}" for name, gain in gains.items()))
    kept = json.loads(args.results.read_text()) if args.results.exists() else {}
    found = {f"{args.checkpoint.stem}/{name}/least_gain": gain for name, gain in gains.items()}
    more = {} if args.evaluated is None else evaluated(args.evaluated)
    found |= {f"{args.checkpoint.stem}/{name}": value for name, value in more.items()}
    write_figures(args.results, {key: value for key, value in kept.items() if key[0] != "_"} | found)
    if args.write is not None:
        print(write_with_least_gains(args.checkpoint, args.write, gains))


if __name__ == "__main__":
    main()
