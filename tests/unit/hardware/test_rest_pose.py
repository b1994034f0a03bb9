"""Leaving a servo arm lets go of it in its declared rest pose only; measured in the physics behind the emulated bus."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from hardware.arms.dynamixel import DynamixelArm, DynamixelConfig
from hardware.arms.feetech import FeetechArm
from hardware.arms.servo_arm import ServoArm
from hardware.arms.so101 import so101
from robo_dream.errors import ConfigError
from sim.emulators.dynamixel_bus import DynamixelBus
from sim.emulators.plant import Plant
from sim.emulators.servo_bus import ServoBus
from sim.emulators.so101 import MOUNTS, so101_bus, so101_world

PATIENT = {"control_dt": 0.4, "reply_timeout": 0.2}  # s; the machine that runs tests may be busy
REST = (0.0, -0.2, 0.2, 1.571, 0.0)  # rad; where the model stands at first
ELSEWHERE = (0.3, -0.2, 0.2, 1.571, 0.0)


def feetech(plant: Plant) -> tuple[ServoBus, Callable[..., ServoArm]]:
    bus = so101_bus(plant)
    return bus, lambda **settings: FeetechArm(so101(bus.port, **PATIENT, **settings))


def dynamixel(plant: Plant) -> tuple[ServoBus, Callable[..., ServoArm]]:
    bus, same = DynamixelBus(plant, MOUNTS), so101("")
    return bus, lambda **settings: DynamixelArm(DynamixelConfig(bus.port, same.joints, same.gripper, watchdog=2.0, **PATIENT, **settings))


@pytest.mark.parametrize(("sdk", "build"), [("scservo_sdk", feetech), ("dynamixel_sdk", dynamixel)])
@pytest.mark.parametrize(("rest", "lets_go"), [(REST, True), (ELSEWHERE, False), (None, False)])
def test_torque_goes_off_in_the_rest_pose_and_nowhere_else(
    sdk: str, build: Callable[[Plant], tuple[ServoBus, Callable[..., ServoArm]]], rest: tuple[float, ...] | None, lets_go: bool
) -> None:
    pytest.importorskip(sdk)
    with so101_world() as world, Plant(world) as plant:
        bus, arm = build(plant)
        with bus:
            with arm(rest_pose=rest):
                before = plant.joints().pos
                assert plant.torque.all()
            time.sleep(0.3)
            assert plant.torque.any() == plant.torque.all() == (not lets_go)
            moved = np.abs(plant.joints().pos - before).max()
    assert lets_go or moved < 0.01, "an arm that is held stays"


def test_a_rest_pose_of_another_arm_is_refused() -> None:
    with pytest.raises(ConfigError, match="rest_pose has 2 angles; this arm has 5 joints"):
        so101("", rest_pose=(0.0, 0.0))
