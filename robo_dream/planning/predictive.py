"""Predictive sampling: noise around the last plan, take the best. The smallest search there is."""

import math
from dataclasses import dataclass
from typing import Literal

from robo_dream.imagination import Plan
from robo_dream.planning.candidates import (
    Count,
    Disagreement,
    Horizon,
    NoiseBeta,
    NumProposals,
    NumSamples,
    SampleBudget,
    Std,
    num_candidates,
    require_at_most,
)
from robo_dream.planning.search import Search, SearchPlanner
from robo_dream.schema import configuration


@configuration
class PredictiveConfig:
    """One iteration; MuJoCo MPC draws tens of samples on splines, here 128 with noise that is smooth by its noise_beta."""

    kind: Literal["predictive"] = "predictive"
    horizon: Horizon = 5  # imagined steps
    num_samples: NumSamples = 128
    num_elites: Count = 10  # only noted in the trace
    std: Std = 0.5  # fraction of half the action range
    noise_beta: NoiseBeta = 2.0
    num_proposals: NumProposals = 48  # of the samples, when there are proposers
    sample_budget: SampleBudget = 8192  # rollouts imagined at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_at_most(self, self.num_samples, "num_elites")
        require_at_most(self, self.num_samples - 3, "num_proposals")


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
