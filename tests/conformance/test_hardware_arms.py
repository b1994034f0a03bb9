"""Drivers of servo buses and the bridge to LeRobot's robots keep the contracts of every arm, through the vendors' own clients."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware.arms.dynamixel import DynamixelArm, DynamixelConfig
from hardware.arms.feetech import FeetechArm
from hardware.arms.lerobot_robot import LeRobotArm, LeRobotConfig, LeRobotJoint
from hardware.arms.so101 import RANGES, so101
from robo_dream.embodiment import RobotArm
from robo_dream.errors import ArmError, ConfigError
from robo_dream.testing.arm_suite import RobotArmSuite
from sim.emulators.dynamixel_bus import DynamixelBus
from sim.emulators.plant import Plant
from sim.emulators.so101 import MOUNTS, so101_bus, so101_world

PATIENT = {"control_dt": 0.4, "reply_timeout": 0.2}  # s; the machine that runs tests may be busy


class EmulatedArmSuite(RobotArmSuite):
    settle_steps = 2
    knows_its_tool = False

    @pytest.fixture(autouse=True)
    def plant(self) -> Iterator[Plant]:
        with ExitStack() as self.stack, so101_world() as world, Plant(world) as self._plant:
            yield self._plant

    def test_the_arm_is_where_it_says(self, plant: Plant) -> None:
        with self.make() as arm:
            arm.send(arm.action_spec.clip(np.array([0.2, -0.1, 0.1, 1.2, 0.3, 0.6])))
            self._pass(arm, self.make_clock(arm), 2 * self.settle_steps)
            state, truth = arm.state(), plant.joints()
        np.testing.assert_allclose(state.joint_pos, truth.pos, atol=0.003)
        assert state.gripper == pytest.approx(truth.gripper, abs=0.003)
        assert state.gripper == pytest.approx(0.6, abs=0.02)
        np.testing.assert_allclose(state.joint_pos, [0.2, -0.1, 0.1, 1.2, 0.3], atol=0.01)


class TestFeetechArm(EmulatedArmSuite):
    def make(self) -> RobotArm:
        pytest.importorskip("scservo_sdk", reason="pip install 'robo-dream[so101]'")
        bus = self.stack.enter_context(so101_bus(self._plant))
        return FeetechArm(so101(bus.port, **PATIENT))


class TestDynamixelArm(EmulatedArmSuite):
    def make(self) -> RobotArm:
        pytest.importorskip("dynamixel_sdk", reason="pip install 'robo-dream[dynamixel]'")
        bus = self.stack.enter_context(DynamixelBus(self._plant, MOUNTS))
        same = so101("")
        return DynamixelArm(DynamixelConfig(bus.port, same.joints, same.gripper, watchdog=2.0, **PATIENT))


class SmallestRobot:
    """The least that LeRobot calls a robot: degrees and percent, on the plant itself."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self.is_connected = False
        self.is_calibrated = True

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "a calibration would ask at the keyboard"
        self.is_connected = True

    def disconnect(self) -> None:
        self.is_connected = False

    def get_observation(self) -> Mapping[str, Any]:
        if not self.is_connected:
            raise ConnectionError("not connected")
        reading = self._plant.joints()
        degrees = {f"{name}.pos": float(angle) for name, angle in zip(RANGES, np.rad2deg(reading.pos), strict=True)}
        return {**degrees, "gripper.pos": 100 * (1 - reading.gripper), "front": np.zeros((2, 2, 3), np.uint8)}

    def send_action(self, action: dict[str, float]) -> Mapping[str, Any]:
        if not self.is_connected:
            raise ConnectionError("not connected")
        self._plant.set_target(np.deg2rad([action[f"{name}.pos"] for name in RANGES]), 1 - action["gripper.pos"] / 100)
        return action


JOINTS = tuple(LeRobotJoint(name, low, high) for name, (low, high) in RANGES.items())


class TestLeRobotArm(EmulatedArmSuite):
    settle_steps = 6

    def make(self) -> RobotArm:
        self.robot = SmallestRobot(self._plant)
        return LeRobotArm(self.robot, LeRobotConfig(JOINTS, control_dt=0.1))

    def test_percent_mean_the_range_of_each_joint(self) -> None:
        class InPercent(SmallestRobot):
            def get_observation(self) -> Mapping[str, Any]:
                return {f"{name}.pos": value for name, value in zip((*RANGES, "gripper"), (-100, 0, 100, 50, 0, 25), strict=True)}

        with LeRobotArm(InPercent(self._plant), LeRobotConfig(JOINTS, unit="percent")) as arm:
            state = arm.state()
        lows, highs = np.array(list(RANGES.values())).T
        np.testing.assert_allclose(state.joint_pos, [lows[0], 0.0, highs[2], highs[3] / 2, (lows[4] + highs[4]) / 2], atol=1e-9)
        assert state.gripper == pytest.approx(0.75)

    def test_a_robot_that_fails_jumps_or_says_nonsense_is_an_arm_error(self) -> None:
        answer: dict[str, Any] = {}

        class Odd(SmallestRobot):
            def get_observation(self) -> Mapping[str, Any]:
                return {**super().get_observation(), **answer}

        with LeRobotArm(robot := Odd(self._plant), LeRobotConfig(JOINTS)) as arm:
            answer["elbow_flex.pos"] = np.nan
            with pytest.raises(ArmError, match="finite"):
                arm.state()
            answer["elbow_flex.pos"] = 90.0  # from 11 degrees, at once
            with pytest.raises(ArmError, match="elbow_flex says it jumped"):
                arm.state()
            answer.clear()
            arm.state()
            robot.is_connected = False
            with pytest.raises(ArmError, match="not connected"):
                arm.state()
            with pytest.raises(ArmError, match="send_action failed"):
                arm.send(np.zeros(6))
            robot.is_connected = True

    def test_a_robot_that_would_drop_the_arm_or_is_not_calibrated_is_refused(self) -> None:
        class Config:
            disable_torque_on_disconnect = True

        robot = SmallestRobot(self._plant)
        robot.config = Config()  # type: ignore[attr-defined]
        with pytest.raises(ConfigError, match="disable_torque_on_disconnect=False"), LeRobotArm(robot, LeRobotConfig(JOINTS)):
            pass
        robot.is_calibrated = False
        with pytest.raises(ArmError, match="lerobot-calibrate"), LeRobotArm(robot, LeRobotConfig(JOINTS, torque_off_on_exit=True)):
            pass
        assert not robot.is_connected


def test_the_example_of_a_calibration_file_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    parts = {n: {"id": i, "drive_mode": 0, "homing_offset": 7, "range_min": 900, "range_max": 3100} for i, n in enumerate(RANGES, 11)}
    parts["gripper"] = {"id": 16, "drive_mode": 0, "homing_offset": 0, "range_min": 2000, "range_max": 3400}
    path.write_text(json.dumps(parts))
    config = so101("/dev/ttyACM0", path)
    assert [joint.id for joint in config.joints] == [11, 12, 13, 14, 15]
    assert config.joints[0].zero == 2000 and config.joints[0].high == pytest.approx(1100 * 2 * np.pi / 4096)
    assert (config.gripper.id, config.gripper.opened, config.gripper.closed) == (16, 3400, 2000)
    path.write_text('{"gripper": {"id": 16, "range_min": 2000, "range_max": 3400}}')
    with pytest.raises(ConfigError, match="lacks elbow_flex, shoulder_lift"):
        so101("/dev/ttyACM0", path)
    with pytest.raises(ConfigError, match="no calibration file"):
        so101("/dev/ttyACM0", tmp_path / "none.json")
