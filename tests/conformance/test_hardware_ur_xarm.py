"""The Universal Robots and xArm drivers keep the contracts of every arm, through the vendors' own clients and emulated controllers."""

from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType

import numpy as np
import pytest

from hardware.arms.ur import UrArm, UrConfig
from hardware.arms.xarm import XarmArm, XarmConfig
from robo_dream.control.cartesian import CartesianArm, with_tool
from robo_dream.embodiment import ArmState, Clock, RobotArm, WallClock
from robo_dream.testing.arm_suite import RobotArmSuite
from sim.emulators.plant import Plant
from sim.emulators.ur_rtde import UrEmulator
from sim.emulators.xarm import XarmEmulator
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World


class Guarded:
    """What stands between a driver and its user: tool poses from the arm's model, and a stream that is kept up until `stop`."""

    def __init__(self, arm: RobotArm, world: World) -> None:
        self._arm = arm
        self._world = world
        self._last: np.ndarray | None = None
        self.action_spec = arm.action_spec

    def __enter__(self) -> "Guarded":
        self._arm.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._arm.__exit__(kind, value, trace)

    def state(self) -> ArmState:
        return with_tool(self._arm.state(), self._world.kinematics)

    def send(self, action: np.ndarray) -> np.ndarray:
        applied = self._arm.send(action)
        self._last = applied
        return applied

    def stop(self) -> None:
        self._last = None
        self._arm.stop()

    def again(self) -> None:
        if self._last is not None:
            self.send(self._last)


class FeedingClock(WallClock):
    """Sends the last target again each time somebody sleeps, as a control loop does."""

    def __init__(self, arm: Guarded) -> None:
        super().__init__()
        self._arm = arm

    def sleep_until(self, time: float) -> None:
        super().sleep_until(time)
        self._arm.again()


class EmulatedArmSuite(RobotArmSuite):
    settle_steps = 40

    @pytest.fixture(autouse=True)
    def emulated(self) -> Iterator[None]:
        with ExitStack() as self.stack:
            yield

    def make_clock(self, arm: RobotArm) -> Clock:
        assert isinstance(arm, Guarded)
        return FeedingClock(arm)

    def test_the_driver_itself_is_a_robot_arm(self) -> None:
        self.make()
        assert isinstance(self.driver, RobotArm)

    def test_tool_moves_arrive_through_it(self) -> None:
        with self.make() as arm:
            tool = CartesianArm(arm, self.world.moves)
            before = arm.state().tool_pos
            clock = WallClock()
            for _ in range(20):
                tool.send(np.array([0.0, 0.002, 0.0, 0.0, 0.0], np.float32))
                clock.sleep_until(clock.now() + arm.action_spec.control_dt)
            self._pass(arm, self.make_clock(arm), self.settle_steps)
            np.testing.assert_allclose(arm.state().tool_pos - before, [0.0, 0.04, 0.0], atol=self.pos_tolerance)


class TestUr(EmulatedArmSuite):
    def make(self) -> RobotArm:
        pytest.importorskip("rtde_control", reason="pip install 'robo-dream[ur]'")
        self.world = World(SceneConfig(arm="ur5e_shapes"))
        plant = self.stack.enter_context(Plant(self.world))
        self.stack.enter_context(UrEmulator(plant, "127.0.4.1", robotiq=True))
        self.driver = UrArm(UrConfig("127.0.4.1", gripper="robotiq", max_age=0.15, watchdog=2.0))
        return Guarded(self.driver, self.world)


class TestXarm(EmulatedArmSuite):
    settle_steps = 80

    def make(self) -> RobotArm:
        pytest.importorskip("xarm", reason="pip install 'robo-dream[xarm]'")
        self.world = World(SceneConfig(arm="xarm6"))
        plant = self.stack.enter_context(Plant(self.world))
        self.stack.enter_context(XarmEmulator(plant, "127.0.4.2"))
        self.driver = XarmArm(XarmConfig("127.0.4.2", reply_timeout=0.2))
        return Guarded(self.driver, self.world)
