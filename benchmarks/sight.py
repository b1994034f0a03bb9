"""What an encoder finds: pose loss alone for a while, then errors of objects' poses in pictures it was trained on and in held-out ones.

    python benchmarks/sight.py --cache datasets/cache_ogbench_cube_double/frames-... --config configs/train/ogbench_cube_double.yaml \
        --change training.model.places=16 --change training.model.places=32

One line for each `--change` (or list of them, separated by blanks) and object. Everything else is as in the configuration; the rates are
those of a representation from nothing. One thread, so that several can run side by side.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from robo_dream import config
from robo_dream.data.cache import FrameCache, load_cache
from robo_dream.models.encoder import to_float
from robo_dream.models.heads import objects
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import Split, frame_index, model_spec, pictures, pose_labels
from robo_dream.training.latents import encode_frames, measure_scale
from robo_dream.training.losses import pose_loss
from robo_dream.training.optimiser import optimisers

ROWS = 192
LEARNING_RATE, MATRIX_RATE, WARMUP, LAST = 1e-3, 0.02, 0.05, 0.02
LOOKED_AT = 2000  # pictures of each split


def trained(cache: FrameCache, training: TrainingConfig, num_steps: int) -> tuple[LatentVideoModel, float]:
    """The model whose encoder and pose head have learned, and seconds a step."""
    torch.manual_seed(training.seed)
    model = LatentVideoModel(model_spec(cache, training.model), training.seed).train()
    parameters = [*model.encoder.parameters(), *model.pose_head.parameters()]
    rates = optimisers(parameters, LEARNING_RATE, MATRIX_RATE, 1e-2)
    labels, frames = pose_labels(cache, training.model.object_symmetry), frame_index(cache, 1).frames
    proprio, jitter, began = np.asarray(cache.proprio, np.float32), training.representation.color_jitter, time.perf_counter()
    for step in tqdm(range(num_steps), unit="step"):
        rng = np.random.default_rng((training.seed, step))
        some, warmup = rng.choice(frames, ROWS), max(1, round(WARMUP * num_steps))
        later = LAST + (1 - LAST) * 0.5 * (1 + np.cos(np.pi * (step - warmup) / (num_steps - warmup)))
        for optimiser, highest in rates.items():
            for group in optimiser.param_groups:
                group["lr"] = highest * ((step + 1) / warmup if step < warmup else later)
        views = []
        for name in cache.cameras:
            gain, offset = torch.from_numpy((rng.uniform(-1, 1, (2, ROWS, 1, 1, 1)) * jitter).astype(np.float32))
            views.append(to_float(torch.from_numpy(pictures(cache.images[name], some))) * (1 + gain) + offset)
        told = model.pose_head.normal(model.encoder(views, torch.from_numpy(proprio[some])))
        wanted = torch.from_numpy(labels[some])
        for parameter in parameters:
            parameter.grad = None
        pose_loss(told, model.pose_head.normalise(wanted)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        for optimiser in rates:
            optimiser.step()
    seconds = (time.perf_counter() - began) / num_steps
    measure_scale(model, cache, training.seed)
    return model.eval(), seconds


@torch.no_grad()
def errors(model: LatentVideoModel, cache: FrameCache, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """(picture, object) millimetres and degrees."""
    symmetry = model.spec.config.object_symmetry
    frames = np.sort(np.random.default_rng(0).permutation(frame_index(cache, 1, split).frames)[:LOOKED_AT])
    seen = objects(model.pose_head.numbers(encode_frames(model, cache, frames))[0]).numpy()
    true = objects(torch.from_numpy(pose_labels(cache, symmetry)[frames])).numpy()
    turn = np.arctan2(seen[..., 4], seen[..., 3]) - np.arctan2(true[..., 4], true[..., 3])
    return 1e3 * np.linalg.norm(seen[..., :3] - true[..., :3], axis=-1), np.degrees(np.abs((turn + np.pi) % (2 * np.pi) - np.pi)) / symmetry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="a frames-... folder that `robo-dream train` made")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--change", action="append", default=[])
    parser.add_argument("--steps", type=int, default=400)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cache = load_cache(args.cache)
    print("| changed | s a step | object | split | mm p50 / p90 / p95 | degrees p50 / p90 / p95 |\n|---|---|---|---|---|---|")
    for change in args.change or [""]:
        model, seconds = trained(cache, config.load(TrainConfig, args.config, change.split()).training, args.steps)
        for split in ("train", "test"):
            apart, turned = errors(model, cache, split)
            for number in range(apart.shape[1]):
                told = (" / ".join(f"{x:.1f}" for x in np.percentile(values[:, number], [50, 90, 95])) for values in (apart, turned))
                print(f"| {change or 'nothing'} | {seconds:.2f} | {number} | {split} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
