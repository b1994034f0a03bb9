"""Real arms by the `kind` that a configuration names, and the guard in front of each. Loaded by the guard's process too: no torch here."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from hardware.arms.arm_lock import usb_serial
from hardware.arms.franka import FrankaConfig
from hardware.arms.ros2 import Ros2Config
from hardware.arms.servo_arm import GripperServo, JointServo
from hardware.arms.ur import UrConfig
from hardware.arms.xarm import XarmConfig
from robo_dream.embodiment import ActionSpec, LastResort, RobotArm
from robo_dream.errors import ConfigError
from robo_dream.safety.guard import Guard, motion_limits
from robo_dream.safety.limits import SafetyLimits
from robo_dream.schema import Unit, configuration
from sim.tabletop.arm import collision_check, kept_clear
from sim.tabletop.scene import Scene, SceneConfig, build_scene


@configuration
class LineKind:
    """An arm whose own program speaks lines of JSON on this computer (hardware/arms/line_arm.py)."""

    kind: Literal["line"] = "line"
    port: Annotated[int, Field(ge=0, le=65_535)] = 0  # TCP; a twin brings its own
    name: str = ""  # what the arm must say it is; empty: any
    timeout: Annotated[float, Field(gt=0, le=5), Unit("s")] = 0.05


@configuration
class So101Kind:
    """An SO-100 or SO-101 on its bus (hardware/arms/so101.py)."""

    kind: Literal["so101"] = "so101"
    port: str = ""  # such as /dev/ttyACM0; a twin brings its own
    calibration: Path | None = None  # LeRobot's file


@configuration
class DynamixelKind:
    """An arm of Dynamixel X servos (hardware/arms/dynamixel.py): its servos, from base to tool."""

    joints: tuple[JointServo, ...]
    gripper: GripperServo
    kind: Literal["dynamixel"] = "dynamixel"
    port: str = ""  # such as /dev/ttyUSB0; a twin brings its own


ArmKind = LineKind | So101Kind | DynamixelKind | UrConfig | XarmConfig | FrankaConfig | Ros2Config
"""An arm that is added gets its config here, its case in `build_driver`, and for a twin its wire in twin.py."""


@runtime_checkable
class Driver(RobotArm, LastResort, Protocol):
    """A driver of an arm, and how the arm is stopped when the driver's process is gone."""


@dataclass(frozen=True)
class Rest:
    """The pose (rad) in which an arm may be let go of, to within `tolerance`."""

    pose: tuple[float, ...] | None = None
    tolerance: float = 0.05


def build_driver(arm: ArmKind, rest: Rest | None = None) -> Driver:
    """Not yet connected. Only arms of servos on a bus (`lets_go`) do without torque in `rest`; the others' controllers hold them."""
    rest = rest or Rest()
    where = _where(arm)
    if not getattr(arm, where) and not isinstance(arm, Ros2Config):  # whose topics may be those of no namespace
        raise ConfigError(f"arm.{where} is not given for the arm of kind {arm.kind!r}; give it, or run its twin with --twin")
    match arm:
        case LineKind():
            from hardware.arms.line_arm import LineArm, LineArmConfig

            return LineArm(LineArmConfig(arm.port, arm.name, arm.timeout))
        case So101Kind():
            from hardware.arms.feetech import FeetechArm
            from hardware.arms.so101 import so101

            return FeetechArm(so101(arm.port, arm.calibration, rest_pose=rest.pose, rest_tolerance=rest.tolerance))
        case DynamixelKind():
            from hardware.arms.dynamixel import DynamixelArm, DynamixelConfig

            servos = DynamixelConfig(arm.port, arm.joints, arm.gripper, rest_pose=rest.pose, rest_tolerance=rest.tolerance)
            return DynamixelArm(servos)
        case UrConfig():
            from hardware.arms.ur import UrArm

            return UrArm(arm)
        case XarmConfig():
            from hardware.arms.xarm import XarmArm

            return XarmArm(arm)
        case FrankaConfig():
            from hardware.arms.franka import FrankaArm

            return FrankaArm(arm)
        case Ros2Config():
            from hardware.arms.ros2 import Ros2Arm

            return Ros2Arm(arm)


def last_resort(arm: ArmKind) -> str:
    """Stops an arm whose guard is gone, and says what acted; raises `ArmError` when nothing is known to have."""
    return build_driver(arm).last_resort()


def lets_go(arm: ArmKind) -> bool:
    """Whether leaving it can take its torque away."""
    return isinstance(arm, So101Kind | DynamixelKind)


def identity_of(arm: ArmKind) -> str:
    """By what a calibration file knows the arm again. Drivers of arms that tell a serial or name compare it with the one given here."""
    match arm:
        case LineKind():
            name, serial = "name", arm.name
        case UrConfig() | XarmConfig():
            name, serial = "serial", arm.serial
        case So101Kind() | DynamixelKind():  # the servos have no serial number, the adapter on the bus may; a port can be another tomorrow
            name, serial = "port", usb_serial(arm.port) or arm.port
        case Ros2Config():
            name, serial = "commands", f"{arm.domain} {arm.namespace}{arm.commands}"
        case _:
            name, serial = _where(arm), str(getattr(arm, _where(arm)))
    if not serial:
        raise ConfigError(f"a calibration is of one arm, but arm.{name} is not given for the arm of kind {arm.kind!r}; give it")
    return f"{arm.kind} {serial}"


def at_address(arm: ArmKind, address: str | int) -> ArmKind:
    """`arm` as its twin can be reached."""
    return replace(arm, **{_where(arm): address})


def _where(arm: ArmKind) -> str:
    """What says where the arm is."""
    if isinstance(arm, Ros2Config):
        return "namespace"
    return "host" if isinstance(arm, UrConfig | XarmConfig | FrankaConfig) else "port"


def build_guarded(
    arm: ArmKind, scene: SceneConfig, limits: SafetyLimits, rest_pose: tuple[float, ...] | None = None
) -> tuple[RobotArm, "partial[Guard]"]:
    """The driver and what makes its guard once the driver is connected and says what it can do."""
    built = build_scene(scene)
    speeds = joint_speeds(arm, built.arm.limits.joint_speed, limits)
    return build_driver(arm, Rest(rest_pose, limits.rest_tolerance)), partial(guard_of, built, limits, speeds)


def joint_speeds(arm: ArmKind, speeds: tuple[float, ...], limits: SafetyLimits) -> tuple[float, ...]:
    """Those of tool moves (rad/s), such that what the guard makes of them the driver does not cut: the guard would lose track."""
    most = arm.max_speed if isinstance(arm, UrConfig | XarmConfig | FrankaConfig) else np.inf
    return tuple(min(speed, most / limits.speed_factor) for speed in speeds)


def guard_of(scene: Scene, limits: SafetyLimits, speeds: tuple[float, ...], spec: ActionSpec) -> Guard:
    """The guard of an arm whose driver has `spec`, by that arm's model in `scene`. Raises `ConfigError` where they cannot be the same."""
    num_joints = spec.size - 1
    if num_joints != len(scene.joint_names):
        raise ConfigError(
            f"the arm has {num_joints} joints {spec.names[:-1]}, its model {scene.config.arm!r} {len(scene.joint_names)}; correct world.arm"
        )
    joints = [scene.model.joint(name) for name in scene.joint_names]
    ranges = np.array([joint.range if scene.model.jnt_limited[joint.id] else (-np.inf, np.inf) for joint in joints])
    low, high = spec.low.astype(float), spec.high.astype(float)
    low[:-1], high[:-1] = np.maximum(low[:-1], ranges[:, 0]), np.minimum(high[:-1], ranges[:, 1])
    if (low >= high).any():
        joint = int(np.argmax(low >= high))
        raise ConfigError(
            f"joint {spec.names[joint]} goes from {spec.low[joint]:.3f} to {spec.high[joint]:.3f} rad by its driver and from "
            f"{ranges[joint, 0]:.3f} to {ranges[joint, 1]:.3f} by its model; these do not meet: see its zero and its sign"
        )
    return Guard(
        motion_limits(replace(spec, low=low, high=high), speeds, limits),
        limits,
        collision_check(scene, kept_clear(scene, limits.clearance)),
        scene.arm.limits.give,
    )
