"""iCEM: the cross-entropy method with coloured noise, remembered elites and a shrinking population."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from robo_dream.imagination import Plan
from robo_dream.planning.candidates import (
    PREVIOUS,
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
    shifted_elites,
)
from robo_dream.planning.elites import Elites, refitted, selected_action
from robo_dream.planning.scoring import join_scored
from robo_dream.planning.search import Search, SearchPlanner
from robo_dream.schema import Fraction, configuration


@configuration
class IcemConfig:
    """Defaults of Pinneri et al., Sample-efficient Cross-Entropy Method for Real-time Planning, 2020, where they give one.

    Theirs: elites 10, momentum 0.1, decay 1.25, kept elites 0.3, initial std 0.5, noise_beta 2 to 4 by task, best action returned.
    `*_std` are fractions of half the action range. `action_selection`: see `CemConfig`.
    """

    kind: Literal["icem"] = "icem"
    horizon: Horizon = 5  # imagined steps
    num_samples: NumSamples = 128  # in the first iteration
    num_iterations: NumIterations = 5
    num_elites: Count = 10
    kept_elites: Fraction = 0.3  # share of the elites that stay candidates at the next iteration and the next decision
    decay: Annotated[float, Field(ge=1, le=100)] = 1.25  # each iteration draws this many times fewer
    initial_std: Std = 0.5
    min_std: Std = 0.0
    momentum: Fraction = 0.1
    noise_beta: NoiseBeta = 2.0
    num_proposals: NumProposals = 48  # of the first iteration's samples, when there are proposers
    action_selection: Literal["best", "mean", "mode"] = "best"
    sample_budget: SampleBudget = 8192  # rollouts imagined at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_at_most(self, self.num_samples / 2, "num_elites")
        require_at_most(self, self.num_samples - 3 - self.num_elites, "num_proposals")


@dataclass(frozen=True)
class IcemPlanner(SearchPlanner[IcemConfig]):
    """Pinneri et al. 2020 over imagined futures. Elites of the last decision come from `previous.trace`, not from memory."""

    name = "icem"

    def search(self, search: Search) -> Plan:
        config, bounds = self.config, search.bounds
        mean, std, elites = search.start_mean(), search.spread(config.initial_std), None
        num_kept = math.ceil(config.kept_elites * config.num_elites)
        for i in search.iterations(config.num_iterations):
            with search.watch.stage("propose"):
                num_drawn, parts = max(int(config.num_samples * config.decay**-i), 2 * config.num_elites), []
                if i == 0:
                    parts += search.opening(config.num_proposals)
                    if search.previous is not None and num_kept:
                        parts.append(search.of(shifted_elites(search.previous, search.action_block, bounds, num_kept), PREVIOUS))
                    num_drawn = max(1, num_drawn - num_candidates(parts))
                parts.append(search.around(mean[:, None], std, num_drawn, config.noise_beta))
                if i == config.num_iterations - 1:
                    parts.append(search.centre(mean))
            kept = elites.scored.take(elites.indices[:, :num_kept]) if elites is not None and num_kept else None
            scored = search.score(*parts)
            if kept is not None:
                scored = join_scored(kept, scored)  # imagining is deterministic: kept elites keep their score
            elites = Elites.of(search, scored, config.num_elites, config.action_selection)
            with search.watch.stage("update"):
                mean, std = refitted(elites.followed, mean, std, config.momentum, config.min_std * bounds.half_range)
            search.end_iteration()
        assert elites is not None
        chosen = selected_action(config.action_selection, search, search.centre(mean), elites.followed)
        return elites.plan(search, config.unsure_above, chosen)
