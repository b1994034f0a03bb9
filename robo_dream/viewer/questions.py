"""Questions about a run that take a while: put one at a time, answered in the background. Needs no torch."""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robo_dream.errors import DataError, RoboDreamError
from robo_dream.recording.decision import Decision
from robo_dream.recording.timeline import plain

_log = logging.getLogger(__name__)
_KEPT = 30  # answers

OnStage = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much (0: unknown). Raises to end it, so it is called often."""
MAX_SECONDS = 600.0  # that one question may take, while the others wait


@dataclass(frozen=True)
class ToldPlan:
    """One of the plans that an answer lays side by side. `costs` holds, by the name of a cost, its terms at each imagined step."""

    name: str
    status: str
    total: float  # when it was chosen
    actions: Float[np.ndarray, "time action"]
    costs: Mapping[str, Mapping[str, Float[np.ndarray, " horizon"]]]
    latents: Float[np.ndarray, "moment channel"] | None  # the belief first; None where this run's checkpoint cannot draw them


@dataclass(frozen=True)
class Told:
    """An answer: in words, and as plans. `step` is the control step it is about, where it is about one."""

    text: str
    plans: tuple[ToldPlan, ...] = ()
    step: int | None = None


@dataclass(frozen=True)
class Preset:
    """Changes (`key=value`) worth trying, by a short name."""

    name: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Choices:
    """What can be asked about a decision: the keys of what can be changed with their values, presets, planners, and other runs."""

    values: Mapping[str, str]
    presets: tuple[Preset, ...]
    planners: tuple[str, ...]
    runs: tuple[str, ...]


@runtime_checkable
class Asker(Protocol):
    """What answers questions about one run, and never writes to it. Raises `RoboDreamError` for what cannot be answered."""

    def choices(self, decision: Decision) -> Choices: ...

    def recompute(self, decision: Decision, on_stage: OnStage) -> Told: ...

    def recompute_all(self, on_stage: OnStage) -> Told: ...

    def what_if(self, decision: Decision, changes: tuple[str, ...], on_stage: OnStage) -> Told: ...

    def diff(self, other: Path, tolerance: float, on_stage: OnStage) -> Told: ...


class _Stopped(BaseException):
    """Somebody wants no answer any more, or has waited too long for it. Nothing on the way catches it by mistake."""


@dataclass
class _Job:
    words: str
    started: float
    stage: tuple[str, int, int] = ("beginning", 0, 0)
    told: Told | None = None
    error: str | None = None
    seconds: float | None = None
    is_stopping: bool = False


class Questions:
    """Puts questions to whoever answers, one at a time, each in a thread of its own, and keeps the newest answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_seconds: float = MAX_SECONDS) -> None:
        self._clock, self._max_seconds = clock, max_seconds
        self._lock = threading.Lock()
        self._jobs: OrderedDict[int, _Job] = OrderedDict()

    def ask(self, words: str, answer: Callable[[OnStage], Told]) -> int:
        """The number of the question; `words` say what it is. Raises `DataError` while another one is being answered."""
        with self._lock:
            busy = self._busy()
            if busy is not None:
                words = self._jobs[busy].words
                raise DataError(f"one question at a time: {words!r} (question {busy}) is still being answered; wait for it, or stop it")
            number, job = next(reversed(self._jobs), 0) + 1, _Job(words, self._clock())
            self._jobs[number] = job
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
        threading.Thread(target=self._work, args=(job, answer), name=f"question {number}", daemon=True).start()
        return number

    def stop(self, number: int) -> None:
        """Ends question `number` without an answer, when whoever answers next says how far it is."""
        self._job(number).is_stopping = True

    def running(self) -> dict[str, Any] | None:
        """The question that is being answered, as JSON, whoever put it; None where there is none."""
        with self._lock:
            busy = self._busy()
        return None if busy is None else self.view(busy)

    def told(self, number: int) -> Told:
        """The answer; raises `DataError` while there is none."""
        told = self._job(number).told
        if told is None:
            raise DataError(f"question {number} has no answer (yet)")
        return told

    def view(self, number: int) -> dict[str, Any]:
        """Question `number` as JSON: what is being done, or the answer without its pictures."""
        job = self._job(number)
        seconds = self._clock() - job.started if job.seconds is None else job.seconds
        view: dict[str, Any] = {"number": number, "words": job.words, "seconds": plain(seconds, 3)}
        if job.seconds is None:
            stage, done, all_ = job.stage
            return view | {"state": "running", "stage": "stopping" if job.is_stopping else stage, "done": done, "all": all_}
        if job.told is None:
            return view | {"state": "failed", "error": job.error}
        plans = [_plan_view(plan) for plan in job.told.plans]
        return view | {"state": "done", "text": job.told.text, "step": job.told.step, "plans": plans}

    def _busy(self) -> int | None:
        return next((number for number, job in self._jobs.items() if job.seconds is None), None)

    def _job(self, number: int) -> _Job:
        with self._lock:
            if number not in self._jobs:
                raise DataError(f"there is no question {number}; the last {_KEPT} are kept, while the server runs")
            return self._jobs[number]

    def _work(self, job: _Job, answer: Callable[[OnStage], Told]) -> None:
        def on_stage(stage: str, done: int, all_: int) -> None:
            job.stage = (stage, done, all_)
            if job.is_stopping:
                raise _Stopped("stopped")
            if self._clock() - job.started > self._max_seconds:
                raise _Stopped(
                    f"stopped after {self._max_seconds:.0f} s, since others may want to ask; ask for less, such as fewer samples"
                )

        try:
            job.told = answer(on_stage)
        except _Stopped as stopped:
            job.error = str(stopped)
        except MemoryError:
            job.error = "it takes more memory than this machine has; ask for less, such as fewer samples"
        except RoboDreamError as error:
            job.error = str(error)
        except Exception as error:  # the page must hear of it, and the server goes on
            _log.exception("%s", job.words)
            job.error = f"{type(error).__name__}: {error}; this is a mistake in robo-dream, the server's terminal shows where"
        finally:
            job.seconds = self._clock() - job.started


def _plan_view(plan: ToldPlan) -> dict[str, Any]:
    costs = {cost: {name: plain(np.asarray(term), 4) for name, term in terms.items()} for cost, terms in plan.costs.items()}
    sums = {cost: sum(float(np.sum(term)) for term in terms.values()) for cost, terms in plan.costs.items()}
    return {
        "name": plan.name, "status": plan.status, "total": plain(float(plan.total)), "actions": plain(plan.actions), "costs": costs,
        "sums": {cost: total if math.isfinite(total) else None for cost, total in sums.items()},
        "moments": 0 if plan.latents is None else len(plan.latents),
    }  # fmt: skip
