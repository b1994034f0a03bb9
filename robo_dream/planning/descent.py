"""Candidates moved down the gradient of their own imagined cost, each with Adam's memory of its own."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.planning.bounds import Bounds
from robo_dream.planning.candidates import Candidates
from robo_dream.planning.scoring import Scored
from robo_dream.planning.search import Search

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
                "use a planner that samples, such as guarded or cem"
            )
        finite = torch.where(torch.isfinite(scored.totals), scored.totals, 0.0)
        (gradient,) = torch.autograd.grad(finite.sum(), actions)
    if before is None:
        return Slopes(scored.detached(), gradient, torch.zeros_like(gradient), torch.zeros_like(gradient))
    return replace(before, scored=scored.detached(), gradient=gradient)
