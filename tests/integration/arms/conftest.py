"""Emulated arms for the drivers' fault tests, and a witness of what the arm behind the wire really did."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import numpy as np
import pytest

from robo_dream.embodiment import RobotArm
from robo_dream.errors import ArmError
from sim.emulators.controller_process import ControllerProcess
from sim.emulators.faults import Fault
from sim.emulators.plant import JointReading, Plant
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

AMPLITUDE, RATE = 0.15, 2.0  # rad and rad/s of the test's swing, which is slower than the drivers' limit of 1 rad/s


@dataclass
class Bench:
    """An arm, its emulated controller, and what its physics did since `watch`."""

    plant: Plant
    emulator: ControllerProcess
    arm: RobotArm
    start: np.ndarray
    peak_speed: float = 0.0  # rad/s
    furthest: float = 0.0  # rad from the start
    misread: float = 0.0  # rad between what the driver said and where the arm was
    steps: int = field(default=0)

    def witness(self, reading: JointReading) -> None:
        self.peak_speed = max(self.peak_speed, float(np.abs(reading.vel).max()))
        self.furthest = max(self.furthest, float(np.abs(reading.pos - self.start).max()))

    def swing(self) -> None:
        """One turn of a control loop: read, send, wait."""
        state = self.arm.state()
        self.misread = max(self.misread, float(np.abs(state.joint_pos - self.plant.joints().pos).max()))
        self.steps += 1
        phase = RATE * self.steps * self.arm.action_spec.control_dt
        self.arm.send(np.append(self.start + AMPLITUDE * np.sin(phase), 0.0))
        time.sleep(self.arm.action_spec.control_dt)

    def swing_until_error(self, fault: Fault, seconds: float) -> tuple[float, ArmError | None]:
        """Swings a while, injects `fault`, swings on; how long until `ArmError` came, and it (None when none did in `seconds`)."""
        for _ in range(15):
            self.swing()
        self.emulator.inject(fault)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                self.swing()
            except ArmError as error:
                return time.monotonic() - began, error
        return seconds, None

    def speed(self) -> float:
        return float(np.abs(self.plant.joints().vel).max())

    def assert_safe(self) -> None:
        """Nothing moved faster or further than it was told, nothing was misread, and it comes to rest."""
        assert self.peak_speed < 0.6, "twice the speed of the swing"
        assert self.furthest < AMPLITUDE + 0.02
        assert self.misread < 0.06, "what 1 rad/s moves while a reading is on its way on a busy computer"
        time.sleep(0.7)
        assert self.speed() < 0.02

    def refuses(self) -> None:
        """A latched arm takes nothing more, and `stop` never hangs."""
        for _ in range(2):
            with pytest.raises(ArmError):
                self.arm.send(np.append(self.start, 0.0))
        began = time.monotonic()
        with suppress(ArmError):
            self.arm.stop()
        assert time.monotonic() - began < 1.5


MakeBench = Callable[[str, Callable[[Plant], ControllerProcess], RobotArm], Bench]


@pytest.fixture
def make_bench() -> Iterator[MakeBench]:
    with ExitStack() as stack:

        def make(model: str, emulate: Callable[[Plant], ControllerProcess], arm: RobotArm) -> Bench:
            plant = stack.enter_context(Plant(World(SceneConfig(arm=model))))
            bench = Bench(plant, stack.enter_context(emulate(plant)), arm, plant.joints().pos)
            plant.watch(bench.witness)
            return bench

        yield make
