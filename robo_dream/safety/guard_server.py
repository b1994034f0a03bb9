"""The other side of `guard_process.py`: the process in which driver, guard and keys live, and whose threads wait for nobody."""

import json
import multiprocessing as mp
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import connection
from multiprocessing.shared_memory import SharedMemory
from types import FrameType
from typing import Any

import numpy as np

from robo_dream.embodiment import RobotArm
from robo_dream.errors import ArmError, ContractError, RoboDreamError, SafetyStopError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety import guard_memory
from robo_dream.safety.ending import ENDING
from robo_dream.safety.guard import Guard, Ruling
from robo_dream.safety.guard_thread import GuardFor, GuardThread
from robo_dream.safety.keys import Keys
from robo_dream.safety.promises import promise_lines, promises

END = 3.0  # s for disconnecting, beyond what braking takes
_HUNG = 0.3  # s without a tick while commands are on the wire; then the driver is told to stop

Build = Callable[[], tuple[RobotArm, Guard | GuardFor]]
"""Makes the driver and its guard, in the new process. A function of a module, or `functools.partial` of one, with plain arguments."""

EMERGENCY = (signal.SIGUSR1, signal.SIGQUIT)  # signals that stop at once
_IGNORED = (signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)  # of a terminal: they are the planner's process's


def serve(build: Build, command_dt: float, channel: connection.Connection, memory_name: str, tty: str | None) -> None:
    """The other process: serves until its parent says so or is gone."""
    with suppress(OSError):  # where the system allows it, before everything that is not in a hurry
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)  # before any handler of Python's runs
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in (*EMERGENCY, *ENDING):
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
                deadline = time.monotonic() + braking + END
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
        if number in EMERGENCY:
            self._emergency(f"signal {signal.Signals(number).name}")
        elif number in ENDING:
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

    def _publish(self, arm: GuardThread, ruling: Ruling) -> None:
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
        guard_memory.write(self._memory, data)
