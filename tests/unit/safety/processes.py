"""A guard process in front of an arm that writes down, by the monotonic clock of all processes, when it was told what."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from arms import JOINT_SPEED, FakeBus, joint_spec

from robo_dream.embodiment import RobotArm
from robo_dream.safety.guard import Guard, motion_limits
from robo_dream.safety.limits import SafetyLimits

SLOW = SafetyLimits(joint_acceleration=0.4)  # 1.25 rad/s take three seconds to brake


@dataclass(frozen=True)
class Said:
    """One line: when, "send", "stop", "enter" or "exit", and how far the command went on (rad)."""

    time: float
    word: str
    step: float


class StampingBus(FakeBus):
    """`slow` names the calls that take long, and how long (s)."""

    def __init__(self, file: Path, slow: dict[str, float] | None = None) -> None:
        super().__init__(spec=joint_spec())
        self._file, self._slow = file, slow or {}

    def __enter__(self) -> "StampingBus":
        self._say("enter")
        time.sleep(self._slow.get("enter", 0.0))
        return self

    def send(self, action: np.ndarray) -> np.ndarray:
        self._say("send", float(np.abs(action - self.at)[:-1].max()))
        return super().send(action)

    def stop(self) -> None:
        self._say("stop")
        super().stop()

    def __exit__(self, *exc: object) -> None:
        self._say("exit")

    def _say(self, word: str, step: float = 0.0) -> None:
        with open(self._file, "a") as file:
            file.write(f"{time.monotonic():.6f} {word} {step:.9f}\n")


def build(file: Path, limits: SafetyLimits, slow: dict[str, float] | None = None) -> tuple[RobotArm, Guard]:
    return StampingBus(file, slow), Guard(motion_limits(joint_spec(), JOINT_SPEED, limits), limits)


def said(file: Path) -> list[Said]:
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [Said(float(line[0]), line[1], float(line[2])) for line in lines if len(line) == 3]


def is_moving(file: Path) -> bool:
    """Whether the newest commands went on."""
    sends = [one for one in said(file) if one.word == "send"]
    return len(sends) > 8 and sends[-1].step > 1e-4
