"""What goes wrong above and below a guard, injected: into planner, planner worker, cameras, the recorder's hook and an arm's readings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
from jaxtyping import Float

from robo_dream.control.asynchronous import Decide, DelayedWorker
from robo_dream.control.choosing import Decided, NoAnswer
from robo_dream.embodiment import ActionSpec, ArmState, Clock, Frame, Intrinsics, Observation, RobotArm
from robo_dream.imagination import Belief, Goal, Plan, Planner

OnStep = Callable[[Observation, np.ndarray, np.ndarray], None]


class CrashError(Exception):
    """What a planner's own code may raise."""


@dataclass
class Troubles:
    """What goes wrong from the moment `begins` on; the parts of an episode ask it. `began` is when it first showed (s)."""

    begins: float
    clock: Clock
    plan: Callable[[Plan], Plan] | None = None
    frame: Callable[[Frame, str], Frame] | None = None
    step: Callable[[], None] | None = None
    result: Callable[[], Decided | None] | None = None  # of a planner worker
    began: float | None = None

    def strike(self) -> bool:
        if self.clock.now() < self.begins:
            return False
        self.began = self.clock.now() if self.began is None else self.began
        return True


@dataclass
class TroubledPlanner:
    """A planner, and its troubles."""

    inner: Planner
    troubles: Troubles
    name: str = "troubled"

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        plan = self.inner.plan(belief, goal, seeds, previous, deadline)
        return self.troubles.plan(plan) if self.troubles.plan is not None and self.troubles.strike() else plan


class TroubledWorker(DelayedWorker):
    """Answers after `seconds`, and its troubles."""

    def __init__(self, clock: Clock, seconds: float, troubles: Troubles) -> None:
        super().__init__(clock, seconds)
        self._troubles = troubles
        self._is_bad = False

    def start(self, decide: Decide) -> None:
        super().start(decide)
        self._is_bad = self._troubles.result is not None and self._troubles.strike()

    def result(self) -> Decided | NoAnswer | None:
        if self._is_bad and self._troubles.result is not None:
            return self._troubles.result()
        return super().result()


@dataclass
class TroubledCamera:
    """Grey pictures on time, and their troubles."""

    name: str
    clock: Clock
    troubles: Troubles
    number: int = 0
    intrinsics: Intrinsics = field(default_factory=lambda: Intrinsics(4, 4, 4.0, 4.0, 2.0, 2.0))
    world_from_camera: Float[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))

    def __enter__(self) -> "TroubledCamera":
        return self

    def __exit__(self, *exc: object) -> None: ...

    def read(self) -> Frame:
        self.number += 1
        frame = Frame(self.clock.now(), np.full((4, 4, 3), 128, np.uint8), self.number)
        return self.troubles.frame(frame, self.name) if self.troubles.frame is not None and self.troubles.strike() else frame


def troubled_steps(on_step: OnStep, troubles: Troubles) -> OnStep:
    """`on_step`, and what goes wrong after it: a key, a signal, a mistake in somebody's hook."""

    def told(before: Observation, sent: np.ndarray, applied: np.ndarray) -> None:
        on_step(before, sent, applied)
        if troubles.step is not None and troubles.strike():
            troubles.step()

    return told


class DistortedArm:
    """An arm whose states a fault may falsify by `change` before anybody sees them."""

    def __init__(self, arm: RobotArm) -> None:
        self._arm = arm
        self.change: Callable[[ArmState], ArmState] = lambda state: state

    @property
    def action_spec(self) -> ActionSpec:
        return self._arm.action_spec

    def __enter__(self) -> "DistortedArm":
        self._arm.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._arm.__exit__(kind, value, trace)

    def state(self) -> ArmState:
        return self.change(self._arm.state())

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        return self._arm.send(action)

    def stop(self) -> None:
        self._arm.stop()
