"""An `InverseModel` made of a network that gives a mixture of Gaussians over the next action block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robo_dream.planning.noise import generator_of


@runtime_checkable
class ActionMixture(Protocol):
    """Diagonal Gaussians over action blocks in the model's normalised units."""

    @property
    def logits(self) -> Float[Tensor, "row mode"]: ...

    @property
    def means(self) -> Float[Tensor, "row mode block"]: ...

    @property
    def stds(self) -> Float[Tensor, "row mode block"]: ...


@runtime_checkable
class MixtureModel(Protocol):
    """What `robo_dream.models` offers of its inverse model."""

    def next_actions(self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], /) -> ActionMixture: ...

    def block_actions(self, blocks: Float[Tensor, "*row block"], /) -> Float[Tensor, "*row time action"]:
        """Physical actions, within the limits, from normalised blocks."""
        ...


@dataclass(frozen=True)
class MixtureInverse:
    """`temperature` scales the Gaussians' standard deviations; 0 draws only among their means.

    `spread` shares each group's rows among the Gaussians by systematic sampling: where a group sees one state, every Gaussian
    with more than one row's share of the weight gets a row, and the group's first row has the heaviest.
    """

    model: MixtureModel
    temperature: float = 1.0
    spread: bool = False

    def most_likely(self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"]) -> Float[Tensor, "row block_action"]:
        """The mean of the likeliest Gaussian of each row, in physical units."""
        mixture = self.model.next_actions(latents, goals)
        return self._physical(mixture, mixture.logits.argmax(dim=-1), noise=None)

    def sample(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], seeds: Sequence[int]
    ) -> Float[Tensor, "row block_action"]:
        """See `InverseModel.sample`."""
        mixture = self.model.next_actions(latents, goals)
        num_rows, block = len(latents) // max(1, len(seeds)), mixture.means.shape[-1]
        generators = [generator_of(seed, "inverse") for seed in seeds]
        draw = _even_chances if self.spread else _chances
        chance = torch.cat([draw(num_rows, g) for g in generators]).to(mixture.logits)
        noise = torch.cat([torch.randn(num_rows, block, generator=g) for g in generators]).to(mixture.means)
        weights = mixture.logits.softmax(dim=-1)
        if not self.spread:
            return self._physical(mixture, _reached(weights, chance), noise)
        heaviest_first, order = weights.sort(dim=-1, descending=True, stable=True)
        modes = order.gather(1, _reached(heaviest_first, chance)[:, None])[:, 0]
        return self._physical(mixture, modes, noise)

    def _physical(self, mixture: ActionMixture, modes: Tensor, noise: Tensor | None) -> Float[Tensor, "row block_action"]:
        rows = torch.arange(len(modes), device=modes.device)
        blocks = mixture.means[rows, modes]
        if noise is not None:
            blocks = blocks + self.temperature * mixture.stds[rows, modes] * noise
        return self.model.block_actions(blocks).flatten(1)


def _reached(weights: Float[Tensor, "row mode"], chance: Float[Tensor, " row"]) -> Int[Tensor, " row"]:
    """The place in each row at which the sum of its weights passes its chance."""
    return (chance[:, None] > weights.cumsum(dim=-1)).sum(dim=-1).clamp(max=weights.shape[-1] - 1)


def _chances(num_rows: int, generator: torch.Generator) -> Float[Tensor, " row"]:
    return torch.rand(num_rows, generator=generator)


def _even_chances(num_rows: int, generator: torch.Generator) -> Float[Tensor, " row"]:
    """One in each of `num_rows` equal parts of [0, 1): in the first part for the first row, for the others in random order."""
    parts = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(num_rows - 1, generator=generator)])
    return (parts + torch.rand(1, generator=generator)) / num_rows
