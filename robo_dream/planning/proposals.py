"""Action suggestions from a learned goal-conditioned inverse model, closed over the model's own imagination."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from robo_dream.imagination import Belief, Goal, Suggestions, WorldModel
from robo_dream.planning.bounds import bounds_of
from robo_dream.planning.closed_loop import followed, whole_blocks


@runtime_checkable
class InverseModel(Protocol):
    """Reads off the next action block (in physical units, flattened) from where one is and where one wants to be."""

    def most_likely(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"]
    ) -> Float[Tensor, "row block_action"]: ...

    def sample(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], seeds: Sequence[int]
    ) -> Float[Tensor, "row block_action"]:
        """One draw a row. Rows come in `len(seeds)` equal groups of neighbours; group g draws from `seeds[g]` alone."""
        ...


@dataclass(frozen=True)
class InverseProposer:
    """Block h is suggested from the imagined state after block h - 1, so that a suggestion corrects itself on the way.

    The first suggestion is the most likely one unless `sampled_only`; the others are drawn.
    """

    model: WorldModel
    inverse: InverseModel
    sampled_only: bool = False
    name: str = "inverse"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Suggestions:
        """See `Proposer.propose`; `num_steps` must be a multiple of the model's action block."""
        shape = (self.model.action_block, self.model.action_spec.size)
        bounds = bounds_of(self.model.action_spec, belief.latent)
        goals = goal.latent.repeat_interleave(num_samples, dim=0)  # (B*K, D)

        def next_block(h: int, latents: Tensor) -> Tensor:
            flat = suggest(self.inverse, latents, goals, num_samples, [_block_seed(seed, h) for seed in seeds], self.sampled_only)
            return bounds.clip(flat.to(bounds.low).unflatten(1, shape))

        return followed(self.model, belief, num_samples, num_steps, next_block)


@dataclass(frozen=True)
class RepeatedInverseProposer:
    """The block suggested for the present state, repeated over the horizon: one call of the inverse model, no imagination."""

    model: WorldModel
    inverse: InverseModel
    sampled_only: bool = False
    name: str = "inverse_repeated"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Suggestions:
        """See `Proposer.propose`; `num_steps` must be a multiple of the model's action block."""
        num_blocks = whole_blocks(self.model, num_steps)
        bounds = bounds_of(self.model.action_spec, belief.latent)
        latents = belief.latent.repeat_interleave(num_samples, dim=0)
        goals = goal.latent.repeat_interleave(num_samples, dim=0)
        seeds = [_block_seed(seed, -1) for seed in seeds]  # not the draws of `InverseProposer`'s first block
        flat = suggest(self.inverse, latents, goals, num_samples, seeds, self.sampled_only)
        blocks = bounds.clip(flat.to(bounds.low).unflatten(1, (self.model.action_block, self.model.action_spec.size)))
        return Suggestions(blocks.repeat(1, num_blocks, 1).unflatten(0, (len(belief.latent), num_samples)))


def suggest(
    inverse: InverseModel,
    latents: Float[Tensor, "row channel"],
    goals: Float[Tensor, "row channel"],
    num_samples: int,
    seeds: Sequence[int],
    sampled_only: bool,
) -> Float[Tensor, "row block_action"]:
    """One block a row; of each problem's `num_samples` rows the first is the most likely one unless `sampled_only`."""
    if sampled_only:
        return inverse.sample(latents, goals, seeds)
    likely = inverse.most_likely(latents[::num_samples], goals[::num_samples])
    if num_samples == 1:
        return likely
    drawn = inverse.sample(latents, goals, seeds).clone()
    drawn[::num_samples] = likely
    return drawn


def _block_seed(seed: int, block: int) -> int:
    return (seed * 1_000_003 + block + 1) & ((1 << 63) - 1)
