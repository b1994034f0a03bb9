"""What every planner of this package has: a model to imagine with, a cost to judge by, and who suggests."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from robo_dream.imagination import Belief, Cost, Goal, Plan, Proposer, WorldModel
from robo_dream.planning.search import Search


@runtime_checkable
class HasHorizon(Protocol):
    """The configuration of a planner."""

    @property
    def horizon(self) -> int:
        """Imagined steps."""
        ...


Config = TypeVar("Config", bound=HasHorizon)


@dataclass(frozen=True)
class SearchPlanner(Generic[Config]):
    """A `Planner` but for `plan`, which begins with `begin`. `name` is told in plans and names the planner's random stream."""

    name: ClassVar[str]

    model: WorldModel
    cost: Cost
    config: Config
    proposers: Sequence[Proposer] = ()
    clock: Callable[[], float] = time.monotonic

    def begin(
        self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None, deadline: float | None, sample_budget: int
    ) -> Search:
        """The accounts of one decision; raises `ContractError` when the arguments of `plan` do not fit together."""
        return Search(
            self.model, self.cost, belief, goal, seeds, previous, self.proposers,
            planner=self.name, horizon=self.config.horizon, sample_budget=sample_budget, clock=self.clock, deadline=deadline,
        )  # fmt: skip
