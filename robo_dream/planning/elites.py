"""The candidates that scored well: their mean and spread, the strategies among them, and the plan that comes of them."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robo_dream.imagination import Plan
from robo_dream.planning.candidates import Candidates, gather_samples
from robo_dream.planning.scoring import Scored, join_scored
from robo_dream.planning.search import Search

ActionSelection = Literal["best", "mean", "mode"]


@dataclass(frozen=True)
class Elites:
    """The best of the candidates that an iteration scored, and those of them that are of the strategy with most votes."""

    scored: Scored  # all that the iteration scored
    indices: Int[Tensor, "batch elite"]  # of the elites, best first
    modes: Int[Tensor, "batch sample"] | None  # see `find_modes`; None where nobody asked for strategies
    followed: Scored  # the elites; totals of those of other strategies are infinite

    @classmethod
    def of(
        cls,
        search: Search,
        scored: Scored,
        num_elites: int,
        action_selection: ActionSelection,
        votes: Float[Tensor, "batch sample"] | None = None,
    ) -> "Elites":
        """The `num_elites` best. Where the strategy is what counts, they vote for it: by `votes`, or all alike."""
        indices, modes = scored.best(num_elites), None
        if action_selection == "mode":
            modes = find_modes(search, scored, indices, torch.ones_like(scored.totals) if votes is None else votes)
        return cls(scored, indices, modes, followed_elites(scored, indices, modes))

    def plan(self, search: Search, unsure_above: float, chosen: Scored | None) -> Plan:
        """See `Search.plan`."""
        return search.plan(self.scored, self.indices, unsure_above, chosen, self.modes)


def refitted(
    elites: Scored,
    mean: Float[Tensor, "batch time action"],
    std: Float[Tensor, "batch time action"],
    momentum: float,
    min_std: Float[Tensor, " action"],
) -> tuple[Float[Tensor, "batch time action"], Float[Tensor, "batch time action"]]:
    """Mean and standard deviation moved to those of the elites; `momentum` is the share of the old ones that is kept."""
    new_mean, new_std = elite_moments(elites, mean, std)
    mean = momentum * mean + (1 - momentum) * new_mean
    std = momentum * std + (1 - momentum) * new_std
    return mean, torch.maximum(std, min_std)


def elite_moments(
    elites: Scored, otherwise_mean: Float[Tensor, "batch time action"], otherwise_std: Float[Tensor, "batch time action"]
) -> tuple[Float[Tensor, "batch time action"], Float[Tensor, "batch time action"]]:
    """Mean and standard deviation of the elites with a finite total; `otherwise_*` for a problem that has none."""
    weights = torch.isfinite(elites.totals).to(elites.actions.dtype)
    return weighted_moments(elites, weights, otherwise_mean, otherwise_std)


def weighted_moments(
    scored: Scored,
    weights: Float[Tensor, "batch sample"],
    otherwise_mean: Float[Tensor, "batch time action"],
    otherwise_std: Float[Tensor, "batch time action"],
) -> tuple[Float[Tensor, "batch time action"], Float[Tensor, "batch time action"]]:
    """Weighted mean and standard deviation of the actions; `otherwise_*` where all weights of a problem are zero."""
    mass = weights.sum(dim=1)[:, None, None]
    shares = torch.where(mass[:, None] > 0, weights[:, :, None, None] / mass[:, None], 0.0)
    actions = torch.where(shares > 0, scored.actions, 0.0)  # actions of a lost candidate may be NaN
    mean = (actions * shares).sum(dim=1)
    std = ((actions - mean[:, None]).square() * shares).sum(dim=1).sqrt()
    return torch.where(mass > 0, mean, otherwise_mean), torch.where(mass > 0, std, otherwise_std)


FOLLOWED = 0  # the strategy with most votes
NO_VOTE = -1  # not an elite, or without a finite total


def find_modes(
    search: Search, scored: Scored, elites: Int[Tensor, "batch elite"], votes: Float[Tensor, "batch sample"]
) -> Int[Tensor, "batch sample"]:
    """The strategy of each elite: `FOLLOWED`, then 1, 2 ... by falling votes; `NO_VOTE` for all other candidates.

    `elites` are best first, as `Scored.best` gives them. Imagines as many plans again as there are elites. Hill-valley clustering
    (Maree et al., Real-valued Evolutionary Multi-modal Optimization driven by Hill-Valley Clustering, 2018): each elite is tied to
    the nearest better one unless a hill lies between. Theirs is anything worse than both; here it is what would not have been an
    elite itself, so that groups are the connected parts of the elites' own level set (Hartigan, Clustering Algorithms, 1975) and
    roughness of the cost does not part them (measured: bumps of a third of the elites' spread leave 96 % in one group, theirs 57 %).
    """
    best = scored.take(elites)
    finite = torch.isfinite(best.totals)
    better = nearest_better(best.actions / search.bounds.half_range, finite)
    neighbours = gather_samples(best.actions, better)
    between = (torch.where(finite[:, :, None, None], best.actions, neighbours) + neighbours) / 2
    level = torch.where(finite, best.totals, -torch.inf).amax(dim=1, keepdim=True)
    no_hill = search.score(Candidates(between, gather_samples(best.origins, better))).totals <= level
    modes = ranked_groups(better, finite & no_hill, torch.where(finite, votes.gather(1, elites), 0.0))
    modes = torch.where(finite, modes, NO_VOTE)
    return torch.full_like(scored.origins, NO_VOTE).scatter(1, elites, modes)


def followed_elites(scored: Scored, elites: Int[Tensor, "batch elite"], modes: Int[Tensor, "batch sample"] | None) -> Scored:
    """The elites, with the totals of those not of the followed strategy made +inf; all of them when nobody asked for `modes`."""
    best = scored.take(elites)
    if modes is None:
        return best
    return replace(best, totals=torch.where(modes.gather(1, elites) == FOLLOWED, best.totals, torch.inf))


def selected_action(action_selection: ActionSelection, search: Search, centre: Candidates, followed: Scored) -> Scored | None:
    """What a planner executes: the `centre` of its elites for "mean"; None, the best that the search has seen, for "best".

    For "mode" it is the `centre` of the `followed` elites where imagination finds it no worse than the best of them, otherwise that
    best one: a strategy may bend round something too, and then its centre is no plan either.
    """
    if action_selection == "best":
        return None
    imagined = search.score(centre)
    if action_selection == "mean":
        return imagined
    both = join_scored(imagined, followed.take(followed.best(1)))
    return both.take(both.best(1))


def nearest_better(actions: Float[Tensor, "batch elite time action"], finite: Bool[Tensor, "batch elite"]) -> Int[Tensor, "batch elite"]:
    """The nearest of the elites in front of each (best first); the first for itself and for those that are not `finite`.

    Near is a small distance of whole paths: the sums of the `actions` up to every control step, in half ranges, so that metres and
    radians weigh alike. Left and right begin and end in the same place, and actions that shake to and fro lead nowhere.
    """
    paths = torch.where(finite[:, :, None, None], actions, 0.0).cumsum(dim=2).flatten(2)
    apart = torch.cdist(paths, paths, compute_mode="donot_use_mm_for_euclid_dist")  # the same bits in any batch
    in_front = torch.ones_like(apart[0], dtype=torch.bool).tril(-1)
    return torch.where(finite, torch.where(in_front, apart, torch.inf).argmin(dim=2), 0)


def ranked_groups(
    better: Int[Tensor, "batch elite"], tied: Bool[Tensor, "batch elite"], votes: Float[Tensor, "batch elite"]
) -> Int[Tensor, "batch elite"]:
    """The group of each elite when those `tied` to their `better` one go with it: 0 has most votes; of equals, the better elite."""
    index = torch.arange(better.shape[1], device=better.device).expand_as(better)
    root = torch.where(tied, better, index)
    for _ in range(better.shape[1].bit_length()):  # pointer jumping: each round doubles the steps taken towards the root
        root = root.gather(1, root)
    member = root[:, :, None] == index[:, None]  # (batch, elite, root)
    weight = torch.where(member.any(dim=1), (member * votes[:, :, None]).sum(dim=1), -1.0)
    place = weight.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return place.gather(1, root)
