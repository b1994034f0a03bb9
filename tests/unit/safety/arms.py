"""Small arms and guards for the tests of this folder."""

from dataclasses import dataclass, field, replace

import numpy as np

from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError
from robo_dream.safety.guard import Guard, Request, Ruling, motion_limits
from robo_dream.safety.limits import SafetyLimits

DT = 0.02  # s between two ticks
JOINT_SPEED = (1.0, 1.0)  # rad/s of tool moves; the wire may go 1.25 times as fast


def joint_spec(control_dt: float = DT) -> ActionSpec:
    low, high = np.array([-2.0, -2.0, 0.0]), np.array([2.0, 2.0, 1.0])
    return ActionSpec("joint_target", ("a", "b", "gripper"), ("rad", "rad", "1"), low, high, control_dt)


def new_guard(limits: SafetyLimits | None = None) -> Guard:
    limits = limits or SafetyLimits()
    return Guard(motion_limits(joint_spec(), JOINT_SPEED, limits), limits)


def joint_state(joints: np.ndarray, time: float, told: np.ndarray | None = None) -> ArmState:
    unknown, joints = np.full(3, np.nan), np.asarray(joints, float)
    return ArmState(
        time, joints[:-1], np.zeros(len(joints) - 1), unknown, np.full(4, np.nan), np.nan, float(joints[-1]), unknown, np.nan,
        float(joints[-1]) if told is None else float(told[-1]), None if told is None else told[:-1],
    )  # fmt: skip


@dataclass
class Bench:
    """A guard, and an arm that is where it was told to be, in a time that moves by `tick` only."""

    guard: Guard = field(default_factory=new_guard)
    now: float = 10.0
    at: np.ndarray = field(default_factory=lambda: np.zeros(3))
    wanted: Request | None = None
    follows: bool = True
    state_age: float = 0.0
    commands: list[np.ndarray] = field(default_factory=list)
    rulings: list[Ruling] = field(default_factory=list)

    def want(self, *target: float, duration: float = 0.1) -> None:
        self.wanted = Request(self.guard.checked(self.now, np.array(target)), self.now, duration)

    def tick(self, num: int = 1, state: ArmState | None = None) -> Ruling:
        for _ in range(num):
            seen = joint_state(self.at, self.now - self.state_age) if state is None else replace(state, time=self.now)
            command, ruling = self.guard.tick(self.now, seen, self.wanted)
            self.rulings.append(ruling)
            if ruling.act == "SEND":
                self.commands.append(command)
                if self.follows:
                    self.at = command
            self.now += DT
        return self.rulings[-1]

    @property
    def kinds(self) -> list[str]:
        return [event.kind for ruling in self.rulings for event in ruling.events]

    @property
    def reasons(self) -> str:
        return " ".join(event.reason for ruling in self.rulings for event in ruling.events)

    def speeds(self) -> np.ndarray:
        return np.diff(np.stack(self.commands), axis=0) / DT


@dataclass
class FakeBus:
    """A `RobotArm` in wall-clock time that is where it was told to be, and can be made to fail."""

    at: np.ndarray = field(default_factory=lambda: np.zeros(3))
    spec: ActionSpec = field(default_factory=joint_spec)
    is_mute: bool = False  # it does not answer
    refuses: bool = False  # it takes no command
    sent: list[np.ndarray] = field(default_factory=list)
    num_stops: int = 0
    log: list[str] = field(default_factory=list)
    clock: "object" = None

    @property
    def action_spec(self) -> ActionSpec:
        return self.spec

    def __enter__(self) -> "FakeBus":
        self.log.append("connected")
        return self

    def __exit__(self, *exc: object) -> None:
        self.log.append("disconnected")

    def state(self) -> ArmState:
        import time

        if self.is_mute:
            raise ArmError("joint b does not answer; check its cable")
        return joint_state(self.at, time.monotonic())

    def send(self, action: np.ndarray) -> np.ndarray:
        if self.refuses:
            raise ArmError("joint b does not take its goal")
        self.at = np.array(action)
        self.sent.append(self.at)
        return self.at

    def stop(self) -> None:
        self.num_stops += 1
        self.log.append("stopped")
