"""Places on the table where an object may go."""

import mujoco
import numpy as np
from jaxtyping import Float

from sim.tabletop.world import World


def free_spot(world: World, rng: np.random.Generator, least: float, most: float) -> Float[np.ndarray, "2"]:
    """A spot within the arm's reach, `least` to `most` metres from the object that tasks move, clear of the tool and the other objects."""
    limits, here, others = world.scene.arm.limits, world.object_pose, np.delete(world.object_poses, world.target, axis=0)
    low, high = np.array(limits.workspace_low[:2]) + 0.05, np.array(limits.workspace_high[:2]) - 0.05
    tool = world.kinematics.forward(world.measured[:-1]).pos
    spot = here[:2]
    for _ in range(500):
        spot = rng.uniform(low, high)
        clear = np.linalg.norm(spot - tool[:2]) > 0.08 or tool[2] > 0.12
        if clear and least <= np.linalg.norm(spot - here[:2]) <= most and all(np.linalg.norm(spot - p[:2]) > 0.1 for p in others):
            break
    return spot


def table_pose(pose: Float[np.ndarray, "7"], spot: Float[np.ndarray, "2"], turn: float) -> Float[np.ndarray, "7"]:
    """`pose` moved to `spot` at the same height and turned by `turn` (rad) about the vertical."""
    quat = np.empty(4)
    mujoco.mju_mulQuat(quat, np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)]), np.asarray(pose[3:], np.float64))
    return np.array([*spot, pose[2], *quat])
