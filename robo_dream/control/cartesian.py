"""Small moves of the tool or of the joints, turned into joint targets within workspace, joint, speed and lag limits."""

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robo_dream.control.kinematics import Kinematics
from robo_dream.embodiment import TOOL_MOVE_NAMES, ActionSpec, ArmState, Pose, RobotArm
from robo_dream.errors import ContractError


@dataclass(frozen=True)
class MoveLimits:
    """How far and how fast the tool may move. Metres, radians, seconds."""

    workspace_low: tuple[float, float, float]
    workspace_high: tuple[float, float, float]
    yaw_low: float
    yaw_high: float
    joint_speed: tuple[float, ...]  # rad/s of each joint
    give: float = 0.0  # rad by which a joint gives way under load before its tracking counts as lost
    max_move: float = 0.025  # m an action and axis
    max_turn: float = 0.08  # rad an action
    max_grip: float = 0.2  # closure an action
    max_lag: float = 0.05  # m that the commanded tool may run ahead of the measured one
    max_joint_lag: float = 0.2  # rad that the target of a joint may, where joints are moved; as far as the guard lets it stray
    max_grip_lag: float = 0.4  # closure likewise; it sets how hard a blocked gripper squeezes


def tool_move_spec(limits: MoveLimits, control_dt: float) -> ActionSpec:
    high = np.array([limits.max_move] * 3 + [limits.max_turn, limits.max_grip], np.float32)
    return ActionSpec("tool_move", TOOL_MOVE_NAMES, ("m", "m", "m", "rad", "1"), -high, high, control_dt)


@runtime_checkable
class Moves(Protocol):
    """What small moves do to joint targets: of the tool, or of the joints."""

    @property
    def spec(self) -> ActionSpec: ...

    @property
    def limits(self) -> MoveLimits: ...

    @property
    def kinematics(self) -> Kinematics: ...

    def step(
        self, target: Float[np.ndarray, " joint_and_gripper"], measured: Float[np.ndarray, " joint_and_gripper"], move: np.ndarray
    ) -> tuple[Float[np.ndarray, " joint_and_gripper"], Float[np.ndarray, " action"]]:
        """The next joint target (closure last) and the move that it really amounts to after all limits.

        Raises `ContractError` when the move is not finite or mis-shaped; a move out of range is clipped.
        """
        ...

    def amount(
        self, before: Float[np.ndarray, " joint_and_gripper"], after: Float[np.ndarray, " joint_and_gripper"]
    ) -> Float[np.ndarray, " action"]:
        """The move that going from one joint target to another amounts to."""
        ...


def downward_quat(yaw: float) -> Float[np.ndarray, "4"]:
    """Orientation of a tool whose z axis points straight down and which is turned by `yaw` about the vertical."""
    # Rz(yaw) * Rx(pi)
    return np.array([0.0, np.cos(yaw / 2), np.sin(yaw / 2), 0.0])


def downward_yaw(quat: Float[np.ndarray, "4"]) -> float:
    """Yaw of a tool that points (about) down: the heading of its x axis, radians in (-pi, pi]."""
    w, x, y, z = quat
    return float(np.arctan2(2 * (x * y + w * z), w * w + x * x - y * y - z * z))


class CartesianMoves:
    """Joint targets for tool moves: a pure function of the last target, the measured joints and the move."""

    def __init__(self, kinematics: Kinematics, limits: MoveLimits, control_dt: float) -> None:
        self.kinematics = kinematics
        self.limits = limits
        self.spec = tool_move_spec(limits, control_dt)
        self._max_joint_step = np.asarray(limits.joint_speed) * control_dt

    def step(
        self, target: Float[np.ndarray, " joint_and_gripper"], measured: Float[np.ndarray, " joint_and_gripper"], move: np.ndarray
    ) -> tuple[Float[np.ndarray, " joint_and_gripper"], Float[np.ndarray, " action"]]:
        move = self.spec.clip(self.spec.numbers(move))
        limits = self.limits
        pose = self.kinematics.forward(target[:-1])
        at = self.kinematics.forward(measured[:-1]).pos
        pos = np.clip(pose.pos + move[:3], limits.workspace_low, limits.workspace_high)
        lead = pos - at
        allowed = max(limits.max_lag, float(np.linalg.norm(pose.pos - at)))  # never dragged along by an arm that strays
        pos = at + lead * min(1.0, allowed / max(float(np.linalg.norm(lead)), 1e-9))
        yaw = np.clip(downward_yaw(pose.quat) + move[3], limits.yaw_low, limits.yaw_high)
        joints = self.kinematics.inverse(target[:-1], Pose(pos, downward_quat(yaw)))
        step = joints - target[:-1]
        step *= min(1.0, float(np.min(self._max_joint_step / np.maximum(np.abs(step), 1e-9))))
        joints = target[:-1] + step
        grip = np.clip(target[-1] + move[4], 0.0, 1.0)
        grip = np.clip(grip, measured[-1] - limits.max_grip_lag, measured[-1] + limits.max_grip_lag)
        joints = np.append(joints, grip)
        return joints, self.amount(target, joints)

    def amount(
        self, before: Float[np.ndarray, " joint_and_gripper"], after: Float[np.ndarray, " joint_and_gripper"]
    ) -> Float[np.ndarray, " action"]:
        start, end = self.kinematics.forward(before[:-1]), self.kinematics.forward(after[:-1])
        turned = downward_yaw(end.quat) - downward_yaw(start.quat)
        return np.asarray([*(end.pos - start.pos), (turned + np.pi) % (2 * np.pi) - np.pi, after[-1] - before[-1]], np.float32)


def most_joint_move(limits: MoveLimits, control_dt: float) -> Float[np.ndarray, " joint_and_gripper"]:
    """How far the targets of an arm with such `limits` can move in a control step: rad, and closure last."""
    return np.append(np.asarray(limits.joint_speed) * control_dt, limits.max_grip)


class JointMoves:
    """Joint targets for moves of the joints: without inverse kinematics, and within the same speed, range and lag limits."""

    def __init__(self, kinematics: Kinematics, limits: MoveLimits, spec: ActionSpec) -> None:
        if spec.kind != "joint_move" or spec.size != len(limits.joint_speed) + 1:
            raise ContractError(
                f"joint moves need {len(limits.joint_speed)} joints and a gripper; got actions of kind {spec.kind!r}: {spec.names}"
            )
        self.kinematics, self.limits, self.spec = kinematics, limits, spec
        self._max_step = most_joint_move(limits, spec.control_dt)
        self._max_lag = np.append(np.full(spec.size - 1, limits.max_joint_lag), limits.max_grip_lag)
        self._low, self._high = np.append(kinematics.low, 0.0), np.append(kinematics.high, 1.0)

    def step(
        self, target: Float[np.ndarray, " joint_and_gripper"], measured: Float[np.ndarray, " joint_and_gripper"], move: np.ndarray
    ) -> tuple[Float[np.ndarray, " joint_and_gripper"], Float[np.ndarray, " action"]]:
        move = np.clip(self.spec.clip(self.spec.numbers(move)), -self._max_step, self._max_step)
        allowed = np.maximum(self._max_lag, np.abs(target - measured))  # never dragged along by an arm that strays
        low = np.maximum(measured - allowed, np.minimum(self._low, target))  # nor into its range by one that stands outside it
        high = np.minimum(measured + allowed, np.maximum(self._high, target))
        joints = np.clip(target + move, low, high)
        return joints, self.amount(target, joints)

    def amount(
        self, before: Float[np.ndarray, " joint_and_gripper"], after: Float[np.ndarray, " joint_and_gripper"]
    ) -> Float[np.ndarray, " action"]:
        return np.asarray(after - before, np.float32)


def with_tool(state: ArmState, kinematics: Kinematics) -> ArmState:
    """`state` with tool pose and tool target computed from its joints and joint targets."""
    tool = kinematics.forward(state.joint_pos)
    goal = tool if state.joint_target is None else kinematics.forward(state.joint_target)
    return replace(
        state, tool_pos=tool.pos, tool_quat=tool.quat, tool_yaw=downward_yaw(tool.quat),
        target_pos=goal.pos, target_yaw=downward_yaw(goal.quat),
    )  # fmt: skip


class CartesianArm:
    """A `RobotArm` that takes moves, of its tool or of its joints, and drives an arm that takes joint targets."""

    def __init__(self, arm: RobotArm, moves: Moves) -> None:
        if arm.action_spec.kind != "joint_target":
            raise ContractError(f"moves need an arm that takes 'joint_target' actions; this one takes {arm.action_spec.kind!r}")
        self._arm = arm
        self._moves = moves

    @property
    def action_spec(self) -> ActionSpec:
        return self._moves.spec

    @property
    def limits(self) -> MoveLimits:
        return self._moves.limits

    def __enter__(self) -> "CartesianArm":
        self._arm.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._arm.__exit__(kind, value, trace)

    def state(self) -> ArmState:
        return with_tool(self._arm.state(), self._moves.kinematics)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        state = self._arm.state()
        target = state.joint_pos if state.joint_target is None else state.joint_target
        measured = np.append(state.joint_pos, state.gripper)
        before = np.append(target, state.target_gripper)
        joints, applied = self._moves.step(before, measured, action)
        if not np.any(action):  # zeros hold still: after a stop on the way, the tool need not stand as a move would have it
            joints, applied = before, np.zeros_like(applied)
        sent = self._arm.send(joints)
        return applied if np.array_equal(sent, joints) else self._moves.amount(before, sent)

    def stop(self) -> None:
        self._arm.stop()
