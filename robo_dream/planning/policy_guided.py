"""The default planner: learned proposals and a small search compete on what imagination confirms."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Plan
from robo_dream.planning.candidates import (
    REFINED,
    Bounds,
    Count,
    Disagreement,
    Horizon,
    NoiseBeta,
    NumIterations,
    NumProposals,
    SampleBudget,
    Std,
    gather_samples,
    num_candidates,
    require_at_most,
)
from robo_dream.planning.elites import Elites, elite_moments, selected_action
from robo_dream.planning.scoring import RiskConfig, Scored, join_scored
from robo_dream.planning.search import Search, SearchPlanner
from robo_dream.schema import configuration


@configuration
class PolicyGuidedConfig:
    """128 x 3 as INTACT's search; coloured noise as iCEM's.

    A proposal is worth only its imagined cost, so the cost should contain disagreement: otherwise a proposal is believed
    where the model does not know. `*_std` are fractions of half the action range. `action_selection`: "best" is the lowest total seen,
    so that one confirmed proposal is not blurred by others; "mean" is the centre of the last elites;
    "mode" see `CemConfig`, where every strategy is refined until the last vote.

    `least_gain`, in units of the cost, is what imagination is known to err by: a smaller promise is not believed, and the first proposal,
    the policy's likeliest, is executed instead. 0 believes all of them; a very large one executes the policy alone.
    """

    kind: Literal["policy_guided"] = "policy_guided"
    horizon: Horizon = 5  # imagined steps
    num_samples: Annotated[int, Field(ge=6, le=1_000_000)] = 128  # imagined in each iteration
    num_iterations: NumIterations = 3
    num_elites: Count = 12
    num_proposals: NumProposals = 48  # of the first iteration's samples, shared among the proposers
    initial_std: Std = 0.5  # of the noise around holding still and around the previous plan
    min_std: Std = 0.05
    max_std: Std = 0.3  # of the refinement around each elite
    noise_beta: NoiseBeta = 2.0
    action_selection: Literal["best", "mean", "mode"] = "best"
    least_gain: Annotated[float, Field(ge=0, le=1e6)] = 0.0  # by how much another must cost less than the policy's likeliest proposal
    risk: RiskConfig | None = None  # the elites' last word: what each head of the model imagines of them on its own
    sample_budget: SampleBudget = 8192  # rollouts imagined at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_at_most(self, self.num_samples, "num_elites")
        require_at_most(self, self.num_samples - 4, "num_proposals")
        if self.max_std < self.min_std:
            raise ConfigError(f"PolicyGuidedConfig.max_std is {self.max_std}; allowed is at least min_std, which is {self.min_std}")
        if self.least_gain and not self.num_proposals:
            raise ConfigError(
                f"least_gain is {self.least_gain} and num_proposals 0, so there is no proposal to gain over; set one otherwise"
            )
        if self.least_gain and self.num_samples > self.sample_budget:
            raise ConfigError(
                f"least_gain is {self.least_gain} and num_samples {self.num_samples}, of which only the best are kept, perhaps without the "
                f"policy's likeliest; set num_samples to at most sample_budget, which is {self.sample_budget}"
            )
        if self.risk is not None and self.action_selection == "mean":
            raise ConfigError(
                "risk chooses among the elites, and action_selection=mean executes none of them; "
                "set action_selection to best or mode, or risk to null"
            )


@dataclass(frozen=True)
class PolicyGuidedPlanner(SearchPlanner[PolicyGuidedConfig]):
    """Proposals, the previous plan, holding still and noise compete; each elite is refined by noise of its own."""

    name = "policy_guided"

    def search(self, search: Search) -> Plan:
        config, bounds, hold = self.config, search.bounds, search.held()
        if config.least_gain and not self.proposers:
            raise ContractError(f"least_gain is {config.least_gain}, and this planner has no proposers over which to gain; give it some")
        widest, elites, likeliest = search.spread(config.initial_std), None, None
        for _ in search.iterations(config.num_iterations):
            kept = None if elites is None else elites.scored.take(elites.indices)
            with search.watch.stage("propose"):
                if elites is None or kept is None:
                    parts = search.opening(config.num_proposals)
                    num_drawn = config.num_samples - num_candidates(parts)
                    centres = hold[:, None].repeat(1, num_drawn, 1, 1)
                    if search.previous is not None:  # every second one
                        centres[:, ::2] = search.start_mean()[:, None]
                    parts.append(search.around(centres, widest, num_drawn, config.noise_beta))
                else:
                    mean, std = elite_moments(elites.followed, hold, widest)
                    std = torch.maximum(std, config.min_std * bounds.half_range)
                    std = torch.minimum(std, config.max_std * bounds.half_range)
                    num_drawn = config.num_samples - 1
                    centres = _centres(kept, num_drawn, bounds)
                    parts = [search.centre(mean), search.around(centres, std, num_drawn, config.noise_beta, REFINED)]
            scored = search.score(*parts)
            if config.least_gain and likeliest is None:
                likeliest = search.first_proposal(scored)
            if kept is not None:
                scored = join_scored(kept, scored)  # imagining is deterministic: elites keep their score, origin and place
            # the elites of other strategies are refined too, and may win the next vote
            elites = Elites.of(search, scored, config.num_elites, config.action_selection)
            search.end_iteration()
        assert elites is not None
        if config.risk is not None:
            chosen = search.least_risk(elites.followed, config.risk)
        else:
            mean, _ = elite_moments(elites.followed, hold, hold)
            chosen = selected_action(config.action_selection, search, search.centre(mean), elites.followed)
        if likeliest is not None:
            other = search.best_seen() if chosen is None else chosen
            gains = likeliest.totals - other.totals  # NaN where neither is finite: then `Search.plan` holds still
            chosen = join_scored(likeliest, other).take((gains > config.least_gain).long())
        return elites.plan(search, config.unsure_above, chosen)


def _centres(elites: Scored, num_samples: int, bounds: Bounds) -> Float[Tensor, "batch sample time action"]:
    """The elites with finite totals, taken in turn, best first, until there are `num_samples`; holding still when there is none."""
    num_finite = torch.isfinite(elites.totals).sum(dim=1, keepdim=True)
    turn = torch.arange(num_samples, device=elites.totals.device)[None] % num_finite.clamp(min=1)
    return torch.where((num_finite > 0)[:, :, None, None], gather_samples(elites.actions, turn), bounds.hold)
