"""What success is judged by: the true state of tool and object at one moment."""

from dataclasses import dataclass, field
from functools import lru_cache

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import BOX


@dataclass(frozen=True)
class GroundTruth:
    """True state of the tool and the object that tasks move, and where others are. Metres, seconds, world frame; the table's top: z = 0."""

    tool_pos: Float[np.ndarray, "3"]
    object_pose: Float[np.ndarray, "7"]  # xyz, wxyz
    half_size: tuple[float, float, float]
    gripper: float  # 0 open, 1 closed
    touched: bool  # some part of arm or hand is in contact with the object
    object_speed: float = 0.0  # m/s
    object_spin: float = 0.0  # rad/s
    object_symmetry: int = BOX  # equal looks in one turn about the vertical, 1 for a T, 0 for what is round; a box also on other faces
    others: Float[np.ndarray, "other 7"] = field(default_factory=lambda: np.zeros((0, 7)))  # poses of what else a goal is about
    other_kinds: tuple[tuple[tuple[float, float, float], int], ...] = ()  # half size and symmetry of each; none: as of the object
    place: int = 0  # of the object among all

    @property
    def object_poses(self) -> Float[np.ndarray, "object 7"]:
        return np.insert(self.others, self.place, self.object_pose, axis=0)

    @property
    def kinds(self) -> tuple[tuple[tuple[float, float, float], int], ...]:
        """Half size and symmetry of all objects, in the order of their poses."""
        own = (self.half_size, self.object_symmetry)
        others = self.other_kinds or (own,) * len(self.others)
        return (*others[: self.place], own, *others[self.place :])

    @property
    def clearance(self) -> float:
        """Height of the object's lowest corner above the table."""
        return float(self.object_pose[2] - self._up @ np.asarray(self.half_size))

    @property
    def lies_flat(self) -> bool:
        """On the table, on one of its faces within 5 degrees."""
        return bool(abs(self.clearance) < 0.01 and self._up.max() > np.cos(np.deg2rad(5)))

    @property
    def _up(self) -> Float[np.ndarray, "3"]:
        """How upright each of the object's axes stands, 0 to 1."""
        rot = np.empty(9)
        mujoco.mju_quat2Mat(rot, np.asarray(self.object_pose[3:], np.float64))
        return np.abs(rot[6:])

    @property
    def in_hand(self) -> bool:
        """Touched, within a hand's reach of the point between the fingertips, and with a hand that is neither open nor shut on air."""
        return self.touched and float(np.linalg.norm(self.object_pose[:3] - self.tool_pos)) < 0.06 and 0.1 < self.gripper < 0.95

    @property
    def released(self) -> bool:
        return not self.touched

    @property
    def at_rest(self) -> bool:
        return self.object_speed < 0.01 and self.object_spin < 0.2


def turn_between(
    first: Float[np.ndarray, "4"], second: Float[np.ndarray, "4"], half_size: tuple[float, float, float], symmetry: int = BOX
) -> float:
    """The smallest rotation (rad) that makes an object at orientation `first` look like one at `second` (quaternions wxyz).

    As a box, a cube looks the same in 24 orientations, a square block in 8, any other in 4. Anything else looks the same
    `symmetry` times in a turn about its own z axis; 0 is round, and also looks the same upside down.
    """
    rotations = []
    for quat in (first, second):
        rot = np.empty(9)
        mujoco.mju_quat2Mat(rot, np.asarray(quat, np.float64))
        rotations.append(rot.reshape(3, 3))
    between = rotations[0].T @ rotations[1]
    if symmetry == 0:
        return float(np.arccos(np.clip(abs(between[2, 2]), 0, 1)))
    looks = _symmetries(half_size) if symmetry == BOX else _turns(symmetry)
    traces = np.einsum("nij,ij->n", looks, between)
    return float(np.arccos(np.clip((traces.max() - 1) / 2, -1, 1)))


@lru_cache(maxsize=32)
def _turns(symmetry: int) -> Float[np.ndarray, "turn 3 3"]:
    """Rotations about z by each `symmetry`-th of a turn."""
    angles = 2 * np.pi * np.arange(symmetry) / symmetry
    zero, one = np.zeros(symmetry), np.ones(symmetry)
    rows = [[np.cos(angles), -np.sin(angles), zero], [np.sin(angles), np.cos(angles), zero], [zero, zero, one]]
    return np.moveaxis(np.array(rows), -1, 0)


@lru_cache(maxsize=32)
def _symmetries(half_size: tuple[float, float, float]) -> Float[np.ndarray, "turn 3 3"]:
    """Rotations that map a box onto itself: signed permutations of its axes that keep its size."""
    size, found = np.asarray(half_size), []
    for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]):
        for signs in np.ndindex(2, 2, 2):
            rot = np.eye(3)[order] * (1 - 2 * np.asarray(signs))[:, None]
            if np.linalg.det(rot) > 0 and np.allclose(np.abs(rot) @ size, size):
                found.append(rot)
    return np.stack(found)
