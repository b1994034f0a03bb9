"""Predictive sampling: noise around the last plan, take the best. The smallest search there is."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from robo_dream.imagination import Belief, Cost, Goal, Plan, Proposer, WorldModel
from robo_dream.planning.candidates import NOISE, num_candidates, of_origin, opening, origin_names
from robo_dream.planning.noise import NoiseStreams
from robo_dream.planning.ranges import require_between
from robo_dream.planning.search import Search
from robo_dream.planning.warm_start import start_mean


@dataclass(frozen=True)
class PredictiveConfig:
    """One iteration; MuJoCo MPC draws tens of samples on splines, here 128 with noise that is smooth by its colour."""

    kind: Literal["predictive"] = "predictive"
    horizon: int = 5  # imagined steps
    num_samples: int = 128
    num_elites: int = 10  # only noted in the trace
    std: float = 0.5  # fraction of half the action range
    colour: float = 2.0
    num_proposals: int = 48  # of the samples, when there are proposers
    sample_budget: int = 8192  # rollouts imagined at once
    unsure_above: float = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "horizon", "sample_budget")
        require_between(self, 4, math.inf, "num_samples")
        require_between(self, 1, self.num_samples, "num_elites")
        require_between(self, 0, self.num_samples - 3, "num_proposals")
        require_between(self, 0, math.inf, "std", "colour", "unsure_above")


@dataclass(frozen=True)
class PredictivePlanner:
    """Howell et al., Predictive Sampling: Real-time Behaviour Synthesis with MuJoCo, 2022, over imagined futures."""

    model: WorldModel
    cost: Cost
    config: PredictiveConfig
    proposers: Sequence[Proposer] = ()
    clock: Callable[[], float] = time.monotonic

    @property
    def name(self) -> str:
        return "predictive"

    @torch.inference_mode()
    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`; a deadline shortens this search of one iteration only where it is imagined in pieces."""
        config, block = self.config, self.model.action_block
        search = Search(
            self.model, self.cost, belief, goal, seeds, previous,
            horizon=config.horizon, sample_budget=config.sample_budget, clock=self.clock, deadline=deadline,
        )  # fmt: skip
        bounds, names = search.bounds, origin_names(self.proposers)
        with search.watch.stage("propose"):
            first = opening(bounds, belief, goal, seeds, previous, self.proposers, config.num_proposals, search.num_steps, block)
            noise = NoiseStreams(seeds, self.name, bounds.low)
            drawn = noise.normal(config.num_samples - num_candidates(first), search.num_steps, len(bounds.low), config.colour)
            mean = start_mean(previous, block, bounds, len(seeds), search.num_steps)
            around = bounds.clip(mean[:, None] + config.std * bounds.half_range * drawn)
        scored = search.score(*first, of_origin(around, NOISE, names))
        search.end_iteration()
        return search.plan(self.name, scored, scored.best(config.num_elites), names, config.unsure_above)
