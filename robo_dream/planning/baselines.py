"""Planners that do not plan: the do-nothing and random rows that belong beside every result."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from robo_dream.imagination import Belief, Cost, Goal, Plan, Proposer, WorldModel
from robo_dream.planning.candidates import HOLD, NOISE, of_origin, origin_names
from robo_dream.planning.noise import NoiseStreams
from robo_dream.planning.ranges import require_between
from robo_dream.planning.search import Search


@dataclass(frozen=True)
class DoNothingConfig:
    kind: Literal["do_nothing"] = "do_nothing"
    horizon: int = 5  # imagined steps, for the record

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "horizon")


@dataclass(frozen=True)
class RandomConfig:
    """Uniform actions; each is repeated `repeat` control steps, since white noise at 10 Hz goes nowhere and flatters the others."""

    kind: Literal["random"] = "random"
    horizon: int = 5  # imagined steps, for the record
    repeat: int = 5

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "horizon", "repeat")


@dataclass(frozen=True)
class DoNothingPlanner:
    """Holds still, and imagines where that leads."""

    model: WorldModel
    cost: Cost
    config: DoNothingConfig
    proposers: Sequence[Proposer] = ()
    clock: Callable[[], float] = time.monotonic

    @property
    def name(self) -> str:
        return "do_nothing"

    @torch.inference_mode()
    def plan(
        self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None
    ) -> Plan:
        """See `Planner.plan`; only the belief matters."""
        search = Search(
            self.model, self.cost, belief, goal, seeds, None,
            horizon=self.config.horizon, sample_budget=len(seeds), clock=self.clock, deadline=deadline,
        )  # fmt: skip
        scored = search.score(of_origin(search.bounds.held(len(seeds), 1, search.num_steps), HOLD, origin_names(())))
        search.end_iteration()
        return search.plan(self.name, scored, scored.best(1), origin_names(()), math.inf)


@dataclass(frozen=True)
class RandomPlanner:
    """Moves at random within the limits, and imagines where that leads."""

    model: WorldModel
    cost: Cost
    config: RandomConfig
    proposers: Sequence[Proposer] = ()
    clock: Callable[[], float] = time.monotonic

    @property
    def name(self) -> str:
        return "random"

    @torch.inference_mode()
    def plan(
        self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None
    ) -> Plan:
        """See `Planner.plan`; only the seeds matter."""
        search = Search(
            self.model, self.cost, belief, goal, seeds, None,
            horizon=self.config.horizon, sample_budget=len(seeds), clock=self.clock, deadline=deadline,
        )  # fmt: skip
        bounds = search.bounds
        num_draws = math.ceil(search.num_steps / self.config.repeat)
        drawn = NoiseStreams(seeds, self.name, bounds.low).uniform(1, num_draws, len(bounds.low))
        drawn = drawn.repeat_interleave(self.config.repeat, dim=2)[:, :, : search.num_steps]
        actions = bounds.clip((bounds.high + bounds.low) / 2 + bounds.half_range * drawn)
        scored = search.score(of_origin(actions, NOISE, origin_names(())))
        search.end_iteration()
        return search.plan(self.name, scored, scored.best(1), origin_names(()), math.inf)
