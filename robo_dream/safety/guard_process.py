"""A guard in a process of its own: a planner that keeps the interpreter, crashes or is killed cannot keep an arm from being stopped."""

import json
import logging
import multiprocessing as mp
import os
import queue
import signal
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from multiprocessing import connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState, RobotArm
from robo_dream.errors import ArmError, ContractError, RoboDreamError, SafetyStopError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.guard import Guard, Verdict
from robo_dream.safety.guard_thread import GuardFor, GuardThread
from robo_dream.safety.keys import Keys, restore_terminal, terminal_settings
from robo_dream.safety.promises import Promise, promise_lines, promises

_log = logging.getLogger(__name__)
_SIZE = 16384  # bytes of the shared state: some 40 numbers and a few sentences
_HEAD = struct.Struct("<IId")  # size and checksum of what follows; monotonic s of the newest tick
_START = 30.0  # s for a new interpreter, its imports and a connection
_END = 3.0  # s for disconnecting, beyond what braking takes
_HUNG = 0.3  # s without a tick while commands are on the wire; then the driver is told to stop
_ACKNOWLEDGED = 0.3  # s that an emergency stop waits to be confirmed; the guard that does not tick meanwhile is watched
_WATCH = 0.05  # s between two looks at whether the guard lives

Build = Callable[[], tuple[RobotArm, Guard | GuardFor]]
"""Makes the driver and its guard, in the new process. A function of a module, or `functools.partial` of one, with plain arguments."""

LastResort = Callable[[], str]
"""Stops the arm without the guard, and says in a sentence what acted; raises `ArmError` when nothing did. See `RobotArm` drivers."""

EMERGENCY_SIGNALS = (signal.SIGUSR1, signal.SIGQUIT)
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)  # of a terminal: they are the planner's process's


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
        self._writing = threading.Lock()
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
        self._memory = SharedMemory(create=True, size=_SIZE)
        self._channel, theirs = context.Pipe()
        self._wire = socket.socket(fileno=os.dup(self._channel.fileno()))
        arguments = (self._build, self.command_dt, theirs, self._memory.name, None if self._tty is None else str(self._tty))
        self._process = context.Process(target=_serve, args=arguments, name="guard", daemon=False)
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
            self.stop("leaving" if value is None else f"{type(value).__name__}: {value}")
        finally:
            self._close()

    def state(self) -> ArmState:
        """Raises `ArmError` when the guard process has ended."""
        if self._lost or not self._process.is_alive():
            raise ArmError(self._lost or self._how_it_ended())
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
        """Decelerates and holds; returns when commands are at rest, or when braking should long be over."""
        number = self._shared(default=True).get("num_stops", 0)
        self._tell("S", reason.encode())
        end = time.monotonic() + self._told.get("braking", 0.0) + 1.0
        while time.monotonic() < end and self._process.is_alive():
            now = self._shared(default=True)
            if now.get("num_stops", 0) > number and now["is_still"]:
                return
            time.sleep(0.005)

    def emergency_stop(self, reason: str = "emergency stop") -> None:
        """At once, latched until `reset`; returns when the guard says so. Where it is no more, or dies of it, by the last resort."""
        if not self._tell("E", reason.encode()) and self._process.is_alive():
            return self._lose("the guard process does not listen", reason)
        end = time.monotonic() + _ACKNOWLEDGED
        while self._process.is_alive() and time.monotonic() < end:
            if self._shared(default=True).get("reasons"):
                return
            time.sleep(0.002)
        if not self._process.is_alive() and not self._goodbye:
            self._lose(self._how_it_ended(), reason)

    def reset(self) -> None:
        """Ends a latched stop, after a person has looked."""
        self._tell("R")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the arm is stopped."""
        if self._lost:
            return (self._lost,)
        if not self._process.is_alive():
            return (self._said_at_the_end() or f"{self._how_it_ended()}; what is done about the arm is said next",)
        return tuple(self._shared()["reasons"])

    def _tell(self, kind: str, content: bytes = b"") -> bool:
        """Whether the guard was told. Waits for nobody: what does not fit into the pipe is not told."""
        message = kind.encode() + content
        with self._writing:
            try:  # framed as by `Connection.send_bytes`, which would wait; in one call, so that a planner that keeps Python does not count
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
            age = 0.0 if self._is_leaving else self._silence()
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

    def _silence(self) -> float:
        """Seconds since the guard last ticked. Read several times: a tick that is being written just now may look like none."""
        beats = [_HEAD.unpack_from(self._memory.buf or b"")[2] for _ in range(5)]
        return time.monotonic() - max(beats)

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
            data = _read(self._memory)
            if data is not None:
                return data
            time.sleep(0.0005)
        if default:
            return {"num_stops": 0, "is_still": True}
        raise ArmError(f"{self._how_it_ended()}, or says nothing that is whole; see its last words above")

    def _close(self) -> None:
        self._is_leaving = True
        self._tell("Q")
        self._process.join(self._told.get("braking", 0.0) + _END)
        if self._process.is_alive():
            _log.warning("the guard process does not end; it is told once more")
            self._process.terminate()
            self._process.join(_END)
        if self._process.is_alive() or (self._process.exitcode and self._told and not self._goodbye):
            self._lose(self._how_it_ended(), "leaving")
        restore_terminal(self._terminal)
        for thread in self._threads:
            thread.join(_START)  # the last resort may be under way; whoever listens has read the last word by then
        self._wire.close()
        self._channel.close()
        self._memory.close()
        self._memory.unlink()


def _serve(build: Build, command_dt: float, channel: connection.Connection, memory_name: str, tty: str | None) -> None:
    """The other process: serves until its parent says so or is gone."""
    with suppress(OSError):  # where the system allows it, before everything that is not in a hurry
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)  # before any handler of Python's runs
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for number in (*EMERGENCY_SIGNALS, *ENDING_SIGNALS):
        signal.signal(number, _noticed)
    memory = SharedMemory(name=memory_name)
    served = _Served(build, command_dt, channel, memory)
    try:
        with Keys(tty) as keys:
            served.start()
            served.watch(keys, ours)
    except RoboDreamError as error:
        served.fail(error)
    finally:
        served.finish()
        memory.close()
        channel.close()
    if served.hangs:
        os._exit(1)  # its connections close, and the arm's own controller has it


def _noticed(signum: int, frame: FrameType | None) -> None:
    """The watching thread reads the number of the signal."""


class _Served:
    """The guard's process. One thread watches pipe, keys and signals and waits for nothing else; one connects, and leaves at the end.

    Two more are the guard's: one ticks, one tells the driver to stop. And one posts what happened, so that nobody waits for the planner.
    """

    def __init__(self, build: Build, command_dt: float, channel: connection.Connection, memory: SharedMemory) -> None:
        self._build, self._command_dt, self._channel, self._memory = build, command_dt, channel, memory
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._poster = threading.Thread(target=self._post, name="events", daemon=True)
        self._life = threading.Thread(target=self._live, name="life", daemon=True)
        self._ended = threading.Event()
        self._arm: GuardThread | None = None
        self._halted_for = ""  # before there was an arm
        self._reason = ""
        self._num_stops = 0
        self.hangs = False

    def start(self) -> None:
        self._poster.start()
        self._life.start()

    def watch(self, keys: Keys, signals: socket.socket) -> None:
        """Until the arm is left. Blocks on nothing but what may be read."""
        parent = mp.parent_process()
        sentinels = [] if parent is None else [parent.sentinel]
        watched: list[Any] = [self._channel]
        deadline = np.inf
        while self._life.is_alive():
            for ready in connection.wait([*watched, signals, *keys.files, *sentinels], timeout=0.02):
                if ready is signals:
                    for number in signals.recv(64):
                        self._signalled(number)
                elif ready in keys.files:
                    if reason := keys.read():
                        self._emergency(reason)
                elif ready in sentinels or not self._obey():
                    self._leave("the planner's process is gone")
                    watched, sentinels = [], []
            self._notice_hang()
            if self._ended.is_set() and deadline == np.inf:
                braking = self._arm.braking_seconds if self._arm is not None and self._arm.is_connected else 0.0
                deadline = time.monotonic() + braking + _END
            if time.monotonic() > deadline:
                self._emergency("the guard does not come to an end")
                self._life.join(0.2)
                self.hangs = self._life.is_alive()
                return

    def fail(self, error: Exception) -> None:
        if not self._poster.is_alive():
            self._poster.start()
        self._outbox.put(json.dumps({"error": str(error)}).encode())

    def finish(self) -> None:
        self._outbox.put(None)
        if self._poster.is_alive():
            self._poster.join(1.0)

    def _live(self) -> None:
        try:
            driver, guard = self._build()
            arm = GuardThread(driver, guard, self._command_dt, on_event=self._on_event, on_tick=self._publish)
            self._arm = arm
            if self._halted_for:
                arm.request_emergency_stop(self._halted_for)
            with arm:
                limits = arm.guard.motion_limits
                hello = {"spec": driver.action_spec.to_json(), "low": limits.low.tolist(), "high": limits.high.tolist()}
                about = (limits, arm.guard.limits, self._command_dt, arm.guard.give)
                hello["promises"] = {cause: asdict(promise) for cause, promise in promises(*about).items()}
                hello["lines"] = promise_lines(*about)
                self._outbox.put(json.dumps({**hello, "braking": arm.braking_seconds}).encode())
                self._ended.wait()
                arm.leaving_for = self._reason or "leaving"
            was_still = arm.guard.is_still
            self._outbox.put(b"Q" + json.dumps({"reason": self._reason or "left", "was_still": was_still}).encode())
        except (RoboDreamError, OSError) as error:
            self._outbox.put(json.dumps({"error": f"{error}{f' ({self._halted_for})' if self._halted_for else ''}"}).encode())

    def _post(self) -> None:
        while (line := self._outbox.get()) is not None:
            try:
                self._channel.send_bytes(line)
            except (OSError, ValueError):
                return

    def _on_event(self, event: SafetyEvent) -> None:
        self._outbox.put(event.to_line())

    def _obey(self) -> bool:
        """Does what the planner's process told; whether it is still there."""
        try:
            message = self._channel.recv_bytes()
        except (EOFError, OSError):
            return False
        kind, content, arm = message[:1], message[1:], self._arm
        if kind == b"Q":
            self._ended.set()
        elif kind == b"E":
            self._emergency(content.decode())
        elif arm is None or not arm.is_connected:
            return True
        elif kind == b"T":
            with suppress(SafetyStopError, ContractError):  # the planner reads why from the shared state
                arm.send(np.frombuffer(content, np.float64))
        elif kind == b"S":
            arm.request_stop(content.decode())
            self._num_stops += 1
        elif kind == b"R":
            self._halted_for = ""
            arm.reset()
        return True

    def _signalled(self, number: int) -> None:
        if number in EMERGENCY_SIGNALS:
            self._emergency(f"signal {signal.Signals(number).name}")
        elif number in ENDING_SIGNALS:
            self._leave(f"the guard process was told to end ({signal.Signals(number).name})")

    def _emergency(self, reason: str) -> None:
        self._halted_for = self._halted_for or reason
        if self._arm is not None:
            self._arm.request_emergency_stop(reason)

    def _leave(self, reason: str) -> None:
        """Decelerates, holds, disconnects: the other threads do it."""
        self._reason = self._reason or reason
        if self._arm is not None:
            self._arm.request_stop(self._reason)
        self._ended.set()

    def _notice_hang(self) -> None:
        """A tick that does not come back while commands are on the wire: the driver is told to stop beside it."""
        arm = self._arm
        if arm is None or not arm.is_connected or not arm.is_moving or self._halted_for:
            return
        silent = time.monotonic() - arm.last_tick
        if silent > _HUNG:
            self._emergency(f"the guard has not ticked for {silent:.2f} s; allowed {_HUNG} s")

    def _publish(self, arm: GuardThread, verdict: Verdict) -> None:
        try:
            state = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(arm.state()).items()}
        except ArmError:
            state = None
        data = {
            "state": state,
            "reasons": [reason[:2000] for reason in arm.guard.reasons],
            "is_still": arm.guard.is_still,
            "num_stops": self._num_stops,
        }
        content = json.dumps(data).encode()
        buffer = self._memory.buf
        assert buffer is not None
        buffer[_HEAD.size : _HEAD.size + len(content)] = content
        buffer[: _HEAD.size] = _HEAD.pack(len(content), zlib.crc32(content), time.monotonic())  # `pack_into` would write zeros first


def _read(memory: SharedMemory) -> dict[str, Any] | None:
    buffer = memory.buf
    assert buffer is not None
    size, checksum, _ = _HEAD.unpack_from(buffer)
    content = bytes(buffer[_HEAD.size : _HEAD.size + size]) if 0 < size <= _SIZE - _HEAD.size else b""
    return json.loads(content) if content and zlib.crc32(content) == checksum else None


def _state_of(data: dict[str, Any]) -> ArmState:
    values: dict[str, Any] = {name: np.asarray(value, float) if isinstance(value, list) else value for name, value in data.items()}
    return ArmState(**values)
