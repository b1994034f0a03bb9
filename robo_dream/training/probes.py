"""Spearman's rank correlation."""

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor, nn

from robo_dream.models.heads import OBJECT_POS, OBJECT_YAW, TOOL_POS, objects
from robo_dream.models.layers import mlp


def spearman(a: Float[np.ndarray, " number"], b: Float[np.ndarray, " number"]) -> float:
    """Correlation of ranks (ties share their mean rank); NaN when one of the two is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.asarray(stats.spearmanr(a, b))[0])


RIDGE = 1e-3
MLP_STEPS, MLP_BATCH = 600, 256


def probe_errors(predicted: Float[Tensor, "frame pose"], desired: Float[Tensor, "frame pose"], symmetry: int) -> dict[str, float]:
    """Median errors of positions in millimetres and of the objects' yaw in degrees (within their symmetry)."""
    things, wanted_things = objects(predicted), objects(desired)
    turn, wanted_turn = things[..., OBJECT_YAW], wanted_things[..., OBJECT_YAW]
    angle = torch.atan2(turn[..., 1], turn[..., 0]) - torch.atan2(wanted_turn[..., 1], wanted_turn[..., 0])
    yaw = torch.atan2(angle.sin(), angle.cos()).abs() / symmetry
    return {
        "object_mm": 1e3 * float((things - wanted_things)[..., OBJECT_POS].norm(dim=-1).median()),
        "object_yaw_deg": math.degrees(float(yaw.median())),
        "tool_mm": 1e3 * float((predicted - desired)[:, TOOL_POS].norm(dim=-1).median()),
    }


def linear_probe(
    train: Float[Tensor, "frame channel"], labels: Float[Tensor, "frame pose"], test: Float[Tensor, "other channel"]
) -> Float[Tensor, "other pose"]:
    """Ridge regression, fitted on one set of latents and applied to the other."""
    x, y = torch.nn.functional.pad(train, (0, 1), value=1.0).double(), labels.double()
    gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return (torch.nn.functional.pad(test, (0, 1), value=1.0).double() @ torch.linalg.solve(gram, x.T @ y)).float()


def mlp_probe(
    train: Float[Tensor, "frame channel"], labels: Float[Tensor, "frame pose"], test: Float[Tensor, "other channel"], seed: int
) -> Float[Tensor, "other pose"]:
    """A two-layer MLP, fitted on one set of latents and applied to the other."""
    mean, std = labels.mean(0), labels.std(0).clamp_min(1e-3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe: nn.Module = mlp(train.shape[1], 256, labels.shape[1]).to(train.device)
    optimiser = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, MLP_STEPS)
    rng = np.random.default_rng((seed, 6))
    with torch.enable_grad():
        for _ in range(MLP_STEPS):
            rows = torch.from_numpy(rng.integers(len(train), size=MLP_BATCH)).to(train.device)
            loss = (probe(train[rows]) - (labels[rows] - mean) / std).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return probe(test) * std + mean
