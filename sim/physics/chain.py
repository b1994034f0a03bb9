"""Forward and differential inverse kinematics of many arm poses at once, in numpy; equal to `Kinematics` up to rounding.

No operation mixes rows, so a row's result does not depend on what else is in the batch.
"""

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.control.cartesian import CartesianMoves, downward_quat, downward_yaw
from robo_dream.control.kinematics import Kinematics

_DAMPING = 1e-4  # these two are those of `Kinematics.inverse`
_MAX_JOINT_STEP = 0.2  # rad


class Chain:
    """The hinges from the world to a tool site, as fixed transforms with a rotation after each."""

    def __init__(self, model: mujoco.MjModel, joint_names: tuple[str, ...], tool_site: str) -> None:
        desired = {model.joint(name).id: place for place, name in enumerate(joint_names)}
        site = model.site(tool_site)
        bodies = []
        body = int(site.bodyid[0])
        while body:
            bodies.insert(0, body)
            body = int(model.body_parentid[body])
        rot, pos = np.eye(3), np.zeros(3)
        self._links: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, float]] = []  # joint, rotation, position, axis, zero
        for body in bodies:
            pos = pos + rot @ model.body_pos[body]
            rot = rot @ _matrix(model.body_quat[body])
            first = model.body_jntadr[body]
            for joint in range(first, first + model.body_jntnum[body]):
                if joint not in desired:
                    continue  # stays at its zero, as in `Kinematics`
                anchor = model.jnt_pos[joint]
                zero = float(model.qpos0[model.jnt_qposadr[joint]])
                self._links.append((desired[joint], rot, pos + rot @ anchor, model.jnt_axis[joint].copy(), zero))
                rot, pos = np.eye(3), -anchor
        self._tool_rot = rot @ _matrix(site.quat)
        self._tool_pos = pos + rot @ site.pos
        kinematics = Kinematics(model, joint_names, tool_site)
        self.low, self.high = kinematics.low, kinematics.high

    def forward(self, joint_pos: Float[np.ndarray, "row joint"]) -> tuple[Float[np.ndarray, "row 3"], Float[np.ndarray, "row 3 3"]]:
        """World position (m) and rotation matrix of the tool."""
        pos, rot, _, _ = self._walk(joint_pos)
        return pos, rot

    def inverse(
        self,
        joint_pos: Float[np.ndarray, "row joint"],
        target_pos: Float[np.ndarray, "row 3"],
        target_quat: Float[np.ndarray, "row 4"],
        num_iterations: int = 30,
        tolerance: float = 1e-4,
    ) -> Float[np.ndarray, "row joint"]:
        """As `Kinematics.inverse`, row by row; rows that have arrived are left alone."""
        joint_pos = np.array(joint_pos, np.float64)
        open_rows = np.arange(len(joint_pos))
        for _ in range(num_iterations):
            pos, rot, anchors, axes = self._walk(joint_pos[open_rows])
            error = np.concatenate([target_pos[open_rows] - pos, _turn(target_quat[open_rows], _quat(rot))], axis=1)
            far = np.abs(error).max(axis=1) >= tolerance
            open_rows, error = open_rows[far], error[far]
            if not len(open_rows):
                break
            arms = pos[far, None] - anchors[far]
            jacobian = np.concatenate([np.cross(axes[far], arms), axes[far]], axis=2).transpose(0, 2, 1)  # (row, 6, joint)
            square = np.einsum("rij,rkj->rik", jacobian, jacobian) + _DAMPING * np.eye(6)
            step = np.einsum("rij,ri->rj", jacobian, np.linalg.solve(square, error[..., None])[..., 0])
            step *= np.minimum(1.0, _MAX_JOINT_STEP / np.maximum(np.abs(step).max(axis=1), 1e-12))[:, None]
            joint_pos[open_rows] = np.clip(joint_pos[open_rows] + step, self.low, self.high)
        return joint_pos

    def _walk(self, joint_pos: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Tool position and rotation, and each joint's anchor and axis in the world."""
        rows = len(joint_pos)
        pos, rot = np.zeros((rows, 3)), np.broadcast_to(np.eye(3), (rows, 3, 3))
        anchors, axes = np.empty((rows, joint_pos.shape[1], 3)), np.empty((rows, joint_pos.shape[1], 3))
        for joint, link_rot, link_pos, axis, zero in self._links:
            pos = pos + np.einsum("rij,j->ri", rot, link_pos)
            rot = np.einsum("rij,jk->rik", rot, link_rot)
            anchors[:, joint], axes[:, joint] = pos, np.einsum("rij,j->ri", rot, axis)
            rot = np.einsum("rij,rjk->rik", rot, _hinge(axis, joint_pos[:, joint] - zero))
        pos = pos + np.einsum("rij,j->ri", rot, self._tool_pos)
        return pos, np.einsum("rij,jk->rik", rot, self._tool_rot), anchors, axes


class ChainMoves:
    """`CartesianMoves.step` for many rows at once."""

    def __init__(self, chain: Chain, moves: CartesianMoves) -> None:
        self._chain = chain
        self._limits = moves.limits
        self._spec = moves.spec
        self._max_joint_step = np.asarray(moves.limits.joint_speed) * moves.spec.control_dt

    def step(
        self,
        target: Float[np.ndarray, "row joint_and_gripper"],
        measured: Float[np.ndarray, "row joint_and_gripper"],
        move: Float[np.ndarray, "row action"],
    ) -> Float[np.ndarray, "row joint_and_gripper"]:
        """The next joint targets (closure last)."""
        limits = self._limits
        move = self._spec.clip(np.asarray(move, np.float64))
        start, start_rot = self._chain.forward(target[:, :-1])
        at, _ = self._chain.forward(measured[:, :-1])
        pos = np.clip(start + move[:, :3], limits.workspace_low, limits.workspace_high)
        lead = pos - at
        allowed = np.maximum(limits.max_lag, np.linalg.norm(start - at, axis=1))
        pos = at + lead * np.minimum(1.0, allowed / np.maximum(np.linalg.norm(lead, axis=1), 1e-9))[:, None]
        yaw = np.clip(_downward_yaws(start_rot) + move[:, 3], limits.yaw_low, limits.yaw_high)
        joints = self._chain.inverse(target[:, :-1], pos, np.stack([downward_quat(turn) for turn in yaw]))
        step = joints - target[:, :-1]
        step *= np.minimum(1.0, (self._max_joint_step / np.maximum(np.abs(step), 1e-9)).min(axis=1))[:, None]
        grip = np.clip(target[:, -1] + move[:, 4], 0.0, 1.0)
        grip = np.clip(grip, measured[:, -1] - limits.max_grip_lag, measured[:, -1] + limits.max_grip_lag)
        return np.concatenate([target[:, :-1] + step, grip[:, None]], axis=1)


def _downward_yaws(rot: np.ndarray) -> np.ndarray:
    return np.array([downward_yaw(quat) for quat in _quat(rot)])


def _matrix(quat: np.ndarray) -> np.ndarray:
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quat, np.float64))
    return matrix.reshape(3, 3)


def _hinge(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotations by `angle` about `axis` (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sin * cross + (1 - cos) * (cross @ cross)


def _quat(rot: np.ndarray) -> np.ndarray:
    """Quaternions wxyz, with the sign that makes the largest number positive (as `mju_mat2Quat` does)."""
    quats = np.empty((len(rot), 4))
    for quat, matrix in zip(quats, rot.reshape(-1, 9), strict=True):
        mujoco.mju_mat2Quat(quat, matrix)
    return quats


def _turn(target: np.ndarray, quat: np.ndarray) -> np.ndarray:
    """Rotation vectors (rad, world frame) that take `quat` to `target`."""
    turns, between = np.empty((len(quat), 3)), np.empty(4)
    for turn, goal, at in zip(turns, target, quat * [1, -1, -1, -1], strict=True):
        mujoco.mju_mulQuat(between, goal, at)
        mujoco.mju_quat2Vel(turn, between, 1.0)
    return turns
