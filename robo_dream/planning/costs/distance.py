"""How many steps away the goal is, by a learned temporal distance."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from robo_dream.imagination import Goal, Imagination, StepCosts


@runtime_checkable
class TemporalDistance(Protocol):
    """Steps from each latent to its goal, learned (HILP, Park et al. 2024; quasimetrics, Wang et al. 2023)."""

    def __call__(
        self, latents: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*#batch channel"], /
    ) -> Float[Tensor, "*batch"]:
        """`goals` may have axes of size 1, so that each goal is encoded once."""
        ...


@dataclass(frozen=True)
class DistanceCost:
    """The learned number of steps from each imagined state to the goal, as `distance` gives it."""

    distance: TemporalDistance

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        steps = self.distance(imagination.latents, goal.latent[:, None, None])
        return StepCosts({"distance": steps}, steps.sum(dim=-1))
