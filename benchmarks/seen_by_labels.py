"""Where a checkpoint believes the object, in held-out frames of which joints tell where it is and in those of which they tell nothing.

    python benchmarks/seen_by_labels.py jaco configs/checkpoints/jaco_recorded_s.safetensors configs/train/jaco_recorded.yaml \
        --data datasets/jaco datasets/jaco_memory --cache datasets/cache_jaco_recorded

The simulator's truth judges; nothing else reads it. Level errors in millimetres go to docs/results/seen_by_labels.json, as NAME/told/mm_p50
and so on; figures of other names stay.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch
from results_file import write_figures

from robo_dream.config import load
from robo_dream.data.cache import build_cache, open_dataset
from robo_dream.models import checkpoint
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.grasps import held_poses
from robo_dream.training.latents import encode_frames

OUT = Path("docs/results/seen_by_labels.json")
EVERY = 2  # frames, of which one is looked at
PERCENTILES = (50, 90, 95)


def main() -> None:
    parser = argparse.ArgumentParser(description="Where a checkpoint believes the object, by what labels tell.")
    parser.add_argument("name", help="what the figures are called by")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("config", type=Path, help="of a training: how joints tell (training.grasps)")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    grasps = load(TrainConfig, args.config).training.grasps
    assert grasps is not None, "joints tell of nothing without training.grasps"
    frames, model = build_cache(open_dataset(args.data), args.cache), checkpoint.load(args.checkpoint)
    bounds, proprio = np.asarray(frames.episode_starts), np.asarray(frames.proprio)
    held = held_poses([proprio[a:b] for a, b in itertools.pairwise(bounds)], grasps, frames.control_dt)
    is_told = np.isfinite(np.concatenate([one.pose for one in held])).all(-1)
    chosen = np.flatnonzero(~np.repeat(np.asarray(frames.is_train, bool), np.diff(bounds)))[::EVERY]
    with Bars({}, "looking", "frame") as bar, torch.no_grad():
        seen = model.pose_head(encode_frames(model, frames, chosen, bar)).object_pos[:, 0, :2].numpy()
    off = 1e3 * np.linalg.norm(seen - np.asarray(frames.object_pose)[chosen, :2], axis=-1)
    figures: dict[str, float] = {"frames": len(chosen), "told/percent": round(100 * float(is_told[chosen].mean()), 1)}
    for kind, rows in (("told", is_told[chosen]), ("untold", ~is_told[chosen])):
        figures |= {f"{kind}/mm_p{p}": round(float(np.percentile(off[rows], p)), 1) for p in PERCENTILES}
    before = json.loads(OUT.read_text()) if OUT.is_file() else {}
    kept = {key: value for key, value in before.items() if key[0] != "_" and not key.startswith(f"{args.name}/")}
    made = {key: value for key, value in before.items() if key.startswith("_made/")} | {f"_made/{args.name}": " ".join(sys.argv)}
    write_figures(OUT, {**kept, **{f"{args.name}/{key}": value for key, value in figures.items()}, **made})
    print(figures)


if __name__ == "__main__":
    main()
