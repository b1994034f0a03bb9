r"""How well a gripper tells where a thing is: what `training.grasps` says of episodes, against the simulator's truth.

    python benchmarks/held_labels.py cube-single datasets/ogbench_cube_single configs/train/ogbench_cube_single_recorded.yaml
    python benchmarks/held_labels.py tabletop datasets/jaco datasets/jaco_memory configs/train/jaco_recorded.yaml \
        --looks datasets/cache_jaco_recorded

With `--looks` also how slides and switches stand, and what `training.looks` makes of it, from the pictures in that cache
(made where it is not there): some minutes. Where there are several things it is needed, as pictures tell which was held.
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
from robo_dream.training.grasps import Held, held_apart, held_poses
from robo_dream.training.identities import told_apart
from robo_dream.training.looking import looked
from robo_dream.training.slides import slide_poses
from robo_dream.training.switches import switch_poses

OUT = Path("docs/results/held_labels.json")


def errors(held: Sequence[Held], true: np.ndarray, symmetry: int) -> dict[str, float]:
    """Of position and turn, where poses are told; `true` has 7 numbers a frame."""
    told = np.concatenate([one.pose for one in held])
    is_told = np.isfinite(told).all(-1)
    millimetres = 1e3 * np.linalg.norm(told[is_told, :3] - true[is_told, :3], axis=-1)
    apart = symmetry * (told[is_told, 3] - upright_turn(true[is_told, 3:], symmetry))
    degrees = np.degrees(np.abs(np.arctan2(np.sin(apart), np.cos(apart)))) / symmetry
    found: dict[str, np.ndarray] = {"mm": millimetres, "degrees": degrees}
    return {f"{name}_p{p}": round(float(np.percentile(values, p)), 1) for name, values in found.items() for p in (50, 90)}


def seen_alone(held: Sequence[Held], true: np.ndarray) -> dict[str, float]:
    """In how many frames pictures alone tell where it is, and how far that is off; `true` has 7 numbers a frame."""
    told = np.concatenate([one.pose for one in held])
    is_seen = np.isfinite(told[:, 0]) & np.isnan(told[:, 3])
    millimetres = 1e3 * np.linalg.norm(told[is_seen, :3] - true[is_seen, :3], axis=-1)
    return {"frames_percent": percent(is_seen)} | {f"mm_p{p}": round(float(np.percentile(millimetres, p)), 1) for p in (50, 90)}


def named(
    held: Sequence[Held], whose: Sequence[Sequence[int]], proprio: Sequence[np.ndarray], true: np.ndarray, things: int
) -> tuple[list[int], float]:
    """Which of the world's things each that was told is, and of how many told holds, in percent, that is right."""
    told, nearest, first = [], [], 0
    for one, which, tool in zip(held, whose, proprio, strict=True):
        for hold, thing in zip(one.holds, which, strict=True):
            middle = (hold.first + hold.last) // 2
            if thing >= 0:
                told.append(thing)
                nearest.append(int(np.linalg.norm(true[first + middle, :, :3] - tool[middle, :3], axis=-1).argmin()))
        first += len(tool)
    orders = list(itertools.permutations(range(true.shape[1]), things))
    right = [np.mean(np.array(order)[told] == np.array(nearest)) for order in orders]
    return list(orders[int(np.argmax(right))]), percent(right[int(np.argmax(right))])


def slid(told: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """In how many frames it is known where slides stand, and how far that is off."""
    shares, off = [], []
    for number in range(told.shape[1]):
        is_told = np.isfinite(told[:, number, 0])
        away = np.linalg.norm(told[is_told, number, None, :3] - true[is_told][:, :, :3], axis=-1)
        shares.append(is_told.mean())
        off.append(1e3 * away[:, int(np.median(away, axis=0).argmin())])
    parts = {f"slides_mm_p{p}": round(float(np.mean([np.percentile(one, p) for one in off])), 1) for p in (50, 90)}
    return {"slides_told_percent": percent(shares), **parts}


def switched(told: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """In how many frames it is known how switches stand, and in how many of these rightly, whatever they are called."""
    shares, right = [], []
    for number in range(told.shape[1]):
        is_told = np.isfinite(told[:, number, 0])
        lies = told[is_told, number]
        thing = int(np.linalg.norm(true[is_told][:, :, :2] - lies[:, None, :2], axis=-1).mean(0).argmin())
        same = np.mean((lies[:, 2] > lies[:, 2].mean()) == (true[is_told, thing, 2] > true[:, thing, 2].mean()))
        shares.append(is_told.mean())
        right.append(max(same, 1 - same))
    return {"switches_told_percent": percent(shares), "switches_right_percent": percent(right)}


def percent(parts: object) -> float:
    return round(100 * float(np.mean(np.asarray(parts))), 1)


def mean(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([one[key] for one in found])), 1) for key in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", help="what the figures are called by")
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("config", type=Path)
    parser.add_argument("--looks", type=Path, metavar="CACHE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    training = load(TrainConfig, args.config).training
    assert training.grasps is not None
    data = open_dataset(args.data, pictures=False)
    episodes = [data.episode(number) for number in tqdm(range(len(data)), unit="episode")]
    proprio, control_dt, symmetry = [one.proprio for one in episodes], data.spec.action_spec.control_dt, training.model.object_symmetry
    held = held_poses(proprio, training.grasps, control_dt)
    true = np.concatenate([one.object_pose.reshape(len(one.proprio), -1, 7) for one in episodes])
    figures: dict[str, float] = {
        "episodes": len(episodes),
        "episodes_with_grasps_percent": percent([bool(one.holds) for one in held]),
        "grasps": sum(len(one.holds) for one in held),
    }
    frames = None if args.looks is None else build_cache(open_dataset(args.data), args.looks)
    things, order = [held], [0]
    if training.grasps.things > 1:
        assert frames is not None and training.looks is not None, "which of several things was held is told by pictures: give --looks"
        with Bars({}, "telling apart", "step") as bar:
            whose = told_apart(held, frames, training.grasps.things, training.looks, training.seed, bar)
        order, figures["told_apart_percent"] = named(held, whose, proprio, true, training.grasps.things)
        figures["grasps_told_percent"] = percent([thing >= 0 for one in whose for thing in one])
        things = held_apart(held, whose, proprio, training.grasps, control_dt)
    starts = np.cumsum([0, *map(len, proprio)])
    is_told = np.stack([np.isfinite(np.concatenate([one.pose for one in thing])).all(-1) for thing in things])
    figures["frames_told_percent"] = percent([is_told[:, a:b].mean() for a, b in itertools.pairwise(starts)])
    figures |= mean([errors(thing, true[:, number], symmetry) for thing, number in zip(things, order, strict=True)])
    if frames is not None and training.slides is not None:
        assert training.looks is not None
        with Bars({}, "learning where slides stand", "step") as bar:
            figures |= slid(slide_poses(frames, training.slides, training.looks, training.seed, bar), true)
    if frames is not None and training.switches is not None:
        assert training.looks is not None
        with Bars({}, "learning how switches stand", "step") as bar:
            figures |= switched(switch_poses(frames, training.switches, training.looks, training.seed, bar), true)
    if frames is not None and training.looks is not None and training.looks.rounds:
        with Bars({}, "looking", "step") as bar:
            mended = [
                looked(thing, frames, training.looks, training.seed + number, bar, training.grasps.beside)
                for number, thing in enumerate(things)
            ]
        found = mean([errors(thing, true[:, number], symmetry) for thing, number in zip(mended, order, strict=True)])
        figures |= {f"looked/{key}": value for key, value in found.items()}
        if training.looks.untold is not None:
            found = mean([seen_alone(thing, true[:, number]) for thing, number in zip(mended, order, strict=True)])
            figures |= {f"seen_alone/{key}": value for key, value in found.items()}
    before = json.loads(OUT.read_text()) if OUT.is_file() else {}
    kept = {key: value for key, value in before.items() if key[0] != "_" and not key.startswith(f"{args.world}/")}
    kept |= {key: value for key, value in before.items() if key.startswith("_made/")} | {f"_made/{args.world}": " ".join(sys.argv)}
    write_figures(OUT, {**kept, **{f"{args.world}/{key}": value for key, value in figures.items()}})
    print(figures)


if __name__ == "__main__":
    main()
