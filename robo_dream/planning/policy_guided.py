"""The default planner: learned proposals and a small search compete on what imagination confirms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from robo_dream.errors import ConfigError
from robo_dream.imagination import Belief, Goal, Plan
from robo_dream.planning.candidates import (
    MEAN,
    NOISE,
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
from robo_dream.planning.elites import elite_moments, find_modes, followed_elites, selected_action
from robo_dream.planning.scoring import RiskConfig, Scored, join_scored
from robo_dream.planning.search import SearchPlanner
from robo_dream.schema import configuration


@configuration
class PolicyGuidedConfig:
    """128 x 3 as INTACT's search; coloured noise as iCEM's.

    A proposal is worth only its imagined cost, so the cost should contain disagreement: otherwise a proposal is believed
    where the model does not know. `*_std` are fractions of half the action range. `action_selection`: "best" is the lowest total seen,
    so that one confirmed proposal is not blurred by others; "mean" is the centre of the last elites;
    "mode" see `CemConfig`, where every strategy is refined until the last vote.
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
    risk: RiskConfig | None = None  # the elites' last word: what each head of the model imagines of them on its own
    sample_budget: SampleBudget = 8192  # rollouts imagined at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_at_most(self, self.num_samples, "num_elites")
        require_at_most(self, self.num_samples - 4, "num_proposals")
        if self.max_std < self.min_std:
            raise ConfigError(f"PolicyGuidedConfig.max_std is {self.max_std}; allowed is at least min_std, which is {self.min_std}")
        if self.risk is not None and self.action_selection == "mean":
            raise ConfigError(
                "risk chooses among the elites, and action_selection=mean executes none of them; "
                "set action_selection to best or mode, or risk to null"
            )


@dataclass(frozen=True)
class PolicyGuidedPlanner(SearchPlanner[PolicyGuidedConfig]):
    """Proposals, the previous plan, holding still and noise compete; each elite is refined by noise of its own."""

    name = "policy_guided"

    @torch.inference_mode()
    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`."""
        config = self.config
        search = self.begin(belief, goal, seeds, previous, deadline, config.sample_budget)
        bounds = search.bounds
        hold = search.held()
        scored, elites, followed, modes = None, None, None, None
        for _ in search.iterations(config.num_iterations):
            kept = None if scored is None or elites is None else scored.take(elites)
            with search.watch.stage("propose"):
                if kept is None or followed is None:
                    first = search.opening(config.num_proposals)
                    drawn = search.drawn(config.num_samples - num_candidates(first), config.noise_beta)
                    centres = hold[:, None].expand_as(drawn).clone()
                    if previous is not None:  # every second one
                        centres[:, ::2] = search.start_mean()[:, None]
                    around = bounds.clip(centres + config.initial_std * bounds.half_range * drawn)
                    parts = [*first, search.of(around, NOISE)]
                else:
                    mean, std = elite_moments(followed, hold, (config.initial_std * bounds.half_range).expand_as(hold))
                    std = torch.maximum(std, config.min_std * bounds.half_range)
                    std = torch.minimum(std, config.max_std * bounds.half_range)
                    drawn = search.drawn(config.num_samples - 1, config.noise_beta)
                    around = bounds.clip(_centres(kept, drawn.shape[1], bounds) + std[:, None] * drawn)
                    parts = [search.of(bounds.clip(mean)[:, None], MEAN), search.of(around, REFINED)]
            scored = search.score(*parts)
            if kept is not None:
                scored = join_scored(kept, scored)  # imagining is deterministic: elites keep their score, origin and place
            elites = scored.best(config.num_elites)
            if config.action_selection == "mode":
                modes = find_modes(search, scored, elites, torch.ones_like(scored.totals))
            followed = followed_elites(scored, elites, modes)  # the other strategies are refined too, and may win the next vote
            search.end_iteration()
        assert scored is not None and elites is not None and followed is not None
        if config.risk is not None:
            chosen = search.least_risk(followed, config.risk)
        else:
            mean, _ = elite_moments(followed, hold, hold)
            chosen = selected_action(config.action_selection, search, search.of(bounds.clip(mean)[:, None], MEAN), followed)
        return search.plan(scored, elites, config.unsure_above, chosen, modes)


def _centres(elites: Scored, num_samples: int, bounds: Bounds) -> Float[Tensor, "batch sample time action"]:
    """The elites with finite totals, taken in turn, best first, until there are `num_samples`; holding still when there is none."""
    num_finite = torch.isfinite(elites.totals).sum(dim=1, keepdim=True)
    turn = torch.arange(num_samples, device=elites.totals.device)[None] % num_finite.clamp(min=1)
    return torch.where((num_finite > 0)[:, :, None, None], gather_samples(elites.actions, turn), bounds.hold)
