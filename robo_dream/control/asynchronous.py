"""Planning while moving: the next plan is made for where the actions already committed are imagined to lead.

At control step s a decision begins. The next `commit_steps` actions are fixed, and the model imagines forward from what it sees through
what was sent since that was exposed (observation and actuation latency) and through the fixed actions; the plan is for what comes after.
It has the time of the fixed actions to be made. When it is late, the last plan is followed for at most `limits.max_late_steps` more.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from robo_dream.control.episode import Decided, Decider, EpisodeEnd, EpisodeResult, Stepping, hold_action
from robo_dream.embodiment import Clock, Observation
from robo_dream.imagination import ImaginationRecord
from robo_dream.safety.limits import plan_age_reasons

Decide = Callable[[], Decided]


@runtime_checkable
class PlannerWorker(Protocol):
    """Where decisions are made, one at a time."""

    def start(self, think: Decide) -> None: ...

    def result(self) -> Decided | None:
        """The decision, once it is made; raises what its making raised."""
        ...

    def close(self) -> None: ...


class ThreadWorker:
    """Thinks in a thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "planner")
        self._future: Future[Decided] | None = None

    def start(self, think: Decide) -> None:
        self._future = self._pool.submit(think)

    def result(self) -> Decided | None:
        return self._future.result() if self._future is not None and self._future.done() else None

    def close(self) -> None:
        """Does not wait for a decision under way: nobody wants it any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class DelayedWorker:
    """Thinks at once and answers `seconds` of `clock` later: for worlds whose time stands still while one thinks."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._ready, self._decided = 0.0, None

    def start(self, think: Decide) -> None:
        self._ready, self._decided = self._clock.now() + self._seconds, think()

    def result(self) -> Decided | None:
        return self._decided if self._clock.now() > self._ready - 1e-6 else None

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Pending:
    """A decision under way: made from the observation at control step `step`, for what comes from `start` on."""

    step: int
    start: int
    is_resting: bool  # the arm holds still meanwhile, so that the plan may begin at any later step


def asynchronous_episode(
    run: Stepping,
    decider: Decider,
    worker: PlannerWorker,
    is_done: Callable[[Observation], bool] | None,
    on_decision: Callable[[ImaginationRecord], None] | None,
) -> EpisodeResult:
    """As `run_episode`. The arm holds still until the first plan is there; that counts as control steps."""
    ahead = _Ahead(run, decider, worker, on_decision)
    try:
        end = run.until_end(is_done, ahead.step)
    finally:
        try:
            worker.close()
        finally:
            run.arm.stop()
    return run.episode(end)


class _Ahead:
    """What is queued, and what is being thought."""

    def __init__(
        self, run: Stepping, decider: Decider, worker: PlannerWorker, on_decision: Callable[[ImaginationRecord], None] | None
    ) -> None:
        self._run, self._decider, self._thinker, self._on_decision = run, decider, worker, on_decision
        self._thought: _Pending | None = None
        self._is_unwanted = False  # what is being thought starts from where the arm no longer goes

    def step(self) -> EpisodeEnd | None:
        run = self._run
        if run.blind:
            return self._hold(run.blind)
        reasons = self._take()
        if reasons:
            return self._hold(reasons)
        if self._thought is None:
            self._begin()
        assert self._thought is not None
        late = len(run.sent) - self._thought.start
        if run.pending and (self._thought.is_resting or late < run.config.limits.max_late_steps):
            return run.act(run.pending.pop(0))
        if self._thought.is_resting or self._is_unwanted:
            return run.act(hold_action(run.arm.action_spec, run.observations[-1].arm), is_hold=True)
        return self._hold((f"the next plan is {late} control steps late; allowed {run.config.limits.max_late_steps}",))

    def _take(self) -> tuple[str, ...]:
        """Adopts the plan that is due, if it is there; or says why it must not be acted on."""
        run, thought = self._run, self._thought
        step = len(run.sent)
        if thought is None or (step < thought.start and not (thought.is_resting or self._is_unwanted)):
            return ()
        decided = self._thinker.result()
        if decided is None:
            return ()
        self._thought = None
        if self._is_unwanted:
            self._is_unwanted = False
            return ()
        late = 0 if thought.is_resting else step - thought.start
        if thought.is_resting:
            decided = replace(decided, record=replace(decided.record, step=step))
        run.note(decided, self._on_decision)
        old = plan_age_reasons(run.clock.now() - decided.record.time, run.config.limits) if thought.is_resting else ()
        if reasons := old or decided.reasons:
            return reasons
        run.consecutive_holds = 0
        run.pending = list(decided.record.actions[late:].numpy())
        run.previous = decided.plan
        return ()

    def _begin(self) -> None:
        """Starts the next decision, with the actions fixed that are sent meanwhile."""
        run, block = self._run, self._decider.model.action_block
        step, observations, previous = len(run.sent), tuple(run.observations), run.previous
        if not run.pending:
            self._thought = _Pending(step, step, is_resting=True)
            self._thinker.start(lambda: self._decider.decide(observations, step, None))
            return
        num_past = self._num_past()
        desired = num_past + (run.config.commit_steps or block)
        num_fixed = -(-desired // block) * block - num_past
        hold = hold_action(run.arm.action_spec, run.observations[-1].arm)
        fixed = [*run.pending[:num_fixed], *[hold] * (num_fixed - len(run.pending))]
        run.pending = [*fixed, *run.pending[num_fixed:]]
        committed = torch.from_numpy(np.asarray([*run.applied[step - num_past :], *fixed], np.float32))
        start = step + num_fixed
        self._thought = _Pending(step, start, is_resting=False)
        self._thinker.start(lambda: self._decider.decide(observations, step, previous, committed, start))

    def _num_past(self) -> int:
        """Control steps that were sent since the moment that the newest pictures show."""
        run = self._run
        exposed = min((frame.time for frame in run.observations[-1].frames.values()), default=run.observations[-1].time)
        seconds = run.observations[-1].time - exposed + run.config.actuation_seconds
        return min(round(max(seconds, 0.0) / run.arm.action_spec.control_dt), len(run.sent))

    def _hold(self, reasons: tuple[str, ...]) -> EpisodeEnd | None:
        """The arm comes to rest, so a plan for where it was going to be is of no use."""
        self._is_unwanted = self._thought is not None
        return self._run.hold(reasons)
