"""A guard in a process of its own: a planner that keeps the interpreter, crashes or is killed cannot keep an arm from being stopped."""

import json
import logging
import multiprocessing as mp
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError, ContractError, SafetyStopError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety import guard_memory
from robo_dream.safety.ending import why
from robo_dream.safety.guard_server import END, Build, serve
from robo_dream.safety.keys import restore_terminal, terminal_settings
from robo_dream.safety.promises import Promise

_log = logging.getLogger(__name__)
_START = 30.0  # s for a new interpreter, its imports and a connection
_ACKNOWLEDGED = 0.3  # s that an emergency stop waits to be confirmed; the guard that does not tick meanwhile is watched
_WATCH = 0.05  # s between two looks at whether the guard lives

SAID_NEXT = "what is done about the arm is said next"  # while that is under way
LastResort = Callable[[], str]
"""Stops the arm without the guard, and says in a sentence what acted; raises `ArmError` when nothing did. See `RobotArm` drivers."""


class GuardProcess:
    """A `RobotArm` like `GuardThread`, whose driver, guard and keys live in another process.

    There, any key of `EMERGENCY` (see `keys.py`) on the terminal `tty` stops the arm at once, as SIGUSR1 and SIGQUIT do; so does
    `emergency_stop` here. SIGTERM and SIGHUP to it, and the end of this process, however it ends, decelerate, hold and disconnect.
    `state` is what the guard last read, not older than its tick; `send` never waits. A guard that is killed, or does not tick for
    `max_silence` seconds, is ended here, and `last_resort` stops the arm; `reasons` then say what acted.
    """

    def __init__(
        self,
        build: Build,
        command_dt: float,
        on_event: Callable[[SafetyEvent], None] | None = None,
        tty: Path | None = None,
        last_resort: LastResort | None = None,
        max_silence: float = 1.0,
    ) -> None:
        self._build, self.command_dt, self._on_event, self._tty = build, command_dt, on_event, tty
        self._last_resort, self._max_silence = last_resort, max_silence
        self._told: dict[str, Any] = {}
        self._goodbye: dict[str, Any] = {}  # what the guard said on ending
        self._lost = ""  # how the guard went, and what was done about the arm
        self._losing = threading.Lock()
        self._is_leaving = False
        self._threads: list[threading.Thread] = []

    @property
    def action_spec(self) -> ActionSpec:
        if not self._told:
            raise ContractError("the arm is not connected yet; enter it (`with arm:`) first")
        return replace(ActionSpec.from_json(self._told["spec"]), control_dt=self.command_dt)

    @property
    def promises(self) -> Mapping[str, Promise]:
        """What the limits in force promise of each stop; see `promises.py`."""
        return {cause: Promise(**said) for cause, said in self._told["promises"].items()}

    @property
    def promise_lines(self) -> tuple[str, ...]:
        """The same in words, the worst case first: to be said before anything moves."""
        return tuple(self._told["lines"])

    @property
    def pid(self) -> int:
        """Of the guard's process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def __enter__(self) -> "GuardProcess":
        context = mp.get_context("spawn")  # a fork would share sockets, locks and GL contexts with the planner
        self._terminal = terminal_settings(self._tty)
        self._memory = SharedMemory(create=True, size=guard_memory.SIZE)
        self._channel, theirs = context.Pipe()
        self._wire = socket.socket(fileno=os.dup(self._channel.fileno()))
        self._wire.settimeout(
            None
        )  # a default that an SDK set (xArm's does) would make the channel, the same socket, one that does not wait
        arguments = (self._build, self.command_dt, theirs, self._memory.name, None if self._tty is None else str(self._tty))
        self._process = context.Process(target=serve, args=arguments, name="guard", daemon=False)
        self._process.start()
        theirs.close()
        try:
            self._told = self._hello()
            self._threads = [threading.Thread(target=task, daemon=True) for task in (self._listen, self._watch)]
            for thread in self._threads:
                thread.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stop("leaving" if value is None else why(value))
        finally:
            self._close()

    def state(self) -> ArmState:
        """Raises `ArmError` when the guard process has ended."""
        if self._lost or not self._process.is_alive():
            raise ArmError("; ".join(self.reasons))
        data = self._shared()["state"]
        if data is None:
            raise ArmError("the arm has said nothing yet; check power, cable and port")
        return _state_of(data)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """As `GuardThread.send`."""
        target, low, high = np.array(action, np.float64), np.asarray(self._told["low"]), np.asarray(self._told["high"])
        if target.shape != low.shape or not np.isfinite(target).all():
            sentence = f"joint target {target} must be {len(low)} finite numbers {self._told['spec']['names']}"
            self._say(SafetyEvent(time.monotonic(), "refused", sentence))
            raise ContractError(sentence)
        if reasons := self.reasons:
            raise SafetyStopError("; ".join(reasons))
        if not self._tell("T", target.tobytes()):
            raise SafetyStopError(self._lost or "the guard process does not listen, or has ended; nothing was sent")
        return np.clip(target, low, high)

    def stop(self, reason: str = "told to stop") -> None:
        """Decelerates and holds; returns when commands are at rest, or when braking should long be over. Where the guard is no more, when
        `reasons` say what was done about the arm."""
        number = self._shared(default=True).get("num_stops", 0)
        self._tell("S", reason.encode())
        end = time.monotonic() + self._told.get("braking", 0.0) + 1.0
        while time.monotonic() < end and self._process.is_alive():
            now = self._shared(default=True)
            if now.get("num_stops", 0) > number and now["is_still"]:
                return
            time.sleep(0.005)
        self._settle(reason)

    def emergency_stop(self, reason: str = "emergency stop") -> None:
        """At once, latched until `reset`; returns when the guard says so. Where it is no more, or dies of it, by the last resort."""
        if not self._tell("E", reason.encode()) and self._process.is_alive():
            return self._lose("the guard process does not listen", reason)
        end = time.monotonic() + _ACKNOWLEDGED
        while self._process.is_alive() and time.monotonic() < end:
            if self._shared(default=True).get("reasons"):
                return
            time.sleep(0.002)
        self._settle(reason)

    def reset(self) -> None:
        """Ends a latched stop, after a person has looked."""
        self._tell("R")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the arm is stopped."""
        if self._lost:
            return (self._lost,)
        if not self._process.is_alive():
            self._threads[0].join(_WATCH)  # what it said last is read first
            return (self._said_at_the_end() or f"{self._how_it_ended()}; {SAID_NEXT}",)
        return tuple(self._shared()["reasons"])

    def _tell(self, kind: str, content: bytes = b"") -> bool:
        """Whether the guard was told. Waits for nobody, and what does not fit into the pipe is not told.

        Framed as by `Connection.send_bytes`, which would wait. One call to the system puts it into the pipe whole, without a lock:
        a thread that has one may wait for a planner that keeps Python, and an emergency stop would wait for that thread.
        """
        message = kind.encode() + content
        try:
            return self._wire.send(struct.pack("!i", len(message)) + message, socket.MSG_DONTWAIT) > 0
        except OSError:
            return False

    def _hello(self) -> dict[str, Any]:
        """What the guard says once it is connected; events may come before that. Raises `ArmError` when it cannot be."""
        end = time.monotonic() + _START
        while self._channel.poll(max(0.0, end - time.monotonic())):
            line = self._received()
            told = json.loads(line)
            if "error" in told:
                raise ArmError(told["error"])
            if "spec" in told:
                return told
            self._say(SafetyEvent.from_line(line))
        raise ArmError(f"the guard process did not start within {_START} s")

    def _received(self) -> bytes:
        try:
            return self._channel.recv_bytes()
        except (EOFError, OSError) as error:
            self._process.join(1.0)
            raise ArmError(f"{self._how_it_ended()} ({error}); see its last words above") from error

    def _listen(self) -> None:
        """What the guard says, as long as it does."""
        while True:
            try:
                line = self._channel.recv_bytes()
            except (EOFError, OSError):
                return
            with suppress(ValueError):
                if line[:1] == b"Q":
                    self._goodbye = json.loads(line[1:])
                else:
                    self._say(SafetyEvent.from_line(line))

    def _watch(self) -> None:
        """Whether the guard lives and ticks; where it does not, the last resort."""
        while not connection.wait([self._process.sentinel], timeout=_WATCH):
            age = 0.0 if self._is_leaving else guard_memory.silence(self._memory)
            if age > self._max_silence:
                return self._lose(f"the guard process was silent for {age:.2f} s; allowed {self._max_silence} s. It was killed", "")
            if self._is_leaving:
                return
        if not self._is_leaving:
            self._process.join()
            time.sleep(_WATCH)  # what it said last is still read
            if self._goodbye:
                self._lost = self._said_at_the_end()
            else:
                self._lose(self._how_it_ended(), "")

    def _settle(self, reason: str) -> None:
        """Where the guard has ended: its last word is read, or the last resort acts."""
        if self._process.is_alive():
            return
        self._threads[0].join(_ACKNOWLEDGED)
        if self._goodbye:
            self._lost = self._lost or self._said_at_the_end()
        else:
            self._lose(self._how_it_ended(), reason)

    def _lose(self, how: str, reason: str) -> None:
        """The guard is ended for good, so that it commands no more, and the arm is stopped without it; once."""
        with self._losing:
            if self._lost:
                return
            self._process.kill()
            self._process.join()
            restore_terminal(self._terminal)
            if self._last_resort is None:
                done = "no last resort is known for this arm, and nobody has told the arm to stop: use the switch that cuts its power"
            else:
                try:
                    done = self._last_resort()
                except Exception as error:  # of whatever kind: it is said, and a person has to act
                    done = f"the last resort failed ({error}), and nobody knows whether the arm stands: use the switch that cuts its power"
            self._lost = f"{how}{f' (asked to stop: {reason})' if reason else ''}; {done}"
        _log.error("%s", self._lost)
        self._say(SafetyEvent(time.monotonic(), "emergency stop", self._lost))

    def _how_it_ended(self) -> str:
        code = self._process.exitcode
        if code is None:
            return "the guard process does not answer"
        if code < 0:
            with suppress(ValueError):
                return f"the guard process was killed by {signal.Signals(-code).name}"
        return f"the guard process has ended (exit code {code})"

    def _said_at_the_end(self) -> str:
        if not self._goodbye:
            return ""
        rest = "commands came to rest first" if self._goodbye["was_still"] else "commands had not come to rest; the driver was told to stop"
        return f"the guard process has ended: {self._goodbye['reason']}; {rest}"

    def _say(self, event: SafetyEvent) -> None:
        _log.info("%s: %s", event.kind, event.reason)
        if self._on_event is not None:
            self._on_event(event)

    def _shared(self, default: bool = False) -> dict[str, Any]:
        for _ in range(100):  # torn by a tick meanwhile: the next look is whole
            data = guard_memory.read(self._memory)
            if data is not None:
                return data
            time.sleep(0.0005)
        if default:
            return {"num_stops": 0, "is_still": True}
        raise ArmError(f"{self._how_it_ended()}, or says nothing that is whole; see its last words above")

    def _close(self) -> None:
        self._is_leaving = True
        self._tell("Q")
        self._process.join(self._told.get("braking", 0.0) + END)
        if self._process.is_alive():
            _log.warning("the guard process does not end; it is told once more")
            self._process.terminate()
            self._process.join(END)
        if self._process.is_alive() or (self._process.exitcode and self._told and not self._goodbye):
            self._lose(self._how_it_ended(), "leaving")
        restore_terminal(self._terminal)
        for thread in self._threads:
            thread.join(_START)  # the last resort may be under way; whoever listens has read the last word by then
        self._wire.close()
        self._channel.close()
        self._memory.close()
        self._memory.unlink()


def _state_of(data: dict[str, Any]) -> ArmState:
    values: dict[str, Any] = {name: np.asarray(value, float) if isinstance(value, list) else value for name, value in data.items()}
    return ArmState(**values)
