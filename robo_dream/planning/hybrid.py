"""Sampled, then refined by gradient: a search finds the valley, the slope of the imagined cost finds its bottom."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from robo_dream.imagination import Plan
from robo_dream.planning.candidates import (
    REFINED,
    Candidates,
    Count,
    Disagreement,
    Horizon,
    NoiseBeta,
    NumIterations,
    NumProposals,
    NumSamples,
    SampleBudget,
    Std,
    num_candidates,
    require_at_most,
)
from robo_dream.planning.gradient import score_with_slopes
from robo_dream.planning.search import Search, SearchPlanner
from robo_dream.schema import configuration


@configuration
class HybridConfig:
    """One sampled iteration, whose best `num_refined` then take gradient steps.

    `learning_rate` is how far an action moves in one step, in half action ranges; so are `initial_std`'s units.
    """

    kind: Literal["hybrid"] = "hybrid"
    horizon: Horizon = 5  # imagined steps
    num_samples: NumSamples = 128  # of the first iteration
    num_refined: Count = 12
    num_iterations: NumIterations = 5  # the first one samples
    learning_rate: Annotated[float, Field(ge=0, le=10)] = 0.1
    initial_std: Std = 0.5
    noise_beta: NoiseBeta = 2.0
    num_elites: Count = 4  # only noted in the trace
    num_proposals: NumProposals = 48  # of the first iteration's samples, when there are proposers
    sample_budget: SampleBudget = 8192  # rollouts imagined at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_at_most(self, self.num_samples, "num_refined")
        require_at_most(self, self.num_refined, "num_elites")
        require_at_most(self, self.num_samples - 3, "num_proposals")


@dataclass(frozen=True)
class HybridPlanner(SearchPlanner[HybridConfig]):
    """Bharadhwaj et al., Model-Predictive Control via Cross-Entropy and Gradient-Based Optimization, 2020 (arXiv 2004.08763)."""

    name = "hybrid"
    needs_gradients = True

    def search(self, search: Search) -> Plan:
        config = self.config
        scored, slopes = None, None
        for _ in search.iterations(config.num_iterations):
            if scored is None:
                with search.watch.stage("propose"):
                    parts = search.opening(config.num_proposals)
                    num_drawn, std = config.num_samples - num_candidates(parts), search.spread(config.initial_std)
                    parts.append(search.around(search.start_mean()[:, None], std, num_drawn, config.noise_beta))
                scored = search.score(*parts)
            else:
                if slopes is None:
                    kept = scored.take(scored.best(config.num_refined))
                    slopes = score_with_slopes(search, Candidates(kept.actions, kept.origins))
                with search.watch.stage("propose"):
                    actions, slopes = slopes.moved(search.bounds, config.learning_rate)
                slopes = score_with_slopes(search, search.of(actions, REFINED), slopes)
                scored = slopes.scored
            search.end_iteration()
        assert scored is not None
        return search.plan(scored, scored.best(config.num_elites), config.unsure_above)
