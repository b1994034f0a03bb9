"""A guard in a process of its own: a planner that keeps the interpreter, crashes or is killed cannot keep an arm from being stopped."""

import json
import logging
import multiprocessing as mp
import os
import queue
import signal
import threading
import time
import zlib
from collections.abc import Callable
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
from robo_dream.safety.keys import Keys

_log = logging.getLogger(__name__)
_SIZE = 16384  # bytes of the shared state: some 40 numbers and a few sentences
_START = 30.0  # s for a new interpreter, its imports and a connection
_END = 3.0  # s for braking and disconnecting

Build = Callable[[], tuple[RobotArm, Guard | GuardFor]]
"""Makes the driver and its guard, in the new process. A function of a module, or `functools.partial` of one, with plain arguments."""


class GuardProcess:
    """A `RobotArm` like `GuardThread`, whose driver, guard and keys live in another process.

    There, any key of `EMERGENCY` (see `keys.py`) on the terminal `tty` stops the arm at once; so does `emergency_stop` here. When this
    process ends, however it ends, the arm decelerates, holds, and is disconnected. `state` is what the guard last read, not older than
    its tick; `send` never waits.
    """

    def __init__(
        self, build: Build, command_dt: float, on_event: Callable[[SafetyEvent], None] | None = None, tty: Path | None = None
    ) -> None:
        self._build, self.command_dt, self._on_event, self._tty = build, command_dt, on_event, tty
        self._told: dict[str, Any] = {}

    @property
    def action_spec(self) -> ActionSpec:
        if not self._told:
            raise ContractError("the arm is not connected yet; enter it (`with arm:`) first")
        return replace(ActionSpec.from_json(self._told["spec"]), control_dt=self.command_dt)

    def __enter__(self) -> "GuardProcess":
        context = mp.get_context("spawn")  # a fork would share sockets, locks and GL contexts with the planner
        self._memory = SharedMemory(create=True, size=_SIZE)
        self._channel, theirs = context.Pipe()
        arguments = (self._build, self.command_dt, theirs, self._memory.name, None if self._tty is None else str(self._tty))
        self._process = context.Process(target=_serve, args=arguments, name="guard", daemon=False)
        self._process.start()
        theirs.close()
        try:
            if not self._channel.poll(_START):
                raise ArmError(f"the guard process did not start within {_START} s")
            self._told = json.loads(self._received())
            if "error" in self._told:
                raise ArmError(self._told["error"])
            self._listener = threading.Thread(target=self._listen, name="guard events", daemon=True)
            self._listener.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop("leaving" if value is None else f"{type(value).__name__}: {value}")
        self._close()

    def state(self) -> ArmState:
        """Raises `ArmError` when the guard process has ended."""
        data = self._shared()["state"]
        if data is None:
            raise ArmError("the arm has said nothing yet; check power, cable and port")
        return _state_of(data)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """As `GuardThread.send`."""
        target, low, high = np.array(action, np.float64), np.asarray(self._told["low"]), np.asarray(self._told["high"])
        if target.shape != low.shape or not np.isfinite(target).all():
            sentence = f"joint target {target} must be {len(low)} finite numbers {self._told['spec']['names']}"
            if self._on_event is not None:
                self._on_event(SafetyEvent(time.monotonic(), "refused", sentence))
            raise ContractError(sentence)
        if reasons := self.reasons:
            raise SafetyStopError("; ".join(reasons))
        self._tell("T", target.tobytes())
        return np.clip(target, low, high)

    def stop(self, reason: str = "told to stop") -> None:
        """Decelerates and holds; returns when commands are at rest, or after a second."""
        number = self._shared(default=True).get("num_stops", 0)
        self._tell("S", reason.encode())
        end = time.monotonic() + 1.0
        while time.monotonic() < end and self._process.is_alive():
            now = self._shared(default=True)
            if now.get("num_stops", 0) > number and now["is_still"]:
                return
            time.sleep(0.005)

    def emergency_stop(self, reason: str = "emergency stop") -> None:
        """At once, latched until `reset`."""
        self._tell("E", reason.encode())

    def reset(self) -> None:
        """Ends a latched stop, after a person has looked."""
        self._tell("R")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the arm is stopped."""
        return tuple(self._shared()["reasons"])

    def _tell(self, kind: str, content: bytes = b"") -> None:
        try:
            self._channel.send_bytes(kind.encode() + content)
        except OSError as error:
            if kind == "T":
                raise SafetyStopError(f"the guard process has ended ({error}); the arm was stopped. See its last words above") from error

    def _shared(self, default: bool = False) -> dict[str, Any]:
        """What the guard said last. The checksum tells a half-written one, which is read again."""
        for _ in range(1000):
            if (read := _read(self._memory)) is not None:
                if not default and not self._process.is_alive():
                    break
                return read
            time.sleep(0.0005)
        if default:
            return {}
        raise ArmError(f"the guard process has ended (exit code {self._process.exitcode}); the arm was stopped")

    def _received(self) -> bytes:
        try:
            return self._channel.recv_bytes()
        except EOFError:
            raise ArmError("the guard process ended while it started; see what it said above") from None

    def _listen(self) -> None:
        while True:
            try:
                event = SafetyEvent.from_line(self._channel.recv_bytes())
            except (EOFError, OSError):
                return
            _log.info("%s: %s", event.kind, event.reason)
            if self._on_event is not None:
                self._on_event(event)

    def _close(self) -> None:
        self._tell("Q")
        self._process.join(_END)
        if self._process.is_alive():
            _log.warning("the guard process does not end; it is told once more")
            self._process.terminate()
            self._process.join(_END)
        if hasattr(self, "_listener"):
            self._listener.join(1.0)
        self._channel.close()
        self._memory.close()
        self._memory.unlink()


def _serve(build: Build, command_dt: float, channel: connection.Connection, memory_name: str, tty: str | None) -> None:
    """The other process: serves until its parent says so or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both; the planner's process stops the arm, or ends, which does too
    with suppress(OSError):  # where the system allows it, before everything that is not in a hurry
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    memory = SharedMemory(name=memory_name)
    outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def post() -> None:  # the guard itself never waits for the planner to listen
        while (line := outbox.get()) is not None:
            try:
                channel.send_bytes(line)
            except OSError:
                return

    num_stops = 0
    try:
        driver, guard = build()

        def publish(arm: GuardThread, verdict: Verdict) -> None:
            _publish(memory, arm, num_stops)

        arm = GuardThread(driver, guard, command_dt, on_event=lambda event: outbox.put(event.to_line()), on_tick=publish)
        with arm, Keys(tty) as keys:
            ended = threading.Event()
            signal.signal(signal.SIGTERM, lambda signum, frame: _end(arm, ended, signum, frame))
            limits = arm.guard.motion_limits
            hello = {"spec": driver.action_spec.to_json(), "low": limits.low.tolist(), "high": limits.high.tolist()}
            channel.send_bytes(json.dumps(hello).encode())
            poster = threading.Thread(target=post, daemon=True)
            poster.start()
            while not ended.is_set():
                ready = connection.wait([channel, *keys.files], timeout=0.2)
                if keys.files and keys.files[0] in ready and (reason := keys.read()):
                    arm.emergency_stop(reason)
                if channel not in ready:
                    continue
                try:
                    message = channel.recv_bytes()
                except (EOFError, OSError):
                    arm.stop("the planner's process is gone")
                    break
                if message[:1] == b"Q":
                    break
                num_stops += _obey(arm, message[:1], message[1:])
        outbox.put(None)
        poster.join(1.0)
    except (RoboDreamError, OSError) as error:
        with suppress(OSError):
            channel.send_bytes(json.dumps({"error": str(error)}).encode())
    finally:
        memory.close()
        channel.close()


def _obey(arm: GuardThread, kind: bytes, content: bytes) -> int:
    """Does what the planner's process told; how many stops that was."""
    if kind == b"T":
        with suppress(SafetyStopError):  # the planner reads why from the shared state
            arm.send(np.frombuffer(content, np.float64))
    elif kind == b"S":
        arm.stop(content.decode())
    elif kind == b"E":
        arm.emergency_stop(content.decode())
    elif kind == b"R":
        arm.reset()
    return int(kind == b"S")


def _end(arm: GuardThread, ended: threading.Event, signum: int, frame: FrameType | None) -> None:
    threading.Thread(target=arm.stop, args=("the guard process was told to end (SIGTERM)",), daemon=True).start()
    ended.set()


def _publish(memory: SharedMemory, arm: GuardThread, num_stops: int) -> None:
    try:
        state = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(arm.state()).items()}
    except ArmError:
        state = None
    data = {
        "state": state,
        "reasons": [reason[:2000] for reason in arm.guard.reasons],
        "is_still": arm.guard.is_still,
        "num_stops": num_stops,
    }
    content = json.dumps(data).encode()
    buffer = memory.buf
    assert buffer is not None
    buffer[8 : 8 + len(content)] = content
    buffer[:8] = len(content).to_bytes(4, "little") + zlib.crc32(content).to_bytes(4, "little")


def _read(memory: SharedMemory) -> dict[str, Any] | None:
    buffer = memory.buf
    assert buffer is not None
    head = bytes(buffer[:8])
    size = int.from_bytes(head[:4], "little")
    content = bytes(buffer[8 : 8 + size]) if 0 < size <= _SIZE - 8 else b""
    return json.loads(content) if content and zlib.crc32(content) == int.from_bytes(head[4:], "little") else None


def _state_of(data: dict[str, Any]) -> ArmState:
    values: dict[str, Any] = {name: np.asarray(value, float) if isinstance(value, list) else value for name, value in data.items()}
    return ArmState(**values)
