"""Which numbers of a world's state vector are what."""

from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Int

from sim.tabletop.world import STATE_PARTS, World

_PHYSICS = mujoco.mjtState.mjSTATE_FULLPHYSICS


@dataclass(frozen=True)
class StateLayout:
    """Positions in `World.state`, by part; `joints`, `fingers` and `object_pose` (xyz, wxyz of the first object) lie within `qpos`."""

    size: int
    time: Int[np.ndarray, "1"]
    physics: Int[np.ndarray, " physics"]  # what `mujoco.rollout` calls the state
    qpos: Int[np.ndarray, " qpos"]
    qvel: Int[np.ndarray, " dof"]
    ctrl: Int[np.ndarray, " actuator"]
    warm_start: Int[np.ndarray, " dof"]
    joints: Int[np.ndarray, " joint"]
    fingers: Int[np.ndarray, " finger"]
    object_pose: Int[np.ndarray, "7"]


def layout_of(world: World) -> StateLayout:
    model, scene = world.model, world.scene
    size = mujoco.mj_stateSize(model, STATE_PARTS)

    def indices(part: mujoco.mjtState) -> Int[np.ndarray, " part"]:
        found = np.empty(mujoco.mj_stateSize(model, part))
        mujoco.mj_extractState(model, np.arange(float(size)), STATE_PARTS, found, part)
        return found.astype(np.int64)

    qpos = indices(mujoco.mjtState.mjSTATE_QPOS)
    start = scene.object_qpos[0]
    return StateLayout(
        size=size,
        time=indices(mujoco.mjtState.mjSTATE_TIME),
        physics=indices(_PHYSICS),
        qpos=qpos,
        qvel=indices(mujoco.mjtState.mjSTATE_QVEL),
        ctrl=indices(mujoco.mjtState.mjSTATE_CTRL),
        warm_start=indices(mujoco.mjtState.mjSTATE_WARMSTART),
        joints=qpos[[int(model.joint(name).qposadr[0]) for name in scene.joint_names]],
        fingers=qpos[np.array([model.joint(name).qposadr[0] for name in scene.finger_names], np.int64)],
        object_pose=qpos[start : start + 7],
    )
