"""The cross-entropy method: fit a Gaussian to the best candidates, draw again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from robo_dream.imagination import Belief, Goal, Plan
from robo_dream.planning.candidates import (
    MEAN,
    NOISE,
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
from robo_dream.planning.elites import elite_moments, find_modes, followed_elites, selected_action
from robo_dream.planning.search import SearchPlanner
from robo_dream.schema import Fraction, configuration


@configuration
class CemConfig:
    """300 samples, 30 elites and blocks of 5 as in DINO-WM and LeWM; 10 iterations score as well as their 30 (94.7 against 94.0 on PushT).

    `*_std` are fractions of half the action range. `action_selection`: "mean" is the centre of the last elites, as DINO-WM and LeWM
    execute it, and does not chase the model's luckiest error; "best" is the lowest total seen. "mode" follows the strategy that
    most elites agree on (see `modes.find_modes`; one rollout more for each elite): the next iteration is drawn around its elites
    alone, and its centre is executed, or its best elite where that is better. Whichever is chosen has been imagined.
    """

    kind: Literal["cem"] = "cem"
    horizon: Horizon = 5  # imagined steps
    num_samples: NumSamples = 300
    num_iterations: NumIterations = 10
    num_elites: Count = 30
    initial_std: Std = 0.5
    min_std: Std = 0.02
    momentum: Fraction = 0.0  # share of the old mean and std kept at each iteration
    noise_beta: NoiseBeta = 0.0  # of the noise; 0 is white
    num_proposals: NumProposals = 64  # of the first iteration's samples, when there are proposers
    action_selection: Literal["best", "mean", "mode"] = "mean"
    sample_budget: SampleBudget = 8192  # rollouts imagined at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_at_most(self, self.num_samples, "num_elites")
        require_at_most(self, self.num_samples - 3, "num_proposals")


@dataclass(frozen=True)
class CemPlanner(SearchPlanner[CemConfig]):
    """Rubinstein and Kroese, The Cross-Entropy Method, 2004, over imagined futures."""

    name = "cem"

    @torch.inference_mode()
    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`."""
        config = self.config
        search = self.begin(belief, goal, seeds, previous, deadline, config.sample_budget)
        bounds = search.bounds
        mean = search.start_mean()
        std = (config.initial_std * bounds.half_range).expand_as(mean)
        scored, elites, followed, modes = None, None, None, None
        for i in search.iterations(config.num_iterations):
            with search.watch.stage("propose"):
                parts = []
                if i == 0:
                    parts += search.opening(config.num_proposals)
                num_drawn = config.num_samples - num_candidates(parts)
                drawn = search.drawn(num_drawn, config.noise_beta)
                parts.append(search.of(bounds.clip(mean[:, None] + std[:, None] * drawn), NOISE))
            scored = search.score(*parts)
            elites = scored.best(config.num_elites)
            modes = find_modes(search, scored, elites, torch.ones_like(scored.totals)) if config.action_selection == "mode" else None
            with search.watch.stage("update"):
                followed = followed_elites(scored, elites, modes)
                new_mean, new_std = elite_moments(followed, mean, std)
                mean = config.momentum * mean + (1 - config.momentum) * new_mean
                std = config.momentum * std + (1 - config.momentum) * new_std
                std = torch.maximum(std, config.min_std * bounds.half_range)
            search.end_iteration()
        assert scored is not None and elites is not None and followed is not None
        chosen = selected_action(config.action_selection, search, search.of(bounds.clip(mean)[:, None], MEAN), followed)
        return search.plan(scored, elites, config.unsure_above, chosen, modes)
