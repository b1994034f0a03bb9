"""Forward and differential inverse kinematics of one tool on an arm, from the arm's own MuJoCo model."""

from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import Pose
from robo_dream.errors import ContractError

_DAMPING = 1e-4  # of J J^T; keeps steps finite near singular poses (Nakamura and Hanafusa 1986)
_MAX_JOINT_STEP = 0.2  # rad an iteration, within which the linearisation holds


class Kinematics:
    """Forward and inverse kinematics of the site `tool_site` over `joint_names` (hinges, one degree of freedom each)."""

    def __init__(self, model: mujoco.MjModel, joint_names: Sequence[str], tool_site: str) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._site = model.site(tool_site).id
        joints = [model.joint(name) for name in joint_names]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        limited = np.array([bool(model.jnt_limited[joint.id]) for joint in joints])
        ranges = np.array([model.jnt_range[joint.id] for joint in joints])
        self.low = np.where(limited, ranges[:, 0], -np.inf)
        self.high = np.where(limited, ranges[:, 1], np.inf)

    def forward(self, joint_pos: Float[np.ndarray, " joint"]) -> Pose:
        """World pose of the tool; raises `ContractError` when `joint_pos` has another number of joints."""
        if np.shape(joint_pos) != self._qpos.shape:
            raise ContractError(f"joint positions have shape {np.shape(joint_pos)}; this arm has {len(self._qpos)} joints")
        self._data.qpos[self._qpos] = joint_pos
        mujoco.mj_kinematics(self._model, self._data)
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, self._data.site_xmat[self._site])
        return Pose(self._data.site_xpos[self._site].copy(), quat)

    def inverse(
        self, joint_pos: Float[np.ndarray, " joint"], target: Pose, num_iterations: int = 30, tolerance: float = 1e-4
    ) -> Float[np.ndarray, " joint"]:
        """Joint positions near `joint_pos` that bring the tool to `target`, as close as limits and iterations allow.

        Damped least squares on the six-dimensional error (metres and radians). The caller checks what was reached with `forward`.
        """
        joint_pos = np.array(joint_pos, np.float64)
        jacobian = np.zeros((6, self._model.nv))
        error = np.zeros(6)
        turn = np.empty(4)
        for _ in range(num_iterations):
            pose = self.forward(joint_pos)
            error[:3] = target.pos - pose.pos
            mujoco.mju_mulQuat(turn, target.quat, pose.quat * [1, -1, -1, -1])
            mujoco.mju_quat2Vel(error[3:], turn, 1.0)
            if np.abs(error).max() < tolerance:
                break
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_jacSite(self._model, self._data, jacobian[:3], jacobian[3:], self._site)
            j = jacobian[:, self._dofs]
            step = j.T @ np.linalg.solve(j @ j.T + _DAMPING * np.eye(6), error)
            step *= min(1.0, _MAX_JOINT_STEP / max(np.abs(step).max(), 1e-12))
            joint_pos = np.clip(joint_pos + step, self.low, self.high)
        return joint_pos
