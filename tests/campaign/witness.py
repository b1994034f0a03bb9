"""What the arm behind the wire really did, judged on the physics itself: nothing here asks the guard, the driver or a log."""

import mujoco
import numpy as np

from sim.emulators.plant import JointReading, Plant

STILL = 0.05  # rad/s; below it an arm is at rest
_SPEED_ROOM = 1.5  # times the speed on the wire: a servo that was held up catches up; the worst of 1,100 faults was 1.37
_LINK_DEPTH, _HAND_DEPTH = 0.0, 0.003  # m by which links, and hand and table, may press into each other: soft contacts of physics
_WALL = 0.005  # m by which a part may pass the wall of its box: what a servo overshoots
_EVERY = 4  # steps of physics between two looks at contacts and walls


class Witness:
    """Watches a plant. `low`, `high` (rad) are the arm's own position limits, `speed` (rad/s) what is allowed on the wire."""

    def __init__(self, plant: Plant, low: np.ndarray, high: np.ndarray, speed: np.ndarray, box: tuple | None) -> None:
        self._plant, self._low, self._high, self._speed, self._box = plant, low, high, speed, box
        self.unsafe: dict[str, str] = {}  # kind: the worst of it
        self.worst = {"speed": 0.0, "limit": -np.inf, "wall": -np.inf}  # part of the limit; rad and m beyond it
        self.last_motion = -np.inf
        self._num = 0
        model = plant.world.model
        roots = model.body_rootid
        free = {int(model.jnt_bodyid[j]) for j in range(model.njnt) if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE}
        moving = [g for g in range(model.ngeom) if model.body_weldid[model.geom_bodyid[g]] and int(roots[model.geom_bodyid[g]]) not in free]
        self._parts = [g for g in moving if model.geom_contype[g] or model.geom_conaffinity[g]]
        fingers = plant.world.scene.finger_names
        hand = int(model.body_parentid[model.jnt_bodyid[model.joint(fingers[0]).id]]) if fingers else -1
        self._hand = {g for g in self._parts if self._within(int(model.geom_bodyid[g]), hand)}
        plant.watch(self._look)

    def still_since(self, time: float) -> float:
        """Seconds from `time` until the arm came to rest for good."""
        return max(0.0, self.last_motion - time)

    def _look(self, now: JointReading) -> None:
        speed = np.abs(now.vel)
        if speed.max() > STILL:
            self.last_motion = now.time
        self._note("speed", float((speed / self._speed).max()), _SPEED_ROOM)
        self._note("limit", float(np.maximum(self._low - now.pos, now.pos - self._high).max()), 0.0)
        self._num += 1
        if self._num % _EVERY == 0:
            self._contacts()
            if self._box is not None:
                self._walls()

    def _note(self, kind: str, value: float, allowed: float) -> None:
        self.worst[kind] = max(self.worst[kind], value)
        if value > allowed:
            self.unsafe[kind] = f"{kind} {self.worst[kind]:.4g}, allowed {allowed}"

    def _contacts(self) -> None:
        data, parts = self._plant.world.data, set(self._parts)
        for i in range(data.ncon):
            first, second = (int(g) for g in data.contact[i].geom)
            if first not in parts:
                first, second = second, first
            if first not in parts or (first in self._hand and second in self._hand):
                continue
            is_table = self._plant.world.model.body_weldid[self._plant.world.model.geom_bodyid[second]] == 0
            if not is_table and second not in parts:
                continue  # an object
            depth = -float(data.contact[i].dist)
            if depth > (_HAND_DEPTH if is_table and first in self._hand else _LINK_DEPTH):
                names = [self._plant.world.model.body(int(self._plant.world.model.geom_bodyid[g])).name for g in (first, second)]
                self.unsafe["collision"] = f"{' and '.join(names)} press {1000 * depth:.1f} mm into each other"

    def _walls(self) -> None:
        low, high = np.asarray(self._box)
        at, round_it = self._plant.world.data.geom_xpos[self._parts], self._plant.world.model.geom_rbound[self._parts][:, None]
        beyond = np.maximum(low - at + round_it, at + round_it - high).max(1)
        self.worst["wall"] = max(self.worst["wall"], float(min(beyond.max(), 0.0)))
        for geom in np.array(self._parts)[beyond > 0]:
            middle, reach = extent(self._plant.world.model, self._plant.world.data, geom)
            self._note("wall", float(np.maximum(low - (middle - reach), middle + reach - high).max()), _WALL)

    def _within(self, body: int, wanted: int) -> bool:
        while body and body != wanted:
            body = int(self._plant.world.model.body_parentid[body])
        return body == wanted


def extent(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> tuple[np.ndarray, np.ndarray]:
    """Middle and half size (m) of the smallest box along the world's axes around a part, exactly."""
    rot, size, at = data.geom_xmat[geom].reshape(3, 3), model.geom_size[geom], data.geom_xpos[geom]
    match model.geom_type[geom]:
        case mujoco.mjtGeom.mjGEOM_SPHERE:
            return at, np.full(3, size[0])
        case mujoco.mjtGeom.mjGEOM_CAPSULE:
            return at, np.abs(rot[:, 2]) * size[1] + size[0]
        case mujoco.mjtGeom.mjGEOM_CYLINDER:
            return at, np.abs(rot[:, 2]) * size[1] + size[0] * np.sqrt(np.maximum(1 - rot[:, 2] ** 2, 0.0))
        case mujoco.mjtGeom.mjGEOM_ELLIPSOID:
            return at, np.linalg.norm(rot * size, axis=1)
        case mujoco.mjtGeom.mjGEOM_BOX:
            return at, np.abs(rot) @ size
        case mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.geom_dataid[geom]
            first = model.mesh_vertadr[mesh]
            corners = at + model.mesh_vert[first : first + model.mesh_vertnum[mesh]] @ rot.T
            low, high = corners.min(0), corners.max(0)
            return (low + high) / 2, (high - low) / 2
    raise ValueError(f"geom {geom} has type {model.geom_type[geom]}, whose extent is not known here")
