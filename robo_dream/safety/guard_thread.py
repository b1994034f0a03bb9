"""A guard that ticks at the arm's own rate in a thread of its own, whatever the planner is doing."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState, Clock, RobotArm, WallClock
from robo_dream.errors import ArmError, ContractError, SafetyStopError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.guard import Act, Guard, Request, Ruling
from robo_dream.safety.motion import braking_seconds

_log = logging.getLogger(__name__)
_FIRST_STATE = 2.0  # s that an arm may take to answer for the first time
_MAX_REFUSED = 3  # commands in a row; fewer end in a controlled stop, so many in a latched one
_REST = 1.0  # s beyond what braking takes by the limits in force
_STOP_TRIES, _STOP_AGAIN = 5, 0.02  # times that the driver is told to stop where it fails, and s between them


GuardFor = Callable[[ActionSpec], Guard]
"""Makes the guard of a driver whose action spec is known once it is connected."""


class GuardThread:
    """A `RobotArm` (joint targets that each last `command_dt` seconds) in front of `driver`, which gets a command every `control_dt`.

    Entering connects and starts the thread, leaving stops the arm first. `send` and `state` never wait for the bus. One late or corrupt
    reply is tolerated until the state is older than the limits allow. `emergency_stop` may be called from any thread and at any time,
    while connecting too. The driver's stop is called in a thread that does nothing else, so that nobody who asks for it, and no tick that
    hangs, is waited for.
    """

    def __init__(
        self,
        driver: RobotArm,
        guard: Guard | GuardFor,
        command_dt: float,
        clock: Clock | None = None,
        on_event: Callable[[SafetyEvent], None] | None = None,
        on_tick: "Callable[[GuardThread, Ruling], None] | None" = None,
    ) -> None:
        self._driver, self._given = driver, guard
        self._clock: Clock = clock or WallClock()
        self._made: Guard | None = guard if isinstance(guard, Guard) else None
        self._on_event, self._on_tick = on_event, on_tick
        self.command_dt = command_dt
        self._requested: Request | None = None
        self._state: ArmState | None = None
        self._ruling: Ruling | None = None
        self._halted_for = ""  # why, by an emergency stop, until reset: nothing is sent even if a tick is under way
        self._fault = ""
        self._num_refused = 0  # commands in a row that the arm did not take
        self._wire = threading.Lock()
        self._ticked = threading.Condition()
        self._quit = threading.Event()
        self._thread: threading.Thread | None = None
        self._stop_asked, self._stop_done = threading.Event(), threading.Event()
        self._has_left = threading.Event()
        self._stopper: threading.Thread | None = None
        self.leaving_for = "leaving"  # the reason that is given for the last stop
        self.last_tick = -np.inf  # monotonic s of the newest one

    @property
    def guard(self) -> Guard:
        if self._made is None:
            raise ContractError("the arm is not connected yet; enter it (`with arm:`) first")
        return self._made

    @property
    def action_spec(self) -> ActionSpec:
        return replace(self._driver.action_spec, control_dt=self.command_dt)

    @property
    def braking_seconds(self) -> float:
        """How long commands may take to come to rest once they are told to, by the limits in force."""
        return braking_seconds(self.guard.motion_limits)

    @property
    def is_connected(self) -> bool:
        """Whether the driver is, and the guard ticks."""
        return self._made is not None and self._thread is not None and self._thread.is_alive()

    @property
    def is_moving(self) -> bool:
        """Whether commands that move the arm may be on the wire."""
        return self._made is not None and not self._made.is_still

    def __enter__(self) -> "GuardThread":
        self._has_left.clear()
        self._stopper = threading.Thread(target=self._stop_when_asked, name="guard stops", daemon=True)
        self._stopper.start()
        try:
            self._driver.__enter__()
        except BaseException:
            self._end_stopper()
            raise
        try:
            self._made = self._given if isinstance(self._given, Guard) else self._given(self._driver.action_spec)
            if self._halted_for:  # while connecting
                self._made.emergency_stop(self._halted_for)
            self._quit.clear()
            self._thread = threading.Thread(target=self._work, name="guard", daemon=True)
            self._thread.start()
            self._await(lambda: self._state is not None or self._thread is None, _FIRST_STATE)
            self.state()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._made is not None:
            self.stop(self.leaving_for if value is None else f"{type(value).__name__}: {value}")
        self._quit.set()
        if self._thread is not None:
            self._thread.join(_REST)
        try:
            self._driver.__exit__(kind, value, trace)
        finally:
            self._end_stopper()

    def state(self) -> ArmState:
        """The newest state, with where the guard told the arm to be; its age is for the caller to judge. Raises `ArmError` for none."""
        state, told = self._state, self.guard.told
        if state is None:
            raise ArmError(f"the arm has said nothing yet{': ' + self._fault if self._fault else ''}; check power, cable and port")
        return state if told is None else replace(state, joint_target=told[:-1], target_gripper=float(told[-1]))

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Gives the guard a new target and returns what it will go for. Raises `SafetyStopError` while the arm is stopped."""
        now = self._clock.now()
        try:
            target = self.guard.checked(now, action)
        except ContractError:
            self._tell(self.guard.take_events())
            raise
        if self._thread is None or not self._thread.is_alive():
            raise SafetyStopError(f"the guard is not running{': ' + self._fault if self._fault else ''}; enter the arm first")
        if reasons := self.guard.reasons:
            raise SafetyStopError("; ".join(reasons))
        self._requested = Request(target, now, self.command_dt)
        limits = self.guard.motion_limits
        return np.clip(target, limits.low, limits.high)

    def stop(self, reason: str = "told to stop") -> None:
        """Decelerates and holds; returns when commands are at rest. Where they are not when braking should be over, the driver stops."""
        self.guard.stop(reason)
        if self._thread is not None and self._thread.is_alive() and threading.current_thread() is not self._thread:
            if not self._await(self._has_stopped, self.braking_seconds + _REST):
                _log.warning("the guard did not come to rest within %.1f s; the driver is told to stop", self.braking_seconds + _REST)
                self._stop_driver()
        else:
            self._stop_driver()

    def request_stop(self, reason: str) -> None:
        """As `stop`, and returns at once: the ticks do it."""
        if self._made is not None:
            self._made.stop(reason)

    def emergency_stop(self, reason: str = "emergency stop") -> None:
        """At once, latched until `reset`; returns when the driver was told."""
        self._stop_done.clear()
        self.request_emergency_stop(reason)
        self._stop_done.wait(_REST)

    def request_emergency_stop(self, reason: str) -> None:
        """As `emergency_stop`, and waits for nothing: not for the wire, a tick, or a connection that is being made."""
        self._halted_for = self._halted_for or reason or "emergency stop"
        if self._made is not None:
            self._made.emergency_stop(reason)
        if self._stopper is not None and self._stopper.is_alive():
            self._stop_asked.set()
        else:  # nothing runs beside whoever calls
            self._stop_at_once()

    def reset(self) -> None:
        """Ends a latched stop, after a person has looked; the next target starts from the measured pose."""
        self.guard.reset()
        self._halted_for = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the arm is stopped."""
        return self.guard.reasons

    def tick(self) -> Ruling:
        """Reads the arm, asks the guard, and does what it says: what the thread does every `control_dt` of the driver."""
        try:
            self._state = self._driver.state()
            self._fault = ""
        except Exception as error:  # of whatever kind: the guard counts how long the arm has been silent, and stops it
            self._fault = f"{type(error).__name__}: {error}"
        with self._wire:
            command, ruling = self.guard.tick(self._clock.now(), self._state, self._requested)
            try:
                if ruling.act == Act.STOP:
                    self._driver.stop()
                elif ruling.act == Act.SEND and not self._halted_for:
                    self._driver.send(command)
                self._num_refused = 0
            except Exception as error:
                self._fault = f"{type(error).__name__}: {error}"
                self._num_refused += 1
                reason = f"the arm did not take a command: {self._fault}"
                if self._num_refused < _MAX_REFUSED:
                    self.guard.stop(reason)
                else:
                    self.guard.emergency_stop(reason)
        self._tell(ruling.events)
        with self._ticked:
            self._ruling, self.last_tick = ruling, time.monotonic()
            self._ticked.notify_all()
        if self._on_tick is not None:
            self._on_tick(self, ruling)
        return ruling

    def _work(self) -> None:
        period = self._driver.action_spec.control_dt
        beat = time.monotonic()
        try:
            while not self._quit.is_set():
                self.tick()
                beat += period
                late = time.monotonic() - beat
                if late > period:
                    beat = time.monotonic()  # commands that were missed are not sent in a burst
                self._quit.wait(max(0.0, -late))
        except BaseException as error:  # a mistake in the program must not leave an arm moving
            self._fault = f"{type(error).__name__}: {error}"
            _log.exception("the guard ended; the arm is told to stop")
            self.guard.emergency_stop(f"the guard ended: {self._fault}")
            self._stop_driver()

    def _stop_when_asked(self) -> None:
        """The thread that does nothing but tell the driver to stop."""
        while True:
            self._stop_asked.wait()
            self._stop_asked.clear()
            if self._has_left.is_set():
                return
            self._stop_at_once()

    def _stop_at_once(self) -> None:
        self._stop_driver()
        if self._wire.acquire(timeout=_REST):  # a tick that was under way may have sent after that
            try:
                self._stop_driver()
            finally:
                self._wire.release()
        self._stop_done.set()

    def _stop_driver(self) -> None:
        """Tells the driver to stop, again where it fails."""
        for attempt in range(_STOP_TRIES):
            if attempt:
                time.sleep(_STOP_AGAIN)
            try:
                return self._driver.stop()
            except Exception as error:  # of whatever kind: an arm that cannot be told once may hear the next
                self._fault = f"{type(error).__name__}: {error}"
        _log.error("the driver did not confirm a stop, asked %d times: %s", _STOP_TRIES, self._fault)

    def _end_stopper(self) -> None:
        self._has_left.set()
        self._stop_asked.set()

    def _has_stopped(self) -> bool:
        return self._ruling is not None and self._ruling.is_at_rest and self.guard.is_still

    def _await(self, condition: Callable[[], bool], seconds: float) -> bool:
        with self._ticked:
            return self._ticked.wait_for(condition, seconds)

    def _tell(self, events: tuple[SafetyEvent, ...]) -> None:
        for event in events:
            if self._fault and event.kind == "stop":
                event = replace(event, reason=f"{event.reason} ({self._fault})")
            _log.info("%s: %s", event.kind, event.reason)
            if self._on_event is not None:
                self._on_event(event)
