"""Writes a run as it happens, beside the loop: every decision before it is acted on is handed over, and is on disk soon after."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from robo_dream.data.layout import json_bytes
from robo_dream.embodiment import ArmState, Observation
from robo_dream.errors import DataError
from robo_dream.files import replace_file
from robo_dream.recording.archive import archive_bytes
from robo_dream.recording.decision import Decision
from robo_dream.recording.events import EVENTS, SafetyEvent, append_line
from robo_dream.recording.record import DECISIONS, GOAL, INTERRUPTED, RESULT, RUN, STEPS, VERSION, GoalRecord

_log = logging.getLogger(__name__)
_IN_JSON = (
    "step",
    "time",
    "planner",
    "seed",
    "origin_names",
    "seconds",
    "total",
    "late_readings",
    "unsure_reasons",
    "status",
    "belief_disagreement",
    "perception",
    "belief_unseen",
    "together",
)

QUEUE_SIZE = 256  # files that may wait for the disk: some 20 s of control at 10 Hz
MAX_WAIT = 0.02  # s that the loop waits for a full queue, once; then recording stops

Write = Callable[[Path, bytes], None]
"""Puts bytes into a file, whole or not at all, durable on return; raises `OSError` when it cannot."""


class RunWriter:
    """Keeps one episode in `root`, which must not hold a run. Hand `on_decision` and `on_step` to the loop's `Hooks`.

    A context manager: leaving it waits until everything is on disk. Writing happens in a thread of its own, in the order in which
    things happened, so the loop never waits for a disk. A disk that fails (full, gone, or so slow that `queue_size` files wait and none
    is taken for `max_wait` seconds) ends the recording with one warning, and nothing else: what was written by then is a readable run.
    `about` is any JSON: configuration, checkpoint and its hash, code version, the goal in words.
    """

    def __init__(
        self,
        root: Path | str,
        about: Mapping[str, Any],
        goal: GoalRecord,
        *,
        write: Write = replace_file,
        queue_size: int = QUEUE_SIZE,
        max_wait: float = MAX_WAIT,
    ) -> None:
        self.root = Path(root)
        self.num_steps = 0  # handed over
        self.written: tuple[int, ...] = ()  # control steps of the decisions that are on disk and stay there if the power goes now
        self.failure: BaseException | None = None  # why recording stopped before its end
        self._write, self._max_wait = write, max_wait
        if (self.root / RUN).exists():
            raise DataError(f"{self.root} already holds a run; choose another folder or delete it")
        arrays = {"latent": goal.latent, "object_pos": goal.object_pos, "tool_pos": goal.tool_pos}
        arrays |= {f"picture.{name}": picture for name, picture in goal.pictures.items()}
        try:
            write(self.root / GOAL, archive_bytes({name: array for name, array in arrays.items() if array is not None}, {}))
            write(self.root / RUN, json_bytes({**about, "version": VERSION}))  # last: from here on it is a run
        except OSError as error:  # nothing moves yet
            raise DataError(f"no run can be kept in {self.root}: {error}; make room, or choose another folder") from error
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(queue_size)
        self._stopping = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"record {self.root}", daemon=True)
        self._thread.start()

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def num_waiting(self) -> int:
        """How many files are handed over and not yet begun."""
        return self._waiting.qsize()

    def on_decision(self, decision: Decision) -> None:
        self._hand_over(lambda: self._write_decision(decision))

    def on_step(self, before: Observation, sent: Float[np.ndarray, " action"], applied: Float[np.ndarray, " action"]) -> None:
        # copied: what is sent is the caller's
        self._hand_over_step(before, {"sent": np.array(sent, np.float32), "applied": np.array(applied, np.float32)})

    def on_event(self, event: SafetyEvent) -> None:
        """One line of events.jsonl, marked with the control step under way."""
        content = replace(event, step=self.num_steps if event.step is None else event.step).to_line()
        self._hand_over(lambda: append_line(self.root / EVENTS, content))

    def finish(self, last: Observation, result: Mapping[str, Any]) -> None:
        """The observation after the last action, and how it ended (any JSON); on disk when this returns, unless recording had stopped."""
        self._hand_over_step(last, {}, patient=True)  # the arm has stopped
        content = json_bytes(dict(result))
        self._hand_over(lambda: self._write(self.root / RESULT, content), patient=True)
        self.close()

    def interrupt(self, reasons: Sequence[str], more: Mapping[str, Any] | None = None) -> None:
        """The last word of a run whose loop did not come to an end: why. As `finish`, without an observation that nobody made."""
        content = json_bytes({"end": INTERRUPTED, "reasons": list(reasons), **(more or {})})
        self._hand_over(lambda: self._write(self.root / RESULT, content), patient=True)
        self.close()

    def flush(self) -> None:
        """Waits until all that was handed over so far is on disk, unless recording had stopped."""
        self._waiting.join()

    def close(self) -> None:
        """Waits until all that was handed over is on disk, and ends the thread. Raises what was no fault of the disk."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        if self.failure is not None and not isinstance(self.failure, OSError):
            raise self.failure

    def _hand_over(self, job: Callable[[], None], patient: bool = False) -> None:
        """Queues `job`; waits at most `max_wait` where the queue is full, for ever when `patient`."""
        if self.failure is not None:
            return
        try:
            self._waiting.put(job, timeout=None if patient else self._max_wait)
        except queue.Full:
            self._stop(OSError(f"{self._waiting.maxsize} files are waiting, and the disk took none for {self._max_wait} s"))

    def _hand_over_step(self, observation: Observation, actions: Mapping[str, np.ndarray], patient: bool = False) -> None:
        number = self.num_steps
        self.num_steps += 1
        self._hand_over(lambda: self._write_step(number, observation, actions), patient)

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            try:
                if self.failure is None:  # after one the queue still empties, so that nobody waits for it
                    job()
            except Exception as error:  # of whatever kind: the arm goes on, and `close` raises what is a mistake in the program
                self._stop(error)
            finally:
                self._waiting.task_done()

    def _stop(self, error: Exception) -> None:
        with self._stopping:  # the loop and the thread may both find a reason
            if self.failure is not None:
                return
            self.failure = error
        _log.warning("recording in %s stops here: %s. The arm goes on; %d decisions are kept", self.root, error, len(self.written))

    def _write_decision(self, decision: Decision) -> None:
        arrays = {f"term.{name}": term for name, term in decision.terms.items()}
        for field in fields(Decision):
            value = getattr(decision, field.name)
            if field.name not in (*_IN_JSON, "terms") and value is not None:
                arrays[field.name] = value
        about = {name: getattr(decision, name) for name in _IN_JSON} | {"seconds": dict(decision.seconds)}
        self._write(self.root / DECISIONS / f"{decision.step:06d}.npz", archive_bytes(arrays, about))
        self.written = (*self.written, decision.step)

    def _write_step(self, number: int, observation: Observation, actions: Mapping[str, np.ndarray]) -> None:
        state = {field.name: getattr(observation.arm, field.name) for field in fields(ArmState)}
        arrays = dict(actions)
        arrays |= {f"image.{name}": frame.image for name, frame in observation.frames.items()}
        arrays |= {f"arm.{name}": value for name, value in state.items() if isinstance(value, np.ndarray)}
        arrays |= {f"truth.{name}": np.asarray(value) for name, value in observation.truth.items()}
        about = {
            "time": observation.time,
            "frames": {name: (frame.time, frame.number) for name, frame in observation.frames.items()},
            "arm": {name: None if value is None else float(value) for name, value in state.items() if not isinstance(value, np.ndarray)},
        }
        self._write(self.root / STEPS / f"{number:06d}.npz", archive_bytes(arrays, about))
