"""Held-out metrics that mean something, as plain numbers for logs, checkpoints and tables."""

from typing import Any

import numpy as np
import torch

from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.bridge_targets import bridge_loss, bridge_targets
from robo_dream.training.frames import Frames, frame_index, goal_frames, known, normalised_actions, pose_labels
from robo_dream.training.latents import encode_frames
from robo_dream.training.open_loop import OpenLoop, held_out_windows, open_loop
from robo_dream.training.probes import linear_probe, mlp_probe, probe_errors

HORIZON = 10
MAX_PROBE_FRAMES = 4000
MAX_BRIDGES = 1000
LONGEST_BRIDGE = 80  # control steps


def held_out_metrics(model: LatentVideoModel, cache: Frames, num_windows: int = 200, seed: int = 0) -> dict[str, Any]:
    """Open-loop errors on test episodes, how well actions are read off latents, and probes of the latent; JSON numbers throughout."""
    longest = int(np.diff(cache.episode_starts)[~np.asarray(cache.is_train, bool)].max(initial=0))
    horizon = min(HORIZON, (longest - 1) // model.action_block)
    metrics: dict[str, Any] = {}
    if horizon > 0:
        windows = held_out_windows(cache, model.action_block, num_windows, horizon, seed)
        metrics["open_loop"] = _open_loop_numbers(open_loop(model, cache, windows, horizon), model.action_block)
        metrics["actions"] = action_metrics(model, cache, seed)
    posed = (frame_index(cache, 1, split).frames for split in ("train", "test"))
    if all(known(np.asarray(cache.object_pose)[frames]).any() for frames in posed):
        metrics["pose"] = pose_metrics(model, cache, seed)
    return metrics


@torch.no_grad()
def action_metrics(model: LatentVideoModel, cache: Frames, seed: int) -> dict[str, float]:
    """What part of the variance of action blocks on test frames is not read off neighbours, and off bridges to later frames."""
    block, rng, actions = model.action_block, np.random.default_rng((seed, 8)), normalised_actions(cache)
    index = frame_index(cache, block + 1, "test")
    starts = np.sort(rng.permutation(index.starts)[:MAX_BRIDGES])
    metrics = {}
    for name, longest in (("neighbours", block), ("bridge", LONGEST_BRIDGE)):
        goals = goal_frames(rng, starts, index.last[starts], block, longest, index.every)
        targets = bridge_targets(rng, actions, starts, goals, block, model.device)
        error = bridge_loss(model.inverse_dynamics, encode_frames(model, cache, starts), encode_frames(model, cache, goals), targets)
        variance = (targets.blocks - targets.blocks.mean(0)).square().mean()
        metrics[name] = round(float(error / variance), 4)
    return metrics


@torch.no_grad()
def pose_metrics(model: LatentVideoModel, cache: Frames, seed: int) -> dict[str, dict[str, float]]:
    """Median pose errors on test frames where all are known: the model's own head, a linear and an MLP probe fitted on training frames."""
    symmetry, rng = model.spec.config.object_symmetry, np.random.default_rng((seed, 7))
    labels = pose_labels(cache, symmetry)
    chosen = []
    for split in ("train", "test"):
        frames = frame_index(cache, 1, split).frames
        frames = frames[known(labels[frames])]
        chosen.append(np.sort(rng.permutation(frames)[:MAX_PROBE_FRAMES]))
    train, test = (encode_frames(model, cache, frames) for frames in chosen)
    train_labels, test_labels = (torch.from_numpy(labels[frames]).to(model.device) for frames in chosen)
    return {
        "head": probe_errors(model.pose_head.numbers(test)[0], test_labels, symmetry),
        "linear": probe_errors(linear_probe(train, train_labels, test), test_labels, symmetry),
        "mlp": probe_errors(mlp_probe(train, train_labels, test, seed), test_labels, symmetry),
    }


def _open_loop_numbers(result: OpenLoop, block: int) -> dict[str, Any]:
    columns = {
        "imagined_mse": result.imagined_mse.mean(0), "copy_mse": result.copy_mse.mean(0), "floor_mse": result.floor_mse.mean(0),
        "copy_over_imagined": result.ratio, "latent_error": result.latent_error.mean(0),
        "copy_latent_error": result.copy_latent_error.mean(0), "disagreement": result.disagreement.mean(0),
        "spearman_by_step": np.array(result.spearman_by_step),
    }  # fmt: skip
    numbers: dict[str, Any] = {name: [round(float(x), 6) for x in column] for name, column in columns.items()}
    return {
        "windows": len(result.windows),
        "control_steps": [block * (h + 1) for h in range(result.imagined_mse.shape[1])],
        **numbers,
        "spearman": round(result.spearman, 4),
    }
