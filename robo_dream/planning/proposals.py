"""Action suggestions from a learned goal-conditioned inverse model, closed over imagination."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from robo_dream.imagination import Belief, Goal, Imagination, Suggestions, WorldModel
from robo_dream.planning.bounds import bounds_of
from robo_dream.planning.closed_loop import followed, whole_blocks
from robo_dream.planning.draws import draws


@runtime_checkable
class InverseModel(Protocol):
    """Suggests the next action block from where one is and where one wants to be.

    Its random numbers are given: `chance` in [0, 1) chooses among several ways, heaviest first, and `noise` in standard deviations
    goes off it; 0 and 0 are the likeliest suggestion.
    """

    def aims(self, goals: Float[Tensor, "row channel"], /) -> Float[Tensor, "row aim"]:
        """What it has to know of goals."""
        ...

    def suggest(
        self,
        latents: Float[Tensor, "row channel"],
        aims: Float[Tensor, "row aim"],
        chance: Float[Tensor, " row"],
        noise: Float[Tensor, "row block"],
        /,
    ) -> Float[Tensor, "row time action"]:
        """In physical units."""
        ...

    def follow(
        self, here: Belief, aims: Float[Tensor, "row aim"], chance: Float[Tensor, " row"], noise: Float[Tensor, "row block"], /
    ) -> tuple[Float[Tensor, "row time action"], Imagination]:
        """The same, and what it is imagined to lead to: one candidate a row, one step."""
        ...


@dataclass(frozen=True)
class InverseProposer:
    """Block h is suggested from the imagined state after block h - 1, so that a suggestion corrects itself on the way.

    The first suggestion is the likeliest one unless `sampled_only`; the others are drawn. `temperature` scales their noise, and
    `spread` shares them among the ways (see `draws`).
    """

    model: WorldModel
    inverse: InverseModel
    temperature: float = 1.0
    spread: bool = False
    sampled_only: bool = False
    name: str = "inverse"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Suggestions:
        """See `Proposer.propose`; `num_steps` must be a multiple of the model's action block."""
        size = self.model.action_block * self.model.action_spec.size
        aims = self.inverse.aims(goal.latent).repeat_interleave(num_samples, dim=0)  # (B*K, ...)

        def next_step(h: int, here: Belief) -> tuple[Tensor, Imagination]:
            at = [_block_seed(seed, h) for seed in seeds]
            return self.inverse.follow(here, aims, *draws(at, num_samples, size, self.temperature, self.spread, self.sampled_only, aims))

        return followed(self.model, belief, num_samples, num_steps, next_step)


@dataclass(frozen=True)
class RepeatedInverseProposer:
    """The block suggested for the present state, repeated over the horizon: one call of the inverse model, no imagination."""

    model: WorldModel
    inverse: InverseModel
    temperature: float = 1.0
    spread: bool = False
    name: str = "inverse_repeated"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Suggestions:
        """See `Proposer.propose`; `num_steps` must be a multiple of the model's action block."""
        num_blocks = whole_blocks(self.model, num_steps)
        size = self.model.action_block * self.model.action_spec.size
        latents = belief.latent.repeat_interleave(num_samples, dim=0)
        aims = self.inverse.aims(goal.latent).repeat_interleave(num_samples, dim=0)
        at = [_block_seed(seed, -1) for seed in seeds]  # not the draws of `InverseProposer`'s first block
        blocks = self.inverse.suggest(latents, aims, *draws(at, num_samples, size, self.temperature, self.spread, False, aims))
        blocks = bounds_of(self.model.action_spec, belief.latent).clip(blocks.to(belief.latent))
        return Suggestions(blocks.repeat(1, num_blocks, 1).unflatten(0, (len(belief.latent), num_samples)))


def _block_seed(seed: int, block: int) -> int:
    return (seed * 1_000_003 + block + 1) & ((1 << 63) - 1)
