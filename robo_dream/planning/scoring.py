"""Seconds spent in each stage of a decision, by an injected clock."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Chance, Cost, Goal, Imagination, Plan, Planner, StepCosts, WorldModel, finite_or_inf
from robo_dream.planning.candidates import Candidates, gather_samples, generator_of, join, join_candidates, num_candidates
from robo_dream.schema import Unit, configuration
from robo_dream.upload import uploaded


class Stopwatch:
    """Adds up seconds by stage. On a GPU a stage's work may be waited for in a later one; the total is exact."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._start = clock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = self._clock()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - start

    def seconds(self) -> dict[str, float]:
        """Seconds by stage so far, and "total" since the watch was made."""
        return {**self._seconds, "total": self._clock() - self._start}


MAX_KEPT = 4096  # candidates of a problem whose imagined futures stay in memory; 20 MB at 5 steps of 256 numbers


@dataclass(frozen=True)
class Scored:
    """Candidates with what was imagined of them. `totals` is +inf where the cost was not finite; `terms` are as scored."""

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
        return Scored(self.actions.detach(), self.origins, self.latents.detach(), self.disagreement.detach(), terms, self.totals.detach())

    def cheapest(self) -> Int[Tensor, "batch 1"]:
        """Index of the lowest total; of equals the earlier candidate's."""
        return self.totals.argmin(dim=1, keepdim=True)

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
    model: WorldModel,
    cost: Cost,
    belief: Belief,
    goal: Goal,
    parts: Sequence[Candidates],
    sample_budget: int,
    watch: Stopwatch,
    is_late: Callable[[], bool] = lambda: False,
) -> tuple[Scored, Int[Tensor, " batch"]]:
    """The candidates of `parts` imagined, where that was not done, and scored; and how many of each problem were not finite.

    At most `sample_budget` rollouts are imagined at once (at least one candidate of each problem), and of each problem's candidates at most
    the best `MAX_KEPT` are kept: so what is imagined fits into memory, however many are asked for. Between two such pieces
    `is_late` may end it; the candidates that are left are then not scored. A candidate whose actions or total are not finite gets
    +inf. Raises `ContractError` when cost and model disagree on shapes.
    """
    num_futures = 1 if belief.chance is None else 1 + belief.chance.draws.shape[1]
    per_call = max(1, sample_budget // max(1, num_futures * len(belief.latent)))
    scored, num_not_finite = None, torch.zeros(len(belief.latent), dtype=torch.int64, device=belief.latent.device)
    for piece in _pieces(parts, per_call):
        if scored is not None and is_late():
            break
        made = _scored(cost, goal, _imagined(model, belief, piece, watch), watch)
        num_not_finite = num_not_finite + torch.isinf(made.totals).sum(dim=1)
        scored = made if scored is None else join_scored(scored, made)
        if scored.totals.shape[1] > MAX_KEPT:
            scored = scored.take(scored.best(MAX_KEPT))
    assert scored is not None, "give at least one candidate"
    return scored, num_not_finite


def _pieces(parts: Sequence[Candidates], per_call: int) -> Iterator[list[Candidates]]:
    """The same candidates in the same order, in pieces of at most `per_call` a problem."""
    piece: list[Candidates] = []
    for part in parts:
        start, end = 0, part.origins.shape[1]
        while start < end:
            room = per_call - num_candidates(piece)
            piece.append(part.between(start, min(start + room, end)))
            start += room
            if num_candidates(piece) == per_call:
                yield piece
                piece = []
    if piece:
        yield piece


def _imagined(model: WorldModel, belief: Belief, piece: Sequence[Candidates], watch: Stopwatch) -> Sequence[Candidates]:
    """`piece` with what each of its parts leads to; what is still to be imagined is imagined in one call."""
    missing = [part for part in piece if part.imagination is None]
    if not missing:
        return piece
    if len(missing) == len(piece):
        joined = join_candidates(piece)
        with watch.stage("imagine"):
            return [replace(joined, imagination=model.imagine(belief, joined.actions))]
    with watch.stage("imagine"):
        together = model.imagine(belief, join([part.actions for part in missing]))
    sizes = [part.origins.shape[1] for part in missing]
    found = zip(together.latents.split(sizes, dim=1), together.disagreement.split(sizes, dim=1), strict=True)
    return [part if part.imagination is not None else replace(part, imagination=Imagination(*next(found))) for part in piece]


def _scored(cost: Cost, goal: Goal, piece: Sequence[Candidates], watch: Stopwatch) -> Scored:
    actions, origins = join([part.actions for part in piece]), join([part.origins for part in piece])
    imagined = [part.imagination for part in piece if part.imagination is not None]
    imagination = Imagination(join([one.latents for one in imagined]), join([one.disagreement for one in imagined]))
    if all(one.futures is not None for one in imagined):
        imagination = replace(imagination, futures=torch.cat([one.futures for one in imagined if one.futures is not None], dim=2))
    with watch.stage("score"):
        costs = cost(imagination, goal)
    if costs.total.shape != origins.shape:
        raise ContractError(
            f"cost {type(cost).__name__} gave totals of shape {tuple(costs.total.shape)}; "
            f"expected (problems, candidates) = {tuple(origins.shape)}"
        )
    finite_actions = torch.isfinite(actions).flatten(2).all(dim=2)
    totals, _ = finite_or_inf(torch.where(finite_actions, costs.total, torch.inf))
    return Scored(actions, origins, imagination.latents, imagination.disagreement, dict(costs.terms), totals)


@configuration
class RiskConfig:
    """`mean` trusts all futures alike, `worst` the most pessimistic, `cvar` the mean of the worst `tail` of them.

    Conditional value at risk: Rockafellar and Uryasev, Optimization of Conditional Value-at-Risk, 2000. In `planner.risk` a future is
    what one head believes, to which it keeps for all steps, as the particles "TS infinity" of PETS (Chua et al. 2018, arXiv 1805.12114);
    in `futures` it is what chance brings.
    """

    measure: Literal["mean", "worst", "cvar"] = "cvar"
    tail: Annotated[float, Field(gt=0, le=1), Unit("1")] = 0.5

    def of(self, totals: Float[Tensor, "future batch sample"]) -> Float[Tensor, "batch sample"]:
        """One total from those of all futures; a single future that is not finite makes it so."""
        match self.measure:
            case "mean":
                return totals.mean(dim=0)
            case "worst":
                return totals.amax(dim=0)
            case "cvar":
                return totals.sort(dim=0, descending=True).values[: self._num_worst(len(totals))].mean(dim=0)

    def counted(self, totals: Float[Tensor, "future batch sample"]) -> Bool[Tensor, "future batch sample"]:
        """The futures of each candidate whose mean is the total; of equals the earlier one counts."""
        if self.measure == "mean":
            return torch.ones_like(totals, dtype=torch.bool)
        worst_first = totals.argsort(dim=0, descending=True, stable=True)
        place = worst_first.argsort(dim=0)
        return place < (1 if self.measure == "worst" else self._num_worst(len(totals)))

    def _num_worst(self, num_futures: int) -> int:
        return math.ceil(self.tail * num_futures - 1e-9)


@runtime_checkable
class ManyFutures(Protocol):
    """A world model that can imagine apart what each of its heads believes."""

    def rollout_per_member(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> tuple[Imagination, ...]:
        """One imagination for each head, which stands on its own predictions at every step."""
        ...


def scored_by_risk(model: ManyFutures, cost: Cost, belief: Belief, goal: Goal, candidates: Scored, risk: RiskConfig) -> Scored:
    """`candidates` with totals that are the risk over the heads' futures; what was not finite before stays so."""
    totals = torch.stack([cost(future, goal).total for future in model.rollout_per_member(belief, candidates.actions)])
    risked, _ = finite_or_inf(risk.of(totals))
    return replace(candidates, totals=torch.where(torch.isfinite(candidates.totals), risked, torch.inf))


def check_many_futures(model: object) -> ManyFutures:
    """`model`, or `ContractError` when it has but one future."""
    if not isinstance(model, ManyFutures):
        raise ContractError(
            f"{type(model).__name__} imagines one future only, so there is no risk to weigh; set planner.risk=null, or use a learned model"
        )
    return model


@configuration
class FuturesConfig:
    """Into how many futures each candidate is imagined, how freely they are drawn, and how it is judged by them.

    A `temperature` of 1 draws outcomes as often as the model holds them likely, 0 always the likeliest, more makes rare ones common.
    """

    count: Annotated[int, Field(ge=1, le=1024)] = 16
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    risk: RiskConfig = field(default_factory=lambda: RiskConfig("mean"))

    def chance(self, seeds: Sequence[int], horizon: int, like: Float[Tensor, "batch channel"]) -> Chance:
        """The draws of each problem, by its own seed alone.

        At every imagined step they lie one in each of `count` equal parts of [0, 1), in another order at each (Latin hypercube: McKay,
        Beckman and Conover 1979): so a few futures show what is likely as often as it is.
        """
        drawn = [_even(self.count, horizon, generator_of(seed, "futures")) for seed in seeds]
        return Chance(uploaded(torch.stack(drawn).to(like.dtype), like.device), self.temperature)


def _even(count: int, horizon: int, generator: torch.Generator) -> Float[Tensor, "future horizon"]:
    parts = torch.stack([torch.randperm(count, generator=generator) for _ in range(horizon)], 1)
    return ((parts + torch.rand(count, horizon, generator=generator)) / count).clamp(max=1 - 1e-6)


@dataclass(frozen=True)
class FuturesCost:
    """`cost` of several futures, weighed by `risk`. Of one future alone it is the plain cost.

    Terms are the mean of those of the futures that count (all, the worst, or the worst share), so that they sum to the total.
    """

    cost: Cost
    risk: RiskConfig

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        if imagination.futures is None:
            return self.cost(imagination, goal)
        each = [self.cost(Imagination(latents, imagination.disagreement), goal) for latents in imagination.futures]
        totals = torch.stack([one.total for one in each])
        counted = self.risk.counted(totals)
        terms = {name: torch.where(counted[..., None], torch.stack([one.terms[name] for one in each]), 0.0) for name in each[0].terms}
        num_counted = counted.sum(0)[..., None]
        return StepCosts({name: term.sum(0) / num_counted for name, term in terms.items()}, self.risk.of(totals))


@dataclass(frozen=True)
class FuturesPlanner:
    """`planner`, which is told what chance brings in the futures of each decision; its `cost` is that of one future."""

    planner: Planner
    model: WorldModel
    cost: Cost
    config: FuturesConfig
    horizon: int

    @property
    def name(self) -> str:
        return self.planner.name

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`. The plan says where its actions may lead, and what each future costs."""
        if len(seeds) != len(belief.latent):
            return self.planner.plan(belief, goal, seeds, previous, deadline)  # which says what is wrong
        drawn = replace(belief, chance=self.config.chance(seeds, self.horizon, belief.latent))
        plan = self.planner.plan(drawn, goal, seeds, previous, deadline)
        with torch.inference_mode():
            futures = self.model.imagine(drawn, plan.actions.to(belief.latent)[:, None]).futures
            assert futures is not None  # `build_planner` saw to it
            beside = torch.zeros_like(futures[..., 0])  # what the model does not know is the same in all of them
            totals = torch.stack([self.cost(Imagination(one, none), goal).total[:, 0] for one, none in zip(futures, beside, strict=True)])
        return replace(plan, futures=futures[:, :, 0].transpose(0, 1), future_totals=finite_or_inf(totals.T)[0])
