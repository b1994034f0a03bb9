"""One search for a plan: what planners propose, score and remember, and the clocks by which a deadline cuts it at the same place again."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Cost, Goal, Plan, PlanStatus, Proposer, SearchTrace, WorldModel
from robo_dream.planning.candidates import (
    HOLD,
    MEAN,
    NOISE,
    PREVIOUS,
    Bounds,
    Candidates,
    NoiseStreams,
    bounds_of,
    check_previous,
    of_origin,
    origin_names,
    shifted_plan,
)
from robo_dream.planning.scoring import RiskConfig, Scored, Stopwatch, check_many_futures, join_scored, score, scored_by_risk

DEADLINE = 0.5  # seconds of a `RecordedClock`, between the two times it can show


@dataclass
class CountedClock:
    """`clock`, and how often it was read."""

    clock: Callable[[], float]
    num_readings: int = 0

    def __call__(self) -> float:
        self.num_readings += 1
        return self.clock()


@dataclass
class RecordedClock:
    """Past `DEADLINE` at the readings in `late` (counted from 1) and before it at all others."""

    late: Sequence[int]
    num_readings: int = 0

    def __call__(self) -> float:
        self.num_readings += 1
        return 2 * DEADLINE if self.num_readings in self.late else 0.0


@dataclass(frozen=True)
class Problems:
    """What a planner is asked: a batch of planning problems, what was planned for them before, and until when there is time."""

    belief: Belief
    goal: Goal
    seeds: Sequence[int]
    previous: Plan | None = None
    deadline: float | None = None  # seconds of the planner's clock


class Search:
    """One search over a batch of problems. Made and forgotten inside `plan`, so planners stay pure functions."""

    def __init__(
        self,
        model: WorldModel,
        cost: Cost,
        problems: Problems,
        proposers: Sequence[Proposer] = (),
        *,
        planner: str,
        horizon: int,
        sample_budget: int,
        clock: Callable[[], float],
    ) -> None:
        belief, goal, seeds, previous = problems.belief, problems.goal, problems.seeds, problems.previous
        num_problems = len(belief.latent)
        if not len(goal.latent) == len(seeds) == num_problems:
            raise ContractError(
                f"{num_problems} beliefs, {len(goal.latent)} goals and {len(seeds)} seeds were given; give one of each for every problem"
            )
        self.bounds: Bounds = bounds_of(model.action_spec, belief.latent)
        self.num_steps = horizon * model.action_block
        self.names = origin_names(proposers)
        if previous is not None:
            check_previous(previous, num_problems, self.num_steps, model.action_spec.size)
        self._clock = CountedClock(clock)
        self.watch = Stopwatch(self._clock)
        self.previous, self.action_block = previous, model.action_block
        self._model, self._cost, self._belief, self._goal, self._seeds = model, cost, belief, goal, tuple(seeds)
        self._proposers, self._planner = proposers, planner
        self._noise = NoiseStreams(seeds, planner, self.bounds.low)
        self._sample_budget, self._deadline = sample_budget, problems.deadline
        self._late_readings: list[int] = []
        self._best: Scored | None = None
        self._best_by_iteration: list[Float[Tensor, " batch"]] = []
        self._num_not_finite = torch.zeros(num_problems, dtype=torch.int64, device=belief.latent.device)

    def held(self) -> Float[Tensor, "batch time action"]:
        """No motion."""
        return self.bounds.held(len(self._seeds), 1, self.num_steps)[:, 0]

    def start_mean(self) -> Float[Tensor, "batch time action"]:
        """Where a search distribution is centred first: the previous plan moved on, or holding still."""
        return self.held() if self.previous is None else shifted_plan(self.previous, self.action_block, self.bounds)[:, 0]

    def opening(self, num_proposals: int) -> list[Candidates]:
        """Holding still, the previous plan moved on, and `num_proposals` proposals shared among the proposers."""
        parts = [self.of(self.held()[:, None], HOLD)]
        if self.previous is not None:
            parts.append(self.of(self.start_mean()[:, None], PREVIOUS))
        for i, proposer in enumerate(self._proposers):
            share = num_proposals // len(self._proposers) + (i < num_proposals % len(self._proposers))
            if share:
                parts.append(self.proposed(proposer, share))
        return parts

    def proposed(self, proposer: Proposer, num_samples: int) -> Candidates:
        """What `proposer` proposes, within the limits. What it imagined is taken over; where several futures count, all is imagined anew.

        What was imagined of actions beyond the limits is of nothing that can be done: such a candidate is lost.
        """
        given = proposer.propose(replace(self._belief, chance=None), self._goal, num_samples, self.num_steps, self._seeds)
        actions = given.actions.to(self.bounds.low)
        within = self.bounds.clip(actions)
        if given.imagination is None or self._belief.chance is not None:
            return self.of(within, proposer.name)
        return replace(self.of(torch.where(actions == within, actions, torch.nan), proposer.name), imagination=given.imagination)

    def spread(self, fraction: float) -> Float[Tensor, "batch time action"]:
        """A standard deviation of `fraction` of half the action range."""
        return (fraction * self.bounds.half_range).expand_as(self.held())

    def around(
        self,
        centres: Float[Tensor, "batch #sample time action"],
        std: Float[Tensor, "batch time action"],
        num_samples: int,
        noise_beta: float,
        origin: str = NOISE,
    ) -> Candidates:
        """`num_samples` candidates drawn around `centres`, one or one for each, within the limits."""
        return self.of(self.bounds.clip(centres + std[:, None] * self.drawn(num_samples, noise_beta)), origin)

    def centre(self, mean: Float[Tensor, "batch time action"]) -> Candidates:
        """The centre of a distribution as a candidate."""
        return self.of(self.bounds.clip(mean)[:, None], MEAN)

    def drawn(self, num_samples: int, noise_beta: float) -> Float[Tensor, "batch sample time action"]:
        """Noise of unit variance, each problem's from its own stream; see `NoiseStreams.normal`."""
        return self._noise.normal(num_samples, self.num_steps, len(self.bounds.low), noise_beta)

    def uniform(self, num_samples: int, num_steps: int) -> Float[Tensor, "batch sample time action"]:
        """Numbers between -1 and 1, each problem's from its own stream."""
        return self._noise.uniform(num_samples, num_steps, len(self.bounds.low))

    def of(self, actions: Float[Tensor, "batch sample time action"], origin: str) -> Candidates:
        """`actions` that came from `origin`, one of `names`."""
        return of_origin(actions, origin, self.names)

    def iterations(self, count: int) -> Iterator[int]:
        """0, 1, ... `count` - 1, ending early before an iteration that would outlast the deadline (the first always runs)."""
        longest = 0.0
        for i in range(count):
            start = self._clock()
            if i and self._deadline is not None and start + longest > self._deadline:
                self._late_readings.append(self._clock.num_readings)
                return
            yield i
            longest = max(longest, self._clock() - start)

    def score(self, *parts: Candidates) -> Scored:
        """The candidates imagined and scored; the best of each problem is remembered and what is not finite is counted.

        Of very many only the best are kept, and when the deadline passes between two pieces of them, the rest is left out: see
        `scoring.score`.
        """
        scored, num_not_finite = score(
            self._model, self._cost, self._belief, self._goal, parts, self._sample_budget, self.watch, self._is_late
        )
        self._num_not_finite = self._num_not_finite + num_not_finite
        best = scored.detached().take(scored.cheapest())
        both = best if self._best is None else join_scored(self._best, best)
        self._best = both.take(both.cheapest())
        return scored

    def first_proposal(self, opened: Scored) -> Scored:
        """Of the candidates of `opening`, scored, each problem's first proposal: the policy's likeliest."""
        index = 1 if self.previous is None else 2  # after holding still, and the previous plan
        return opened.take(torch.full((len(self._seeds), 1), index, device=opened.totals.device))

    def best_seen(self) -> Scored:
        """Each problem's cheapest candidate so far."""
        assert self._best is not None, "score before asking for the best"
        return self._best

    def least_risk(self, candidates: Scored, risk: RiskConfig) -> Scored:
        """Of each problem's candidates the one with the least risk over the futures of the model's heads; its total is that risk."""
        model = check_many_futures(self._model)
        with self.watch.stage("risk"):
            scored = scored_by_risk(model, self._cost, self._belief, self._goal, candidates, risk)
        return scored.take(scored.best(1))

    def end_iteration(self) -> None:
        """Notes the best total reached so far."""
        assert self._best is not None, "score before ending an iteration"
        self._best_by_iteration.append(self._best.totals[:, 0])

    def plan(
        self,
        last: Scored,
        elites: Int[Tensor, "batch elite"],
        unsure_above: float = math.inf,
        chosen: Scored | None = None,
        modes: Int[Tensor, "batch sample"] | None = None,
    ) -> Plan:
        """The plan: `chosen` (one candidate a problem) where its cost is finite, otherwise the best seen, otherwise holding still."""
        assert self._best is not None, "score before planning"
        best = self._best
        if chosen is not None:
            both = join_scored(chosen, best)
            best = both.take(torch.isinf(chosen.totals).long())
        lost = torch.isinf(best.totals)  # (batch, 1)
        actions = torch.where(lost[:, :, None, None], self.bounds.hold, best.actions)
        latents = torch.where(lost[:, :, None, None], torch.nan, best.latents)  # nothing finite was imagined
        trace = SearchTrace(
            last.actions, last.latents, last.disagreement, last.terms, last.totals, elites, last.origins, self.names,
            torch.stack(self._best_by_iteration, dim=1), self._num_not_finite, modes, tuple(self._late_readings),
        )  # fmt: skip
        status = self._read_status(best, unsure_above)  # last: all else is under way by then
        return Plan(self._planner, actions[:, 0], latents[:, 0], best.totals[:, 0], status, self._seeds, trace, self.watch.seconds())

    def _is_late(self) -> bool:
        late = self._deadline is not None and self._clock() > self._deadline
        if late:
            self._late_readings.append(self._clock.num_readings)
        return late

    def _read_status(self, best: Scored, unsure_above: float) -> tuple[PlanStatus, ...]:
        """Reads how the search ended: the only wait for the device between pictures and plan."""
        lost = torch.isinf(best.totals[:, 0])
        sure = (best.disagreement[:, 0] <= unsure_above).all(dim=1)  # NaN is not sure
        otherwise = PlanStatus.OUT_OF_TIME if self._late_readings else PlanStatus.OK
        return tuple(
            PlanStatus.NO_FINITE_ROLLOUT if is_lost else otherwise if is_sure else PlanStatus.UNSURE
            for is_lost, is_sure in torch.stack([lost, sure], dim=1).tolist()
        )


@runtime_checkable
class HasHorizon(Protocol):
    """The configuration of a planner."""

    @property
    def horizon(self) -> int:
        """Imagined steps."""
        ...


@runtime_checkable
class HasSampleBudget(HasHorizon, Protocol):
    """The configuration of a planner that imagines many futures."""

    @property
    def sample_budget(self) -> int:
        """Rollouts imagined at once."""
        ...


Config = TypeVar("Config", bound=HasHorizon)
SearchConfig = TypeVar("SearchConfig", bound=HasSampleBudget)


@dataclass(frozen=True)
class PlannerBase(ABC, Generic[Config]):
    """A `Planner` but for `search`. `name` is told in plans and names the planner's random stream."""

    name: ClassVar[str]
    is_warm_started: ClassVar[bool] = True  # whether the previous plan changes this one
    needs_gradients: ClassVar[bool] = False  # whether it differentiates what it imagines

    model: WorldModel
    cost: Cost
    config: Config
    proposers: Sequence[Proposer] = ()
    clock: Callable[[], float] = time.monotonic

    @property
    @abstractmethod
    def sample_budget(self) -> int:
        """Rollouts imagined at once."""

    @abstractmethod
    def search(self, search: Search) -> Plan:
        """The plan that `search`, just begun, comes to."""

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`; raises `ContractError` when the arguments do not fit together."""
        with torch.no_grad() if self.needs_gradients else torch.inference_mode():
            problems = Problems(belief, goal, seeds, previous if self.is_warm_started else None, deadline)
            begun = Search(
                self.model, self.cost, problems, self.proposers,
                planner=self.name, horizon=self.config.horizon, sample_budget=self.sample_budget, clock=self.clock,
            )  # fmt: skip
            return self.search(begun)


class SearchPlanner(PlannerBase[SearchConfig]):
    """A planner that imagines many futures."""

    @property
    def sample_budget(self) -> int:
        return self.config.sample_budget
