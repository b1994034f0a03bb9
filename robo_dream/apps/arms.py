"""Real arms by the `kind` that a configuration names, and the guard in front of each. Loaded by the guard's process too: no torch here."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from robo_dream.control.guard import Guard, motion_limits
from robo_dream.control.safety import SafetyLimits
from robo_dream.embodiment import ActionSpec, RobotArm
from robo_dream.errors import ConfigError
from sim.arm import collision_check
from sim.scene import Scene, SceneConfig, build_scene


@dataclass(frozen=True)
class LineKind:
    """An arm whose own program speaks lines of JSON on this computer (hardware/arms/line_arm.py)."""

    kind: Literal["line"] = "line"
    port: int = 0  # TCP; a twin brings its own
    name: str = ""  # what the arm must say it is; empty: any
    timeout: float = 0.05  # s


@dataclass(frozen=True)
class So101Kind:
    """An SO-100 or SO-101 on its bus (hardware/arms/so101.py)."""

    kind: Literal["so101"] = "so101"
    port: str = ""  # such as /dev/ttyACM0; a twin brings its own
    calibration: Path | None = None  # LeRobot's file


ArmKind = LineKind | So101Kind


def build_driver(arm: ArmKind) -> RobotArm:
    """Not yet connected. An arm that is added gets its own case here, its config in `ArmKind`, and for a twin its wire in twin.py."""
    if not arm.port:
        raise ConfigError(f"arm.port is not given for the arm of kind {arm.kind!r}; give it, or run its twin with --twin")
    match arm:
        case LineKind():
            from hardware.arms.line_arm import LineArm, LineArmConfig

            return LineArm(LineArmConfig(arm.port, arm.name, arm.timeout))
        case So101Kind():
            from hardware.arms.feetech import FeetechArm
            from hardware.arms.so101 import so101

            return FeetechArm(so101(arm.port, arm.calibration))


def at_address(arm: ArmKind, address: str | int) -> ArmKind:
    """`arm` as its twin can be reached."""
    return replace(arm, port=address)


def build_guarded(arm: ArmKind, scene: SceneConfig, limits: SafetyLimits) -> tuple[RobotArm, "partial[Guard]"]:
    """The driver and what makes its guard once the driver is connected and says what it can do."""
    return build_driver(arm), partial(guard_of, build_scene(scene), limits)


def guard_of(scene: Scene, limits: SafetyLimits, spec: ActionSpec) -> Guard:
    """The guard of an arm whose driver has `spec`, by that arm's model in `scene`. Raises `ConfigError` where they cannot be the same."""
    num_joints, speeds = spec.size - 1, scene.arm.limits.joint_speed
    if num_joints != len(scene.joint_names):
        raise ConfigError(
            f"the arm has {num_joints} joints {spec.names[:-1]}, its model {scene.config.arm!r} {len(scene.joint_names)}; correct scene.arm"
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
        motion_limits(replace(spec, low=low, high=high), speeds, limits), limits, collision_check(scene, limits.clearance),
        scene.arm.limits.give,
    )  # fmt: skip
