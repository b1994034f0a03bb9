"""Imagines and judges candidates of all problems together, in pieces when there are too many for memory."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Cost, Goal, WorldModel, finite_or_inf
from robo_dream.planning.candidates import Candidates, gather_samples
from robo_dream.planning.stopwatch import Stopwatch


@dataclass(frozen=True)
class Scored:
    """Candidates with what was imagined of them. `totals` is +inf where the cost was not finite; `terms` are as judged."""

    actions: Float[Tensor, "batch sample time action"]
    origins: Int[Tensor, "batch sample"]
    latents: Float[Tensor, "batch sample horizon channel"]
    disagreement: Float[Tensor, "batch sample horizon"]
    terms: Mapping[str, Float[Tensor, "batch sample horizon"]]
    totals: Float[Tensor, "batch sample"]

    def take(self, index: Int[Tensor, "batch chosen"]) -> "Scored":
        """The candidates `index[b]` of each problem b, in that order."""
        return Scored(
            gather_samples(self.actions, index),
            gather_samples(self.origins, index),
            gather_samples(self.latents, index),
            gather_samples(self.disagreement, index),
            {name: gather_samples(term, index) for name, term in self.terms.items()},
            gather_samples(self.totals, index),
        )

    def detached(self) -> "Scored":
        """The same, without the graph along which gradients would flow back."""
        terms = {name: term.detach() for name, term in self.terms.items()}
        return Scored(
            self.actions.detach(), self.origins, self.latents.detach(), self.disagreement.detach(), terms, self.totals.detach()
        )

    def best(self, num: int) -> Int[Tensor, "batch chosen"]:
        """Indices of the `num` lowest totals, best first; of equals the earlier candidate wins."""
        return self.totals.argsort(dim=1, stable=True)[:, :num]


def join_scored(first: Scored, second: Scored) -> Scored:
    """The candidates of both, those of `first` in front."""
    return Scored(
        torch.cat([first.actions, second.actions], dim=1),
        torch.cat([first.origins, second.origins], dim=1),
        torch.cat([first.latents, second.latents], dim=1),
        torch.cat([first.disagreement, second.disagreement], dim=1),
        {name: torch.cat([first.terms[name], second.terms[name]], dim=1) for name in first.terms},
        torch.cat([first.totals, second.totals], dim=1),
    )


def score(
    model: WorldModel, cost: Cost, belief: Belief, goal: Goal, candidates: Candidates, sample_budget: int, watch: Stopwatch
) -> Scored:
    """Every candidate imagined and judged, at most `sample_budget` rollouts at once (at least one of each problem).

    A candidate whose actions or total are not finite gets +inf. Raises `ContractError` when cost and model disagree on shapes.
    """
    per_call = max(1, sample_budget // max(1, len(belief.latent)))
    pieces = [
        _score_piece(model, cost, belief, goal, Candidates(actions, origins), watch)
        for actions, origins in zip(
            candidates.actions.split(per_call, dim=1), candidates.origins.split(per_call, dim=1), strict=True
        )
    ]
    scored = pieces[0]
    for piece in pieces[1:]:
        scored = join_scored(scored, piece)
    return scored


def _score_piece(model: WorldModel, cost: Cost, belief: Belief, goal: Goal, candidates: Candidates, watch: Stopwatch) -> Scored:
    with watch.stage("imagine"):
        imagination = model.imagine(belief, candidates.actions)
    with watch.stage("judge"):
        costs = cost(imagination, goal)
    if costs.total.shape != candidates.origins.shape:
        raise ContractError(
            f"cost {type(cost).__name__} gave totals of shape {tuple(costs.total.shape)}; "
            f"expected (problems, candidates) = {tuple(candidates.origins.shape)}"
        )
    finite_actions = torch.isfinite(candidates.actions).flatten(2).all(dim=2)
    totals, _ = finite_or_inf(torch.where(finite_actions, costs.total, torch.inf))
    return Scored(candidates.actions, candidates.origins, imagination.latents, imagination.disagreement, dict(costs.terms), totals)
