"""Gradient descent through the model: a few action sequences slide down the slope of their own imagined cost."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from robo_dream.imagination import Belief, Cost, Goal, Plan, Proposer, WorldModel
from robo_dream.planning.candidates import NOISE, REFINED, join_candidates, num_candidates, of_origin, opening, origin_names
from robo_dream.planning.descent import score_with_slopes
from robo_dream.planning.noise import NoiseStreams
from robo_dream.planning.ranges import require_between
from robo_dream.planning.search import Search
from robo_dream.planning.warm_start import start_mean


@dataclass(frozen=True)
class GradientConfig:
    """Adam from several starts; DINO-WM (arXiv 2411.04983) found one start alone to get stuck.

    `learning_rate` is how far an action moves in one step, in half action ranges; so are `initial_std`'s units.
    """

    kind: Literal["gradient"] = "gradient"
    horizon: int = 5  # imagined steps
    num_samples: int = 24  # starts, all moved side by side
    num_iterations: int = 10
    learning_rate: float = 0.15
    initial_std: float = 0.5
    colour: float = 2.0
    num_elites: int = 4  # only noted in the trace
    num_proposals: int = 8  # of the starts, when there are proposers
    sample_budget: int = 8192  # rollouts imagined at once
    unsure_above: float = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "horizon", "num_iterations", "sample_budget")
        require_between(self, 4, math.inf, "num_samples")
        require_between(self, 1, self.num_samples, "num_elites")
        require_between(self, 0, self.num_samples - 3, "num_proposals")
        require_between(self, 0, math.inf, "learning_rate", "initial_std", "colour", "unsure_above")


@dataclass(frozen=True)
class GradientPlanner:
    """Srinivas et al., Universal Planning Networks, 2018 (arXiv 1804.00645), from many starts; the best point of any path is the plan."""

    model: WorldModel
    cost: Cost
    config: GradientConfig
    proposers: Sequence[Proposer] = ()
    clock: Callable[[], float] = time.monotonic

    @property
    def name(self) -> str:
        return "gradient"

    @torch.no_grad()
    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`."""
        config, block = self.config, self.model.action_block
        search = Search(
            self.model, self.cost, belief, goal, seeds, previous,
            horizon=config.horizon, sample_budget=config.sample_budget, clock=self.clock, deadline=deadline,
        )  # fmt: skip
        bounds, names = search.bounds, origin_names(self.proposers)
        noise = NoiseStreams(seeds, self.name, bounds.low)
        slopes = None
        for _ in search.iterations(config.num_iterations):
            with search.watch.stage("propose"):
                if slopes is None:
                    first = opening(bounds, belief, goal, seeds, previous, self.proposers, config.num_proposals, search.num_steps, block)
                    drawn = noise.normal(config.num_samples - num_candidates(first), search.num_steps, len(bounds.low), config.colour)
                    mean = start_mean(previous, block, bounds, len(seeds), search.num_steps)
                    around = bounds.clip(mean[:, None] + config.initial_std * bounds.half_range * drawn)
                    candidates = join_candidates([*first, of_origin(around, NOISE, names)])
                else:
                    actions, slopes = slopes.moved(bounds, config.learning_rate)
                    candidates = of_origin(actions, REFINED, names)
            slopes = score_with_slopes(search, candidates, slopes)
            search.end_iteration()
        assert slopes is not None
        return search.plan(self.name, slopes.scored, slopes.scored.best(config.num_elites), names, config.unsure_above)
