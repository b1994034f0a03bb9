"""The tabletop's arm: a `RobotArm` that takes joint targets, and its views that take tool moves, with the guard in between or without."""

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

import numpy as np
from jaxtyping import Float

from robo_dream.control.cartesian import CartesianArm
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ConfigError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.collision import CollisionCheck
from robo_dream.safety.guard import Guard, motion_limits
from robo_dream.safety.guarded_arm import GuardedArm
from robo_dream.safety.limits import Clearance, SafetyLimits
from sim.devices import SimClock
from sim.tabletop.scene import Scene
from sim.tabletop.world import CONTROL_DT, World

_ASTRAY = 0.15  # m that a hand goes astray for each rad that joints give: a Jaco told to jump, 20 mm (benchmarks/fault_campaign.py)
_TURNS = 2 * np.pi  # limit of joints that have none


class SimArm:
    """The arm of a `World`. `send` sets the joint target; the world moves when its `SimClock` sleeps."""

    def __init__(self, world: World) -> None:
        self._world = world
        low = np.append(np.maximum(world.kinematics.low, -_TURNS), 0.0)
        high = np.append(np.minimum(world.kinematics.high, _TURNS), 1.0)
        names = (*world.scene.joint_names, "gripper")
        units = ("rad",) * len(world.scene.joint_names) + ("1",)
        self.action_spec = ActionSpec("joint_target", names, units, low, high, CONTROL_DT)

    def __enter__(self) -> "SimArm":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def state(self) -> ArmState:
        return self._world.arm_state()

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        action = self.action_spec.numbers(action)
        self._world.pending_target = np.clip(action, self.action_spec.low, self.action_spec.high)
        return self._world.pending_target

    def stop(self) -> None:
        self._world.pending_target = self._world.measured


def tool_arm(world: World) -> CartesianArm:
    """The world's arm, taking tool moves."""
    return CartesianArm(SimArm(world), world.moves)


def guarded_tool_arm(world: World, limits: SafetyLimits, on_event: Callable[[SafetyEvent], None] | None = None) -> CartesianArm:
    """The world's arm, taking tool moves, behind the same guard that a real one has. Within the limits nothing changes, to the bit."""
    driver = SimArm(world)
    motion = motion_limits(driver.action_spec, world.scene.arm.limits.joint_speed, limits)
    guard = Guard(motion, limits, collision_check(world.scene, kept_clear(world.scene, limits.clearance)), world.scene.arm.limits.give)
    return CartesianArm(GuardedArm(driver, guard, SimClock(world), on_event), world.moves)


def kept_clear(scene: Scene, clearance: Clearance) -> Clearance:
    """`clearance` with a smaller box for an arm whose joints give way: what a guard looks at is where commands rest, and while some joints
    lag more than others the hand passes where no command ever was."""
    astray = _ASTRAY * scene.arm.limits.give
    if clearance.workspace is None or not astray:
        return clearance
    (x, y, z), (far_x, far_y, far_z) = clearance.workspace
    low, high = (x + astray, y + astray, z + astray), (far_x - astray, far_y - astray, far_z - astray)
    if not all(one < other for one, other in zip(low, high, strict=True)):
        raise ConfigError(
            f"clearance.workspace is {clearance.workspace}; this arm, whose joints give way, keeps {astray:.3f} m from each wall, and "
            "nothing is left: make it larger"
        )
    return replace(clearance, workspace=(low, high))


def collision_check(scene: Scene, clearance: Clearance) -> CollisionCheck:
    """The check of the scene's arm against itself, the table and its box; objects are left out."""
    model, fingers = scene.model, scene.finger_names
    if fingers:
        hand = int(model.body_parentid[model.jnt_bodyid[model.joint(fingers[0]).id]])
    else:
        hand = int(model.jnt_bodyid[model.joint(scene.joint_names[-1]).id])
    angles = {name: scene.arm.finger_range for name in fingers}
    opened, closed = scene.arm.finger_range
    angles |= {name: (ratio * opened, ratio * closed) for name, ratio in scene.passive_joints}
    return CollisionCheck(model, scene.joint_names, model.body(hand).name, angles, clearance)
