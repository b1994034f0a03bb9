"""A guard in front of an arm whose clock only moves when somebody sleeps: plain simulation and replay."""

from collections.abc import Callable
from types import TracebackType

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState, Clock, RobotArm
from robo_dream.errors import ContractError, SafetyStopError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.guard import Act, Guard, Request


class GuardedArm:
    """A `RobotArm` (joint targets) that sends nothing but what `guard` lets through. Each `send` is one tick of the guard.

    Within the limits a target goes through to the bit. `send` raises `ContractError` for a target that is no target, and
    `SafetyStopError` once the guard has stopped the arm. An arm that moves while nobody sends needs `GuardThread` instead.
    """

    def __init__(self, driver: RobotArm, guard: Guard, clock: Clock, on_event: Callable[[SafetyEvent], None] | None = None) -> None:
        self._driver, self._guard, self._clock, self._on_event = driver, guard, clock, on_event

    @property
    def action_spec(self) -> ActionSpec:
        return self._driver.action_spec

    def __enter__(self) -> "GuardedArm":
        self._driver.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._driver.__exit__(kind, value, trace)

    def state(self) -> ArmState:
        return self._driver.state()

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        now = self._clock.now()
        try:
            requested = Request(self._guard.checked(now, action), now, self.action_spec.control_dt)
        except ContractError:
            self._tell(self._guard.take_events())
            raise
        command, ruling = self._guard.tick(now, self._driver.state(), requested)
        self._tell(ruling.events)
        if ruling.act == Act.STOP:
            self._driver.stop()
        elif ruling.act == Act.SEND:
            command = self._driver.send(command)
        if ruling.reasons:
            raise SafetyStopError("; ".join(ruling.reasons))
        return command

    def stop(self) -> None:
        self._driver.stop()
        self._guard.release()

    def emergency_stop(self, reason: str) -> None:
        """At once, and latched until `reset`."""
        self._guard.emergency_stop(reason)
        self._driver.stop()

    def reset(self) -> None:
        self._guard.reset()

    def _tell(self, events: tuple[SafetyEvent, ...]) -> None:
        if self._on_event is not None:
            for event in events:
                self._on_event(event)
