"""Sampled, then refined by gradient: a search finds the valley, the slope of the imagined cost finds its bottom."""

import math
from dataclasses import dataclass
from typing import Literal

from robo_dream.imagination import Plan
from robo_dream.planning.candidates import REFINED, Candidates, num_candidates, require_between
from robo_dream.planning.gradient import score_with_slopes
from robo_dream.planning.search import Search, SearchPlanner


@dataclass(frozen=True)
class HybridConfig:
    """One sampled iteration, whose best `num_refined` then take gradient steps.

    `learning_rate` is how far an action moves in one step, in half action ranges; so are `initial_std`'s units.
    """

    kind: Literal["hybrid"] = "hybrid"
    horizon: int = 5  # imagined steps
    num_samples: int = 128  # of the first iteration
    num_refined: int = 12
    num_iterations: int = 5  # the first one samples
    learning_rate: float = 0.1
    initial_std: float = 0.5
    noise_beta: float = 2.0
    num_elites: int = 4  # only noted in the trace
    num_proposals: int = 48  # of the first iteration's samples, when there are proposers
    sample_budget: int = 8192  # rollouts imagined at once
    unsure_above: float = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "horizon", "num_iterations", "sample_budget")
        require_between(self, 4, math.inf, "num_samples")
        require_between(self, 1, self.num_samples, "num_refined")
        require_between(self, 1, self.num_refined, "num_elites")
        require_between(self, 0, self.num_samples - 3, "num_proposals")
        require_between(self, 0, math.inf, "learning_rate", "initial_std", "noise_beta", "unsure_above")


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
