"""Planners that do not plan: the do-nothing and random rows that belong beside every result."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from robo_dream.imagination import Belief, Goal, Plan
from robo_dream.planning.candidates import HOLD, NOISE
from robo_dream.planning.noise import NoiseStreams
from robo_dream.planning.ranges import require_between
from robo_dream.planning.search_planner import SearchPlanner


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
class DoNothingPlanner(SearchPlanner[DoNothingConfig]):
    """Holds still, and imagines where that leads."""

    name = "do_nothing"

    @torch.inference_mode()
    def plan(
        self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None
    ) -> Plan:
        """See `Planner.plan`; only the belief matters."""
        search = self.begin(belief, goal, seeds, None, deadline, sample_budget=len(seeds))
        scored = search.score(search.of(search.held()[:, None], HOLD))
        search.end_iteration()
        return search.plan(scored, scored.best(1))


@dataclass(frozen=True)
class RandomPlanner(SearchPlanner[RandomConfig]):
    """Moves at random within the limits, and imagines where that leads."""

    name = "random"

    @torch.inference_mode()
    def plan(
        self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None
    ) -> Plan:
        """See `Planner.plan`; only the seeds matter."""
        search = self.begin(belief, goal, seeds, None, deadline, sample_budget=len(seeds))
        bounds = search.bounds
        num_draws = math.ceil(search.num_steps / self.config.repeat)
        drawn = NoiseStreams(seeds, self.name, bounds.low).uniform(1, num_draws, len(bounds.low))
        drawn = drawn.repeat_interleave(self.config.repeat, dim=2)[:, :, : search.num_steps]
        actions = bounds.clip((bounds.high + bounds.low) / 2 + bounds.half_range * drawn)
        scored = search.score(search.of(actions, NOISE))
        search.end_iteration()
        return search.plan(scored, scored.best(1))
