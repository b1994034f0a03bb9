"""Predictive sampling: noise around the last plan, take the best. The smallest search there is."""

import math
from dataclasses import dataclass
from typing import Literal

from robo_dream.imagination import Plan
from robo_dream.planning.candidates import num_candidates, require_between
from robo_dream.planning.search import Search, SearchPlanner


@dataclass(frozen=True)
class PredictiveConfig:
    """One iteration; MuJoCo MPC draws tens of samples on splines, here 128 with noise that is smooth by its noise_beta."""

    kind: Literal["predictive"] = "predictive"
    horizon: int = 5  # imagined steps
    num_samples: int = 128
    num_elites: int = 10  # only noted in the trace
    std: float = 0.5  # fraction of half the action range
    noise_beta: float = 2.0
    num_proposals: int = 48  # of the samples, when there are proposers
    sample_budget: int = 8192  # rollouts imagined at once
    unsure_above: float = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "horizon", "sample_budget")
        require_between(self, 4, math.inf, "num_samples")
        require_between(self, 1, self.num_samples, "num_elites")
        require_between(self, 0, self.num_samples - 3, "num_proposals")
        require_between(self, 0, math.inf, "std", "noise_beta", "unsure_above")


@dataclass(frozen=True)
class PredictivePlanner(SearchPlanner[PredictiveConfig]):
    """Howell et al., Predictive Sampling: Real-time Behaviour Synthesis with MuJoCo, 2022, over imagined futures."""

    name = "predictive"

    def search(self, search: Search) -> Plan:
        """A deadline shortens this search of one iteration only where it is imagined in pieces."""
        config = self.config
        with search.watch.stage("propose"):
            parts = search.opening(config.num_proposals)
            num_drawn = config.num_samples - num_candidates(parts)
            parts.append(search.around(search.start_mean()[:, None], search.spread(config.std), num_drawn, config.noise_beta))
        scored = search.score(*parts)
        search.end_iteration()
        return search.plan(scored, scored.best(config.num_elites), config.unsure_above)
