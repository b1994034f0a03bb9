"""How well a gripper tells where a thing is: what `training.grasps` says of episodes, against the simulator's truth.

    python benchmarks/held_labels.py cube-single datasets/ogbench_cube_single configs/train/ogbench_cube_single_recorded.yaml
    python benchmarks/held_labels.py tabletop datasets/jaco configs/train/jaco_recorded.yaml --looks datasets/cache_jaco_recorded

With `--looks` also what `training.looks` makes of it, from the pictures in that cache (made where it is not there): some minutes.
Figures of other worlds stay in the file; `_made/WORLD` is the command that made a world's.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from results_file import write_figures
from tqdm import tqdm

from robo_dream.config import load
from robo_dream.data.cache import build_cache, open_dataset
from robo_dream.embodiment import upright_turn
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.grasps import Held, held_poses
from robo_dream.training.looking import looked

OUT = Path("docs/results/held_labels.json")


def errors(held: Sequence[Held], true: np.ndarray, symmetry: int) -> dict[str, float]:
    """Of position and turn, where poses are told."""
    told = np.concatenate([one.pose for one in held])
    is_told = np.isfinite(told).all(-1)
    millimetres = 1e3 * np.linalg.norm(told[is_told, :3] - true[is_told, :3], axis=-1)
    apart = symmetry * (told[is_told, 3] - upright_turn(true[is_told, 3:], symmetry))
    degrees = np.degrees(np.abs(np.arctan2(np.sin(apart), np.cos(apart)))) / symmetry
    found: dict[str, np.ndarray] = {"mm": millimetres, "degrees": degrees}
    return {f"{name}_p{p}": round(float(np.percentile(values, p)), 1) for name, values in found.items() for p in (50, 90)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", help="what the figures are called by")
    parser.add_argument("data", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--looks", type=Path, metavar="CACHE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    training = load(TrainConfig, args.config).training
    assert training.grasps is not None
    data = open_dataset(args.data, pictures=False)
    episodes = [data.episode(number) for number in tqdm(range(len(data)), unit="episode")]
    held = held_poses([episode.proprio for episode in episodes], training.grasps, data.spec.action_spec.control_dt)
    true = np.concatenate([episode.object_pose.reshape(len(episode.proprio), -1, 7)[:, 0] for episode in episodes])
    is_told, symmetry = np.isfinite(np.concatenate([one.pose for one in held])).all(-1), training.model.object_symmetry
    starts = np.cumsum([0, *(len(one.pose) for one in held)])
    figures = {
        "episodes": len(episodes),
        "episodes_with_grasps_percent": round(100 * np.mean([bool(one.holds) for one in held]), 1),
        "grasps": sum(len(one.holds) for one in held),
        "frames_told_percent": round(100 * np.mean([is_told[a:b].mean() for a, b in itertools.pairwise(starts)]), 1),
        **errors(held, true, symmetry),
    }
    if args.looks is not None:
        assert training.looks is not None
        frames = build_cache(open_dataset(args.data), args.looks)
        with Bars({}, "looking", "step") as bar:
            mended = looked(held, frames, training.looks, training.seed, bar, training.grasps.beside)
        figures |= {f"looked/{key}": value for key, value in errors(mended, true, symmetry).items()}
    before = json.loads(OUT.read_text()) if OUT.is_file() else {}
    kept = {key: value for key, value in before.items() if key[0] != "_" and not key.startswith(f"{args.world}/")}
    kept |= {key: value for key, value in before.items() if key.startswith("_made/")} | {f"_made/{args.world}": " ".join(sys.argv)}
    write_figures(OUT, {**kept, **{f"{args.world}/{key}": value for key, value in figures.items()}})
    print(figures)


if __name__ == "__main__":
    main()
