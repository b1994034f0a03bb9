"""Means and spreads over the candidates that scored well, leaving out those whose cost is not finite."""

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.planning.scoring import Scored


def elite_moments(
    elites: Scored, otherwise_mean: Float[Tensor, "batch time action"], otherwise_std: Float[Tensor, "batch time action"]
) -> tuple[Float[Tensor, "batch time action"], Float[Tensor, "batch time action"]]:
    """Mean and standard deviation of the elites with a finite total; `otherwise_*` for a problem that has none."""
    weights = torch.isfinite(elites.totals).to(elites.actions.dtype)
    return weighted_moments(elites, weights, otherwise_mean, otherwise_std)


def weighted_moments(
    scored: Scored,
    weights: Float[Tensor, "batch sample"],
    otherwise_mean: Float[Tensor, "batch time action"],
    otherwise_std: Float[Tensor, "batch time action"],
) -> tuple[Float[Tensor, "batch time action"], Float[Tensor, "batch time action"]]:
    """Weighted mean and standard deviation of the actions; `otherwise_*` where all weights of a problem are zero."""
    mass = weights.sum(dim=1)[:, None, None]
    shares = torch.where(mass[:, None] > 0, weights[:, :, None, None] / mass[:, None], 0.0)
    actions = torch.where(shares > 0, scored.actions, 0.0)  # actions of a lost candidate may be NaN
    mean = (actions * shares).sum(dim=1)
    std = ((actions - mean[:, None]).square() * shares).sum(dim=1).sqrt()
    return torch.where(mass > 0, mean, otherwise_mean), torch.where(mass > 0, std, otherwise_std)
