"""Planning while moving: the next plan is made for where the actions already committed are imagined to lead.

At control step s a decision begins. The next `commit_steps` actions are fixed, and the model imagines forward from what it sees through
what was sent since that was exposed (observation and actuation latency) and through the fixed actions; the plan is for what comes after.
It has the time of the fixed actions to be made. When it is late, the last plan is followed for at most `limits.max_late_steps` more.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Generic, Protocol, runtime_checkable

import numpy as np

from robo_dream.control.choosing import Decided, Decides, Made, Memory, NoAnswer
from robo_dream.control.episode import Choice, EpisodeRun, Hold
from robo_dream.embodiment import Clock
from robo_dream.safety.limits import plan_age_reasons

Decide = Callable[[], Decided | NoAnswer]


@runtime_checkable
class PlannerWorker(Protocol):
    """Where decisions are made, one at a time."""

    def start(self, decide: Decide) -> None: ...

    def result(self) -> Decided | NoAnswer | None:
        """The decision, once it is made; raises what its making raised."""
        ...

    def close(self) -> None: ...


class ThreadWorker:
    """Plans in a thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "planner")
        self._future: Future[Decided | NoAnswer] | None = None

    def start(self, decide: Decide) -> None:
        self._future = self._pool.submit(decide)

    def result(self) -> Decided | NoAnswer | None:
        return self._future.result() if self._future is not None and self._future.done() else None

    def close(self) -> None:
        """Does not wait for a decision under way: nobody wants it any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class DelayedWorker:
    """Plans at once and answers `seconds` of `clock` later: for worlds whose time stands still while one plans."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._ready, self._decided = 0.0, None

    def start(self, decide: Decide) -> None:
        self._ready, self._decided = self._clock.now() + self._seconds, decide()

    def result(self) -> Decided | NoAnswer | None:
        return self._decided if self._clock.now() > self._ready - 1e-6 else None

    def close(self) -> None: ...


@dataclass(frozen=True)
class _UnderWay:
    """A decision that is being made, for what comes from control step `start` on."""

    start: int
    is_resting: bool  # the arm holds still meanwhile, so that the plan may begin at any later step


class Ahead(Generic[Made, Memory]):
    """What is queued, and what is being planned. The arm holds still until the first plan is there; that counts as control steps."""

    def __init__(self, run: EpisodeRun, decider: Decides[Made, Memory], worker: PlannerWorker) -> None:
        self._run, self._decider, self._worker = run, decider, worker
        self._pending: list[np.ndarray] = []  # actions of the present plan that are still to be sent
        self._previous: Made | None = None
        self._remembered: Memory | None = None
        self._under_way: _UnderWay | None = None
        self._is_stale = False  # what is being planned starts from where the arm no longer goes

    def choose(self) -> Choice:
        reasons = self._take()
        if reasons:
            return Hold(reasons)
        if self._under_way is None:
            self._under_way = self._begin()
        late, max_late = self._run.step - self._under_way.start, self._run.config.limits.max_late_steps
        if self._pending and (self._under_way.is_resting or late < max_late):
            return self._pending.pop(0)
        if self._under_way.is_resting or self._is_stale:
            return Hold()
        return Hold((f"the next plan is {late} control steps late; allowed {max_late}",))

    def rest(self) -> None:
        self._pending, self._previous = [], None
        self._is_stale = self._under_way is not None

    def close(self) -> None:
        self._worker.close()

    def _take(self) -> tuple[str, ...]:
        """Adopts the plan that is due, if it is there; or says why it must not be acted on."""
        run, under_way, step = self._run, self._under_way, self._run.step
        if under_way is None or (step < under_way.start and not (under_way.is_resting or self._is_stale)):
            return ()
        decided = self._worker.result()
        if decided is None:
            return ()
        self._under_way = None
        if isinstance(decided, NoAnswer):
            self._is_stale = False
            return decided.reasons
        self._remembered = decided.remembered
        if self._is_stale:
            self._is_stale = False
            return ()
        late = 0 if under_way.is_resting else step - under_way.start
        decision = replace(decided.decision, step=step) if under_way.is_resting else decided.decision
        run.note(decision, decided.seconds)
        old = plan_age_reasons(run.clock.now() - decision.time, run.config.limits) if under_way.is_resting else ()
        if reasons := old or decided.reasons:
            return reasons
        self._pending = list(decision.actions[late:])
        self._previous = decided.plan
        return ()

    def _begin(self) -> "_UnderWay":
        """Starts the next decision, with the actions fixed that are sent meanwhile."""
        run, block = self._run, self._decider.action_block
        step, observations, previous, before = run.step, tuple(run.observations), self._previous, self._remembered
        moved = () if before is None else tuple(run.applied[before.step :])
        if not self._pending:
            self._worker.start(lambda: self._decider.decide(observations, step, None, before=before, moved=moved))
            return _UnderWay(step, is_resting=True)
        num_past = self._num_past()
        desired = num_past + (run.config.commit_steps or block)
        num_fixed = -(-desired // block) * block - num_past
        fixed = [*self._pending[:num_fixed], *[run.hold_action] * (num_fixed - len(self._pending))]
        self._pending = [*fixed, *self._pending[num_fixed:]]
        committed = np.asarray([*run.applied[step - num_past :], *fixed], np.float32)
        start = step + num_fixed
        self._worker.start(lambda: self._decider.decide(observations, step, previous, committed, start, before, moved))
        return _UnderWay(start, is_resting=False)

    def _num_past(self) -> int:
        """Control steps that were sent since the moment that the newest pictures show; what is remembered is already of now."""
        run, newest = self._run, self._run.newest
        exposed = (
            newest.time if self._remembered is not None else min((frame.time for frame in newest.frames.values()), default=newest.time)
        )
        seconds = newest.time - exposed + run.config.actuation_seconds
        return min(round(max(seconds, 0.0) / run.arm.action_spec.control_dt), run.step)
