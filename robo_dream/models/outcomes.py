"""What the world may do in an imagined step: a few outcomes, how likely each is, and where it puts the latent."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robo_dream.models.config import ModelSpec
from robo_dream.models.dynamics import Dynamics
from robo_dream.models.layers import mlp

ODDS_WIDTH = 64  # of the hidden layer that tells odds: a large one learns single tosses by heart


class Outcomes(nn.Module):
    """A mixture around what the ensemble expects: every outcome has its odds and its own shift of the latent.

    Mixture density networks (Bishop 1994, NCRG/94/004, equations 22 to 24), the discrete latent of a step that DreamerV2 draws (Hafner et
    al. 2020, arXiv 2010.02193) with so few values that all of them are looked at. What the heads of the ensemble disagree about is what the
    model does not know; what outcomes are about is what nobody can.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        latent, self.num_outcomes = spec.config.latent, spec.config.outcomes
        given = latent + spec.block_size
        self.odds = mlp(given, ODDS_WIDTH, self.num_outcomes, 1)
        self.shift = mlp(given, spec.config.widths.mlp, self.num_outcomes * latent)
        self.log_std = nn.Parameter(torch.full((latent,), math.log(0.3)))  # of a channel around its outcome

    def told(
        self, latents: Float[Tensor, "row channel"], blocks: Float[Tensor, "row block"]
    ) -> tuple[Float[Tensor, "row outcome"], Float[Tensor, "row outcome channel"]]:
        """The logits of all outcomes of a step, and their shifts."""
        given = torch.cat([latents, blocks], -1)
        return self.odds(given).float(), self.shift(given).float().unflatten(-1, (self.num_outcomes, -1))

    def log_likelihood(
        self, following: Float[Tensor, "row channel"], means: Float[Tensor, "row outcome channel"]
    ) -> Float[Tensor, "row outcome"]:
        """Of the latent that came, under each outcome; constants left out."""
        off = (following[:, None] - means) * torch.exp(-self.log_std)
        return -(0.5 * off.square() + self.log_std).sum(-1)

    def imagine(
        self,
        dynamics: Dynamics,
        latents: Float[Tensor, "row channel"],
        blocks: Float[Tensor, "row horizon block"],
        draws: Float[Tensor, "row horizon"],
        temperature: Float[Tensor, " row"],
        memory: Float[Tensor, "row memory"] | None = None,
    ) -> tuple[Float[Tensor, "row horizon channel"], Float[Tensor, "row horizon"]]:
        """One future a row: each step stands on the outcome that was drawn before. And the spread of the heads at each step.

        A draw lies in the part of [0, 1) that belongs to its outcome, so that candidates for which the same things are likely have the same
        luck with it.
        """
        found, spreads, rows = [], [], torch.arange(len(latents), device=latents.device)
        for step in range(blocks.shape[1]):
            change, mean = next(dynamics.changes(latents, blocks[:, step : step + 1], memory))
            logits, shifts = self.told(latents, blocks[:, step])
            latents = latents + mean + shifts[rows, chosen(logits, draws[:, step], temperature)]
            found.append(latents)
            spreads.append((change - mean).square().mean(0).sqrt().mean(-1))
        return torch.stack(found, 1), torch.stack(spreads, 1)


def chosen(logits: Float[Tensor, "row outcome"], draws: Float[Tensor, " row"], temperature: Float[Tensor, " row"]) -> Int[Tensor, " row"]:
    """The outcome in whose part of [0, 1) each draw lies, parts as large as odds to the power of 1 / temperature; at 0 the likeliest."""
    odds = torch.softmax(torch.log_softmax(logits, -1) / temperature.clamp(min=1e-6)[:, None], -1)
    drawn = (odds.cumsum(-1) <= draws[:, None]).sum(-1).clamp(max=logits.shape[-1] - 1)
    return torch.where(temperature > 0, drawn, logits.argmax(-1))
