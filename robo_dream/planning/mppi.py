"""Model-predictive path integral control: average the candidates, each weighted by how good it is."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from robo_dream.imagination import Plan
from robo_dream.planning.candidates import (
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
from robo_dream.planning.elites import FOLLOWED, Elites, selected_action, weighted_moments
from robo_dream.planning.search import Search, SearchPlanner
from robo_dream.schema import configuration


@configuration
class MppiConfig:
    """Williams et al., Information Theoretic MPC, 2017; several iterations and re-fitted spread as in TD-MPC2 (512 x 6 there).

    `temperature` is in standard deviations of the totals of one iteration, so that it does not depend on the cost's unit.
    `*_std` are fractions of half the action range. `action_selection`: "mean" is MPPI's own weighted mean; "best" the lowest total seen;
    "mode" see `CemConfig`, with votes weighted as in the mean.
    """

    kind: Literal["mppi"] = "mppi"
    horizon: Horizon = 5  # imagined steps
    num_samples: NumSamples = 256
    num_iterations: NumIterations = 4
    temperature: Annotated[float, Field(ge=1e-6, le=1e6)] = 0.2
    initial_std: Std = 0.5
    min_std: Std = 0.05
    noise_beta: NoiseBeta = 1.0
    num_elites: Count = 32  # the candidates with the largest weights: noted in the trace, and the voters of "mode"
    num_proposals: NumProposals = 64  # of the first iteration's samples, when there are proposers
    action_selection: Literal["best", "mean", "mode"] = "mean"
    sample_budget: SampleBudget = 8192  # rollouts imagined at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_at_most(self, self.num_samples, "num_elites")
        require_at_most(self, self.num_samples - 3, "num_proposals")


@dataclass(frozen=True)
class MppiPlanner(SearchPlanner[MppiConfig]):
    """Williams et al. 2017 over imagined futures."""

    name = "mppi"

    def search(self, search: Search) -> Plan:
        config, smallest = self.config, self.config.min_std * search.bounds.half_range
        mean, std, elites = search.start_mean(), search.spread(config.initial_std), None
        widest = std
        for i in search.iterations(config.num_iterations):
            with search.watch.stage("propose"):
                parts = search.opening(config.num_proposals) if i == 0 else [search.centre(mean)]
                parts.append(search.around(mean[:, None], std, config.num_samples - num_candidates(parts), config.noise_beta))
            scored = search.score(*parts)
            weights = path_weights(scored.totals, config.temperature)
            elites = Elites.of(search, scored, config.num_elites, config.action_selection, weights)
            if elites.modes is not None:
                weights = torch.where(elites.modes == FOLLOWED, weights, 0.0)
            with search.watch.stage("update"):
                mean, std = weighted_moments(scored, weights, mean, std)
                std = torch.minimum(torch.maximum(std, smallest), widest)
            search.end_iteration()
        assert elites is not None
        chosen = selected_action(config.action_selection, search, search.centre(mean), elites.followed)
        return elites.plan(search, config.unsure_above, chosen)


def path_weights(totals: Float[Tensor, "batch sample"], temperature: float) -> Float[Tensor, "batch sample"]:
    """exp(-(total - lowest) / (temperature * std of the finite totals)); 0 where the total is infinite."""
    finite = torch.isfinite(totals)
    count = finite.sum(dim=1, keepdim=True).clamp(min=1)
    centre = torch.where(finite, totals, 0.0).sum(dim=1, keepdim=True) / count
    spread = (torch.where(finite, totals - centre, 0.0).square().sum(dim=1, keepdim=True) / count).sqrt()
    above_lowest = totals - totals.min(dim=1, keepdim=True).values
    smallest = torch.finfo(totals.dtype).tiny
    return torch.where(finite, torch.exp(-above_lowest / (temperature * spread).clamp(min=smallest)), 0.0)
