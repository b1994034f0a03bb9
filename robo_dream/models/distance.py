"""How many control steps away a goal is: a learned temporal distance on latents (HILP, Park et al. 2024, arXiv 2402.15567).

Assumes a symmetric distance (going there takes as long as coming back), which holds for a tool in free space and not for
dropping things. With discount g a distance of d steps is the metric u = 1 - g^d = |phi(s) - phi(goal)|, concave in d.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.models.config import ModelSpec
from robo_dream.models.layers import mlp

MAX_DISCOUNTED = 0.995  # the logarithm's end: beyond this everything is equally far


class TemporalDistance(nn.Module):
    """phi and the reading of its distances in control steps."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.discount = spec.config.discount
        self.phi = mlp(spec.config.latent, spec.config.widths.mlp, spec.config.distance_dim)

    def discounted(self, latents: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*#batch channel"]) -> Float[Tensor, "*batch"]:
        """u = 1 - discount^steps."""
        return ((self.phi(latents) - self.phi(goals)).float().square().sum(-1) + 1e-6).sqrt()

    def forward(self, latents: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*#batch channel"]) -> Float[Tensor, "*batch"]:
        """Control steps to the goal, at least 0."""
        return torch.log1p(-self.discounted(latents, goals).clamp_max(MAX_DISCOUNTED)) / math.log(self.discount)
