"""Whether a pose of the arm keeps to its box and clear of itself and the table, by the arm's own MuJoCo model."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.errors import ConfigError, ContractError
from robo_dream.safety.limits import Clearance


@dataclass(frozen=True)
class Breach:
    """What is wrong with a pose. `depth` is metres beyond what is allowed."""

    kind: str  # "workspace", "table" or "self"
    parts: tuple[str, ...]
    depth: float

    @property
    def sentence(self) -> str:
        where = "leaves the workspace" if self.kind == "workspace" else f"comes too near to {self.parts[-1]}"
        return f"{self.parts[0]} {where}, by {1e3 * self.depth:.1f} mm"


class CollisionCheck:
    """Looks at poses of the joints `joint_names` of `model`; `breaches` is one pass of MuJoCo's collision detection.

    What moves freely (objects) is left out. Bodies from `hand` outwards are the hand, whose parts may touch each other; the world and
    what is welded to it is the table. `fingers` gives the angle of each finger joint for an open and a closed hand. What a pose
    breaches is measured against the pose it is compared with: see `worse`.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        joint_names: Sequence[str],
        hand: str | None = None,
        fingers: Mapping[str, tuple[float, float]] | None = None,
        clearance: Clearance | None = None,
    ) -> None:
        self._clearance = clearance or Clearance()
        self._model = model = copy.deepcopy(model)
        self._data = mujoco.MjData(model)
        self._qpos = np.array([model.joint(name).qposadr[0] for name in joint_names])
        fingers = fingers or {}
        self._fingers = np.array([model.joint(name).qposadr[0] for name in fingers], np.int64)
        self._open, self._closed = np.array([ends for ends in fingers.values()], float).reshape(-1, 2).T
        free = {int(model.jnt_bodyid[j]) for j in range(model.njnt) if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE}
        root = [self._root(body, free) for body in range(model.nbody)]
        is_free = np.array(root)[model.geom_bodyid] if model.ngeom else np.zeros(0, bool)
        model.geom_contype[is_free], model.geom_conaffinity[is_free] = 0, 0
        self._is_fixed = model.body_weldid[model.geom_bodyid] == 0
        self._is_hand = np.array([self._within(int(body), hand) for body in model.geom_bodyid], bool)
        self._solid = np.flatnonzero(~is_free & ~self._is_fixed & ((model.geom_contype != 0) | (model.geom_conaffinity != 0)))
        if not len(self._solid):
            raise ConfigError("the arm's model has no part that collides; give its links collision geometry")
        margin = max(self._clearance.links, self._clearance.gripper, 0.0)
        model.geom_margin[:] = 0.0
        model.geom_margin[self._solid] = margin
        self._corners = self._local_corners()

    def breaches(self, joint_pos: Float[np.ndarray, " joint"], gripper: float = 0.0) -> tuple[Breach, ...]:
        """What is wrong with this pose, the worst first; empty when nothing is."""
        if np.shape(joint_pos) != self._qpos.shape:
            raise ContractError(f"joint positions have shape {np.shape(joint_pos)}; this arm has {len(self._qpos)} joints")
        model, data = self._model, self._data
        data.qpos[self._qpos] = joint_pos
        data.qpos[self._fingers] = self._open + gripper * (self._closed - self._open)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        found = [*self._contacts(), *self._outside()]
        return tuple(sorted(found, key=lambda breach: -breach.depth))

    def worse(self, desired: Sequence[Breach], present: Sequence[Breach], slack: float = 5e-4) -> tuple[Breach, ...]:
        """Those of `desired` that are deeper than in `present` by more than `slack` metres: an arm that is too near may move away."""
        depth = {(one.kind, one.parts): one.depth for one in present}
        return tuple(one for one in desired if one.depth > depth.get((one.kind, one.parts), 0.0) + slack)

    def least(self, desired: Sequence[Breach], present: Sequence[Breach]) -> tuple[Breach, ...]:
        """Those that are left of `present`, no deeper than there: what a way out keeps to, or `slack` would add up to a way in."""
        depth = {(one.kind, one.parts): one.depth for one in desired}
        left = [one for one in present if (one.kind, one.parts) in depth]
        return tuple(replace(one, depth=min(one.depth, depth[one.kind, one.parts])) for one in left)

    def _contacts(self) -> list[Breach]:
        found, data = {}, self._data
        if not data.ncon:
            return []
        for (first, second), dist in zip(data.contact.geom[: data.ncon].tolist(), data.contact.dist[: data.ncon].tolist(), strict=True):
            if self._is_fixed[first]:
                first, second = second, first
            if self._is_hand[first] and self._is_hand[second]:
                continue
            is_table = bool(self._is_fixed[second])
            room = self._clearance.gripper if is_table and self._is_hand[first] else self._clearance.links
            if dist < room:
                parts = (self._name(first), self._name(second))
                key = ("table" if is_table else "self", parts)
                found[key] = max(found.get(key, 0.0), room - dist)
        return [Breach(kind, parts, depth) for (kind, parts), depth in found.items()]

    def _outside(self) -> list[Breach]:
        """Parts beyond the box, by the boxes and spheres around them: never too little, and too much by a part's roundness at most."""
        if self._clearance.workspace is None:
            return []
        low, high = np.asarray(self._clearance.workspace)
        rot = self._data.geom_xmat[self._solid].reshape(-1, 3, 3)
        centre, half = self._corners
        middle = self._data.geom_xpos[self._solid] + np.einsum("gij,gj->gi", rot, centre)
        reach = np.einsum("gij,gj->gi", np.abs(rot), half)
        around, radius = self._data.geom_xpos[self._solid], self._model.geom_rbound[self._solid][:, None]
        lowest, highest = np.maximum(middle - reach, around - radius), np.minimum(middle + reach, around + radius)
        beyond = np.maximum(low - lowest, highest - high).max(1)
        return [Breach("workspace", (self._name(int(self._solid[i])),), float(beyond[i])) for i in np.flatnonzero(beyond > 0)]

    def _local_corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Centre and half size of the box around each part, in the part's own frame."""
        aabb = self._model.geom_aabb[self._solid]
        return aabb[:, :3].copy(), aabb[:, 3:].copy()

    def _name(self, geom: int) -> str:
        model = self._model
        return model.geom(geom).name or model.body(int(model.geom_bodyid[geom])).name

    def _root(self, body: int, free: set[int]) -> bool:
        """Whether `body` hangs on one that moves freely."""
        while body:
            if body in free:
                return True
            body = int(self._model.body_parentid[body])
        return False

    def _within(self, body: int, hand: str | None) -> bool:
        desired = -1 if hand is None else self._model.body(hand).id
        while body and body != desired:
            body = int(self._model.body_parentid[body])
        return body == desired
