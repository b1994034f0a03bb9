"""Gradient descent through the model: a few action sequences slide down the slope of their own imagined cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from robo_dream.imagination import Belief, Goal, Plan
from robo_dream.planning.candidates import NOISE, REFINED, join_candidates, num_candidates
from robo_dream.planning.descent import score_with_slopes
from robo_dream.planning.ranges import require_between
from robo_dream.planning.search_planner import SearchPlanner


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
class GradientPlanner(SearchPlanner[GradientConfig]):
    """Srinivas et al., Universal Planning Networks, 2018 (arXiv 1804.00645), from many starts; the best point of any path is the plan."""

    name = "gradient"

    @torch.no_grad()
    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`."""
        config = self.config
        search = self.begin(belief, goal, seeds, previous, deadline, config.sample_budget)
        bounds = search.bounds
        slopes = None
        for _ in search.iterations(config.num_iterations):
            with search.watch.stage("propose"):
                if slopes is None:
                    first = search.opening(config.num_proposals)
                    drawn = search.drawn(config.num_samples - num_candidates(first), config.colour)
                    mean = search.start_mean()
                    around = bounds.clip(mean[:, None] + config.initial_std * bounds.half_range * drawn)
                    candidates = join_candidates([*first, search.of(around, NOISE)])
                else:
                    actions, slopes = slopes.moved(bounds, config.learning_rate)
                    candidates = search.of(actions, REFINED)
            slopes = score_with_slopes(search, candidates, slopes)
            search.end_iteration()
        assert slopes is not None
        return search.plan(slopes.scored, slopes.scored.best(config.num_elites), config.unsure_above)
