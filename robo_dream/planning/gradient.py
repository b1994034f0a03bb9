"""Candidates moved down the gradient of their own imagined cost, each with Adam's memory of its own."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Plan
from robo_dream.planning.candidates import (
    REFINED,
    Bounds,
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
    join_candidates,
    num_candidates,
    require_at_most,
)
from robo_dream.planning.scoring import Scored
from robo_dream.planning.search import Search, SearchPlanner
from robo_dream.schema import configuration

FIRST_DECAY, SECOND_DECAY, SMALLEST = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Slopes:
    """Candidates that were scored, how steep their totals are there, and what Adam remembers of the steps before."""

    scored: Scored
    gradient: Float[Tensor, "batch sample time action"]
    mean: Float[Tensor, "batch sample time action"]
    square: Float[Tensor, "batch sample time action"]
    num_steps: int = 0

    def moved(self, bounds: Bounds, rate: float) -> tuple[Float[Tensor, "batch sample time action"], "Slopes"]:
        """The actions one step of Adam (Kingma and Ba 2015) further down, within the limits; `rate` is in half action ranges.

        A candidate whose gradient is not finite stays where it is.
        """
        steep = self.gradient * bounds.half_range  # in half ranges, so that metres and radians weigh alike
        steep = torch.where(torch.isfinite(steep).flatten(2).all(dim=2)[..., None, None], steep, 0.0)
        count = self.num_steps + 1
        mean = FIRST_DECAY * self.mean + (1 - FIRST_DECAY) * steep
        square = SECOND_DECAY * self.square + (1 - SECOND_DECAY) * steep.square()
        step = (mean / (1 - FIRST_DECAY**count)) / ((square / (1 - SECOND_DECAY**count)).sqrt() + SMALLEST)
        actions = bounds.clip(self.scored.actions - rate * bounds.half_range * step)
        return actions, replace(self, mean=mean, square=square, num_steps=count)


def score_with_slopes(search: Search, candidates: Candidates, before: Slopes | None = None) -> Slopes:
    """Scores the candidates and differentiates their totals through imagination; `before` hands Adam's memory on.

    Raises `ContractError` when autograd cannot follow model and cost; it can follow the learned ones, not true physics.
    """
    actions = candidates.actions.detach().clone().requires_grad_()
    with torch.enable_grad():
        scored = search.score(Candidates(actions, candidates.origins))
        if not scored.totals.requires_grad:
            raise ContractError(
                "the totals do not depend on the actions in a way that gradients can follow, as with true physics; "
                "use a planner that samples, such as policy_guided or cem"
            )
        finite = torch.where(torch.isfinite(scored.totals), scored.totals, 0.0)
        (gradient,) = torch.autograd.grad(finite.sum(), actions)
    if before is None:
        return Slopes(scored.detached(), gradient, torch.zeros_like(gradient), torch.zeros_like(gradient))
    return replace(before, scored=scored.detached(), gradient=gradient)


@configuration
class GradientConfig:
    """Adam from several starts; DINO-WM (arXiv 2411.04983) found one start alone to get stuck.

    `learning_rate` is how far an action moves in one step, in half action ranges; so are `initial_std`'s units.
    """

    kind: Literal["gradient"] = "gradient"
    horizon: Horizon = 5  # imagined steps
    num_samples: NumSamples = 24  # starts, all moved side by side
    num_iterations: NumIterations = 10
    learning_rate: Annotated[float, Field(ge=0, le=10)] = 0.15
    initial_std: Std = 0.5
    noise_beta: NoiseBeta = 2.0
    num_elites: Count = 4  # only noted in the trace
    num_proposals: NumProposals = 8  # of the starts, when there are proposers
    sample_budget: SampleBudget = 8192  # rollouts imagined at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE

    def __post_init__(self) -> None:
        require_at_most(self, self.num_samples, "num_elites")
        require_at_most(self, self.num_samples - 3, "num_proposals")


@dataclass(frozen=True)
class GradientPlanner(SearchPlanner[GradientConfig]):
    """Srinivas et al., Universal Planning Networks, 2018 (arXiv 1804.00645), from many starts; the best point of any path is the plan."""

    name = "gradient"
    needs_gradients = True

    def search(self, search: Search) -> Plan:
        config = self.config
        slopes = None
        for _ in search.iterations(config.num_iterations):
            with search.watch.stage("propose"):
                if slopes is None:
                    parts = search.opening(config.num_proposals)
                    num_drawn, std = config.num_samples - num_candidates(parts), search.spread(config.initial_std)
                    candidates = join_candidates([*parts, search.around(search.start_mean()[:, None], std, num_drawn, config.noise_beta)])
                else:
                    actions, slopes = slopes.moved(search.bounds, config.learning_rate)
                    candidates = search.of(actions, REFINED)
            slopes = score_with_slopes(search, candidates, slopes)
            search.end_iteration()
        assert slopes is not None
        return search.plan(slopes.scored, slopes.scored.best(config.num_elites), config.unsure_above)
