"""What the bridge learns from: somewhere on the way from a frame to a later one, and the action block recorded there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from robo_dream.models.policy import InverseDynamics
from robo_dream.models.policy_prior import on_the_way
from robo_dream.training.frames import blocks_after
from robo_dream.training.losses import weighted_mean
from robo_dream.training.processes import ALONE, Processes
from robo_dream.training.pseudo_actions import weights_after
from robo_dream.upload import uploaded


@dataclass(frozen=True)
class BridgeTargets:
    """An action block for each pair of start and goal, and which part of the way between them it took in its time."""

    begins: Float[Tensor, " batch"]  # fraction of the control steps from start to goal
    ends: Float[Tensor, " batch"]
    steps: Float[Tensor, " batch"]  # control steps from start to goal
    blocks: Float[Tensor, "batch block"]  # normalised
    weights: Float[Tensor, "batch 1"] | None = None  # where some blocks are pseudo-actions


def bridge_targets(
    rng: np.random.Generator,
    actions: Float[np.ndarray, "frame action"],
    starts: Int[np.ndarray, " batch"],
    goals: Int[np.ndarray, " batch"],
    block: int,
    device: torch.device | str,
    weights: Float32[np.ndarray, " frame"] | None = None,
    among: Processes = ALONE,
) -> BridgeTargets:
    """A random block of `block` control steps on each way; `actions` are normalised, `goals` at least a block after `starts`.

    It may begin at any control step, so goals need not be a whole number of blocks away. `weights` are those of `action_weights`.
    """
    begins, mine = rng.integers(goals - starts - block + 1), among.rows(len(starts))
    begins, starts, goals = begins[mine], starts[mine], goals[mine]
    steps = goals - starts
    blocks = blocks_after(actions, starts + begins, 1, block).reshape(len(starts), -1)
    columns: Sequence[np.ndarray] = (begins / steps, (begins + block) / steps, steps, blocks)
    targets = BridgeTargets(*(uploaded(np.asarray(column, np.float32), device) for column in columns))
    told = weights_after(weights, starts + begins, 1, block)
    return targets if told is None else replace(targets, weights=uploaded(told, device))


def bridge_loss(
    inverse: InverseDynamics,
    starts: Float[Tensor, "batch channel"],
    goals: Float[Tensor, "batch channel"],
    targets: BridgeTargets,
    among: Processes = ALONE,
) -> Float[Tensor, ""]:
    """Squared error of the actions read off pairs of interpolated points (RWM, arXiv 2609.29171)."""
    read = inverse(on_the_way(starts, goals, targets.begins), on_the_way(starts, goals, targets.ends))
    return weighted_mean((read.float() - targets.blocks).square(), targets.weights, among)


def bridge_consistency(
    latents: Float[Tensor, "batch frame channel"],
    goals: Float[Tensor, "batch channel"],
    steps: Float[Tensor, " batch"],
    block: int,
    among: Processes = ALONE,
) -> Float[Tensor, ""]:
    """Squared distance of frames `block` control steps apart from where a bridge from the first of them has its points.

    Frames beyond the goal, which is `steps` away from the first, do not count.
    """
    num_frames = latents.shape[1]
    fractions = block * torch.arange(1, num_frames, device=latents.device) / steps[:, None]
    is_before = (fractions < 1).to(latents.dtype)
    points = on_the_way(latents[:, :1].expand_as(latents[:, 1:]), goals[:, None].expand_as(latents[:, 1:]), fractions)
    errors = (latents[:, 1:] - points).float().square().mean(-1)
    return (errors * is_before).sum() / among.mean(is_before.sum()).clamp(min=1.0 / among.count)
