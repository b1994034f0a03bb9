"""What local goals add: the policy alone, search as released, and search by where things should be shortly, on identical pairs.

    robo-dream train --config configs/train/ogbench_cube_single_recorded.yaml stage=local_goals training.local_goals={} \\
        init=configs/checkpoints/ogbench_cube_single_recorded_s.safetensors out=runs/local_goals
    python benchmarks/local_goals.py runs/local_goals/model.safetensors --pairs 40
    python benchmarks/local_goals.py CHECKPOINT --pairs 40 --tasks five_tasks --methods planner local_10_and_final
    python benchmarks/local_goals.py CHECKPOINT --held-out datasets/held_out

Pairs are drawn for this as frozen ones are, from seeds that count from 3,000,000, so that whoever chooses by these figures has not looked
at the frozen ones. Search is the checkpoint's own for the task, with the same proposals; only its cost is another. All methods of a pair
are tried before the next pair, so that it can be stopped whenever one likes, and started again. Figures go to
`docs/results/local_goals.json` as `WORLD/METHOD/FIGURE` (`steps`: control steps until the goal was held, or all that were allowed); those
of other worlds stay. --held-out adds how well local goals are told on the episodes of a dataset.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from imagination_pays import ALONE, RELEASED, Figures, figures_of, world_name
from results_file import write_figures

from robo_dream.config import Changes
from robo_dream.data.cache import frames_of, open_dataset
from robo_dream.evaluation.manifest import write_manifest
from robo_dream.evaluation.results import ResultFile
from robo_dream.models import checkpoint
from robo_dream.runtime.environment import build_environment, usual_tasks
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts
from robo_dream.runtime.planner import PlanningConfig, rollouts_a_decision
from robo_dream.runtime.progress import Bars
from robo_dream.training.config import TrainingConfig
from robo_dream.training.latents import encode_frames
from robo_dream.training.local_goals import LocalGoalBatches, errors_of
from robo_dream.training.policy import PolicyBatches
from sim.pairs import build_manifest

FIRST_SEED, FEWEST_PAIRS = 3_000_000, 40
NOTED_EVERY = 4  # pairs
NO_FINAL = {"distance": 0.0, "latent": 0.0, "pose": 0.0}
COSTS: Mapping[str, Mapping[str, Any]] = {
    "local_5": {**NO_FINAL, "local_goal": {"steps": 5}},
    "local_10": {**NO_FINAL, "local_goal": {"steps": 10}},
    "local_10_nearest": {**NO_FINAL, "local_goal": {"steps": 10, "at": "nearest"}},
    "local_10_and_final": {"local_goal": {"steps": 10}},
    "final_nearest": {"steps": {"step_weight": 0.0, "final_weight": 0.0, "nearest_weight": 1.0}},
}
METHODS = (ALONE, RELEASED, *COSTS)


def evaluation_of(path: Path, task: str, pairs: int, folder: Path, methods: tuple[str, ...]) -> Evaluation:
    """Of one task: the released search with each of `COSTS`."""
    config = EvaluateConfig(checkpoint=path, tasks=(task,), num_pairs=pairs, manifests=folder / "manifests", workers=1)
    released = Evaluation.of(config).planning_of(RELEASED, task).planner
    changes = {name: Changes[PlanningConfig]({"cost": cost}) for name, cost in COSTS.items()}
    return Evaluation.of(replace(config, methods=methods, extra_planners=dict.fromkeys(COSTS, released), by_method=changes))


def make_pairs(evaluation: Evaluation, task: str, pairs: int) -> None:
    """The manifest, where it is not there; the same seeds give the same one."""
    if not evaluation.path(task).is_file():
        with build_environment(evaluation.world) as environment, Bars({}, f"pairs of {task}", unit="pair") as bars:
            write_manifest(evaluation.path(task), build_manifest(environment, task, pairs, bars, FIRST_SEED))


def measured(evaluation: Evaluation, task: str, folder: Path) -> Iterator[Figures]:
    """Figures by method and name after some pairs that all methods have tried, and at last after all."""
    evaluation.require()
    file = ResultFile(folder / f"{task}.jsonl", evaluation.settings_of())
    jobs = sorted(evaluation.jobs(), key=lambda job: job.pair)  # stable: methods in turn
    left = [job for job in jobs if (job.task, job.method, job.pair) not in file.results]
    with Bars({}, task, unit="attempt") as bars:
        for done, result in enumerate(attempts(evaluation.config, left), start=len(jobs) - len(left) + 1):
            file.add(result)
            bars(done, len(jobs))
            if done % (NOTED_EVERY * len(evaluation.config.methods)) == 0 and done < len(jobs):
                yield _figures(evaluation, task, file)
    yield _figures(evaluation, task, file)


def _figures(evaluation: Evaluation, task: str, file: ResultFile) -> Figures:
    methods = evaluation.config.methods
    tried = {method: {result.pair for result in file.results.values() if result.method == method} for method in methods}
    common = set.intersection(*tried.values())
    results = sorted((result for result in file.results.values() if result.pair in common), key=lambda result: result.pair)
    if not results:
        return {}
    rollouts = {method: rollouts_a_decision(evaluation.planning_of(method, task).planner) for method in methods}
    every = {f"{method}/{name}": value for method in methods for name, value in figures_of(method, results, rollouts[method]).items()}
    for method in methods:
        every[f"{method}/steps"] = round(float(np.mean([result.steps for result in results if result.method == method])), 1)
    return {name: value for name, value in every.items() if "/decision_" not in name}  # it is not about time


@torch.no_grad()
def told(path: Path, dataset: Path, seed: int = 0) -> dict[str, float]:
    """By steps ahead: how far local goals are off what came, and who takes all to stay as it is; normalised, as the model sees it.

    Of pairs as hindsight finds them, most within the skill under way, where the dataset names skills: the judge may read these.
    """
    model, data = checkpoint.load(path), open_dataset(dataset)
    cache = replace(frames := frames_of(data, range(data.num_episodes)), is_train=np.ones(frames.num_episodes, bool))
    seen = model.seen(encode_frames(model, cache)).float()
    pairs = PolicyBatches(cache, TrainingConfig(model=model.spec.config), seen)
    batch = LocalGoalBatches(pairs, model.spec.local_goals, 4000)(seed)
    found = errors_of(model, batch)
    return {
        f"held_out/{steps}/{name}": round(value, 4)
        for steps, both in found.items()
        for name, value in zip(("off", "stays"), both, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="without, those that the world has frozen pairs of")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="the policy alone is always one")
    parser.add_argument("--held-out", type=Path, metavar="DATASET", help="only say how well local goals are told there")
    parser.add_argument("--out", type=Path, default=Path("runs/local_goals_measured"), help="pairs, and outcomes by pair and method")
    parser.add_argument("--results", type=Path, default=Path("docs/results/local_goals.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.held_out is not None:
        note(args.results, told(args.checkpoint, args.held_out), "held_out/")
        return
    whole = Evaluation.of(EvaluateConfig(checkpoint=args.checkpoint))
    methods = tuple(name for name in METHODS if name == ALONE or name in args.methods)
    for task in args.tasks or whole.tasks:
        evaluation = evaluation_of(args.checkpoint, task, args.pairs, args.out, methods)
        make_pairs(evaluation, task, max(args.pairs, FEWEST_PAIRS))
        stem = world_name(whole.world, task, usual_tasks(whole.world, whole.manifests))
        for figures in measured(evaluation, task, args.out):
            note(args.results, {f"{stem}/{name}": value for name, value in figures.items()}, f"{stem}/")


def note(path: Path, figures: Figures, instead_of: str) -> None:
    """Puts `figures` in place of those whose names begin so."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    write_figures(path, {key: value for key, value in kept.items() if not key.startswith(("_", instead_of))} | dict(figures))


if __name__ == "__main__":
    main()
