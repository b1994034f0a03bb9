"""A scene whose looks, objects and physics can be changed in place, without compiling it anew: what is added to it, and the changes."""

from collections.abc import Sequence

import mujoco
import numpy as np
from dm_control import mjcf

from robo_dream.control.cartesian import MoveLimits
from sim.tabletop.objects import Part, Size, bounds_of, parts_of, weight_of
from sim.tabletop.patterns import SIZE, Colour, Pattern, texture
from sim.tabletop.randomization import Distractor, DrawnCamera, DrawnObject, Randomization, Variation, lamp_direction

TABLE_COLOUR: Colour = (0.62, 0.66, 0.6)
FRICTION = (1.0, 0.01, 0.0005)
_SHADOWS = 512  # px of the shadow map
_SHOWN, _HIDDEN = 0, 3  # groups; pictures show 0 to 2
_TABLE_LOW, _TABLE_HIGH = np.array([-0.15, -0.6]), np.array([0.85, 0.6])  # m
_CLEAR, _FAR = 0.11, 0.26  # m from the arm's workspace to where things stand about; farther off no camera sees them
_BESIDE = 0.14  # m from the arm's base, to both sides
_EDGE = 0.05  # m to the table's edge
_SHAPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
}


def add_variable_parts(root: mjcf.RootElement, config: Randomization, objects: Sequence[tuple[str, Size]]) -> None:
    """What the changes need to be there when the scene is compiled: geoms for every kind, textures, things that stand about, shadows."""
    most = max(len(parts_of(kind, (0.03, 0.03, 0.03))) for kind in config.kinds)
    for name, half_size in objects:
        body = root.find("body", name)
        # off centre, so that the compiler expects any inertia; told anew with every change
        body.add("inertial", pos=(0.001, 0.002, 0.003), mass=0.1, diaginertia=(1e-4, 1.1e-4, 1.2e-4))
        for number in range(1, most):
            body.add(
                "geom", name=f"{name}_part{number}", type="box", size=half_size, friction=FRICTION, condim=4, priority=1,
            )  # fmt: skip
    if config.visual.patterns > 0:
        _add_texture(root, "table", "2d", root.find_all("geom"), ("table",))
        for name, _ in objects:
            _add_texture(root, name, "cube", root.find_all("geom"), (name, *(f"{name}_part{number}" for number in range(1, most))))
    for number in range(config.visual.distractors):
        root.worldbody.add(
            "geom", name=f"distractor{number}", type="box", size=(0.01, 0.01, 0.01), contype=0, conaffinity=0, group=_HIDDEN, mass=0
        )
    if config.visual.shadows > 0:
        root.visual.quality.shadowsize = _SHADOWS


def _add_texture(root: mjcf.RootElement, name: str, kind: str, geoms: Sequence[mjcf.Element], names: Sequence[str]) -> None:
    made = root.asset.add("texture", name=f"{name}_pattern", type=kind, builtin="flat", width=SIZE, height=SIZE, rgb1=(1, 1, 1))
    material = root.asset.add("material", name=f"{name}_material", texture=made)
    for geom in geoms:
        if geom.name in names:
            geom.material = material


class VariedModel:
    """Changes `model`, made with `add_variable_parts`, to any variation and back. Nothing is left of the last one."""

    def __init__(
        self, model: mujoco.MjModel, config: Randomization, objects: Sequence[tuple[str, Size, float, Colour]], limits: MoveLimits
    ) -> None:
        """`objects`: name, half size (m), mass (kg) and colour as the scene says them."""
        self._model, self._config, self._objects = model, config, tuple(objects)
        self._free = _free_places(limits)
        self._scratch = mujoco.MjData(model)
        self._geom_rgba, self._mat_rgba = model.geom_rgba.copy(), model.mat_rgba.copy()
        self._lights = tuple(part.copy() for part in (model.light_pos, model.light_dir, model.light_diffuse))
        self._head = model.vis.headlight.ambient.copy(), model.vis.headlight.diffuse.copy()
        self._cameras = model.cam_pos.copy(), model.cam_quat.copy(), model.cam_fovy.copy()
        names = {model.geom(index).name: index for index in range(model.ngeom)}
        parts = [(name, *(f"{name}_part{number}" for number in range(1, model.ngeom))) for name, *_ in self._objects]
        self._parts = [[names[part] for part in some if part in names] for some in parts]
        self._distractors = [names[f"distractor{number}"] for number in range(config.visual.distractors)]
        self._table = names["table"]
        others = {self._table, *self._distractors, *(geom for some in self._parts for geom in some)}
        self._arm = np.array([geom for geom in range(model.ngeom) if geom not in others])
        self._arm_materials = np.unique(model.geom_matid[self._arm][model.geom_matid[self._arm] >= 0])
        self._sky = self._texture("sky")
        red, green, blue = (float(part) for part in self._pixels(self._sky)[0, 0] / 255)
        self._sky_colour: Colour = (red, green, blue)
        for index, geoms in enumerate(self._parts):
            model.geom_sameframe[geoms] = 0  # geoms are moved within their body
            model.body_sameframe[model.body(self._objects[index][0]).id] = 0
        model.geom_sameframe[self._distractors] = 0

    def apply(self, variation: Variation | None) -> tuple[int, ...]:
        """Makes the model `variation`, or what the scene says; returns the textures that a renderer must be given again."""
        sky, table, pattern = self._sky_colour, TABLE_COLOUR, Pattern()
        if variation is not None:
            sky, table, pattern = variation.background or sky, variation.table or table, variation.table_pattern
        touched = [self._fill(self._sky, sky, Pattern()), *self._paint([self._table], "table", table, pattern, [1.0])]
        for index, (name, half_size, mass, colour) in enumerate(self._objects):
            drawn = variation.objects[index] if variation else as_built(self._config)
            parts = self._shape(index, drawn, half_size, mass)
            shades = [part.shade for part in parts]
            touched += self._paint(self._parts[index][: len(parts)], name, drawn.colour or colour, drawn.pattern, shades)
        self._tint(variation.arm if variation else (1.0, 1.0, 1.0))
        self._light(variation)
        for camera in range(self._model.ncam):
            self._camera(camera, variation.cameras.get(self._model.cam(camera).name) if variation else None)
        self._stand_about(variation.distractors if variation else ())
        mujoco.mj_setConst(self._model, self._scratch)
        return tuple(touched)

    def _shape(self, index: int, drawn: DrawnObject, half_size: Size, mass: float) -> tuple[Part, ...]:
        """Makes an object what was drawn: its geoms, its friction and its weight."""
        model, body = self._model, self._model.body(self._objects[index][0]).id
        parts = parts_of(drawn.kind, scaled(half_size, drawn.size))
        reach = max(float(np.linalg.norm(part.pos)) + part.radius for part in parts)
        for number, geom in enumerate(self._parts[index]):
            part = parts[number] if number < len(parts) else None
            model.geom_group[geom] = _SHOWN if part else _HIDDEN
            model.geom_contype[geom] = model.geom_conaffinity[geom] = int(part is not None and part.is_solid)
            if part is not None:
                model.geom_type[geom], model.geom_size[geom], model.geom_pos[geom] = part.type, part.size, part.pos
                model.geom_rbound[geom] = part.radius
                model.geom_aabb[geom] = (0, 0, 0, *part.half_extent)
                model.geom_friction[geom] = np.multiply(FRICTION, drawn.friction)
        weight = weight_of(parts, mass * drawn.mass)
        model.body_mass[body], model.body_ipos[body] = weight.mass, weight.centre
        model.body_inertia[body], model.body_iquat[body] = weight.inertia, weight.quat
        first, count = model.body_bvhadr[body], model.body_bvhnum[body]
        model.bvh_aabb[first : first + count] = (0, 0, 0, *3 * [2 * reach])  # around the centre of mass: whatever is near is looked at
        return parts

    def _paint(self, geoms: Sequence[int], name: str, colour: Colour, pattern: Pattern, shades: Sequence[float]) -> list[int]:
        """Colours geoms; returns the texture that was drawn, if they have one."""
        is_textured = self._config.visual.patterns > 0
        for geom, shade in zip(geoms, shades, strict=True):
            self._model.geom_rgba[geom, :3] = shade * np.ones(3) if is_textured else shade * np.asarray(colour)
        return [self._fill(self._texture(f"{name}_pattern"), colour, pattern)] if is_textured else []

    def _texture(self, name: str) -> int:
        return int(self._model.texture(name).id)

    def _pixels(self, index: int) -> np.ndarray:
        """The texture's own memory, (height, width, 3)."""
        model = self._model
        height, width, first = int(model.tex_height[index]), int(model.tex_width[index]), int(model.tex_adr[index])
        return model.tex_data[first : first + 3 * height * width].reshape(height, width, 3)

    def _fill(self, index: int, colour: Colour, pattern: Pattern) -> int:
        pixels = self._pixels(index)
        if pattern.kind == "plain":
            pixels[:] = np.rint(255 * np.asarray(colour))
        else:
            pixels[:] = np.tile(texture(colour, pattern), (pixels.shape[0] // SIZE, 1, 1))
        return index

    def _tint(self, tint: Colour) -> None:
        model, arm, materials = self._model, self._arm, self._arm_materials
        model.geom_rgba[arm, :3] = np.clip(self._geom_rgba[arm, :3] * tint, 0, 1)
        model.mat_rgba[materials, :3] = np.clip(self._mat_rgba[materials, :3] * tint, 0, 1)

    def _light(self, variation: Variation | None) -> None:
        model, head = self._model, self._model.vis.headlight
        pos, direction, diffuse = self._lights
        lamp, everywhere = variation.brightness if variation else (1.0, 1.0)
        model.light_pos[:], model.light_dir[:] = pos, direction
        if variation and variation.lamp:
            model.light_pos[0], model.light_dir[0] = variation.lamp, lamp_direction(variation.lamp)
        model.light_diffuse[:] = diffuse * lamp
        model.light_castshadow[:] = bool(variation and variation.has_shadows)
        head.ambient[:], head.diffuse[:] = (part * everywhere for part in self._head)

    def _camera(self, camera: int, drawn: DrawnCamera | None) -> None:
        model, (pos, quat, fovy) = self._model, self._cameras
        model.cam_pos[camera], model.cam_quat[camera], model.cam_fovy[camera] = pos[camera], quat[camera], fovy[camera]
        if drawn is not None:
            turn, turned = np.empty(4), np.empty(4)
            angle = float(np.linalg.norm(drawn.turn))
            mujoco.mju_axisAngle2Quat(turn, np.asarray(drawn.turn) / max(angle, 1e-12), angle)
            mujoco.mju_mulQuat(turned, turn, quat[camera])
            model.cam_pos[camera], model.cam_quat[camera] = pos[camera] + drawn.shift, turned
            model.cam_fovy[camera] = 2 * np.rad2deg(np.arctan(np.tan(np.deg2rad(fovy[camera]) / 2) / drawn.focal_length))

    def _stand_about(self, things: Sequence[Distractor]) -> None:
        model = self._model
        for number, geom in enumerate(self._distractors):
            model.geom_group[geom] = _SHOWN if number < len(things) else _HIDDEN
            if number < len(things):
                thing = things[number]
                size = (thing.size[0],) * 3 if thing.shape == "sphere" else thing.size
                up = {"sphere": size[0], "cylinder": size[1], "capsule": size[0] + size[1]}.get(thing.shape, size[2])
                model.geom_type[geom], model.geom_size[geom] = _SHAPES[thing.shape], size
                model.geom_pos[geom] = (*_place(self._free, thing.place), up)
                model.geom_quat[geom] = (np.cos(thing.turn / 2), 0, 0, np.sin(thing.turn / 2))
                model.geom_rgba[geom, :3] = thing.colour
                model.geom_rbound[geom] = float(np.linalg.norm(size))


def as_built(config: Randomization) -> DrawnObject:
    """An object as the scene says it, of the first kind."""
    return DrawnObject(config.kinds[0], (1.0, 1.0), 1.0, 1.0, None, Pattern())


def scaled(half_size: Size, times: tuple[float, float]) -> Size:
    level, up = times
    return half_size[0] * level, half_size[1] * level, half_size[2] * up


def object_bounds(config: Randomization, variation: Variation | None, index: int, half_size: Size) -> tuple[str, Size]:
    """The kind of an object, and half the size of the box that holds it (m)."""
    drawn = variation.objects[index] if variation else as_built(config)
    return drawn.kind, bounds_of(drawn.kind, scaled(half_size, drawn.size))


Rectangle = tuple[np.ndarray, np.ndarray]


def _free_places(limits: MoveLimits) -> list[Rectangle]:
    """Parts of the table around the workspace that neither the hand nor what it moves gets to: at its sides, beyond it and by the base."""
    low, high = np.array(limits.workspace_low[:2]), np.array(limits.workspace_high[:2])
    near, far, back, front = low - _CLEAR, high + _CLEAR, low - _FAR, high + _FAR
    spans = (
        ((back[0], far[1]), (far[0], front[1])),
        ((back[0], back[1]), (far[0], near[1])),
        ((far[0], near[1]), (front[0], far[1])),
        ((back[0], _BESIDE), (near[0], far[1])),
        ((back[0], near[1]), (near[0], -_BESIDE)),
    )
    edges = _TABLE_LOW + _EDGE, _TABLE_HIGH - _EDGE
    return [(np.clip(start, *edges), np.clip(end, *edges)) for start, end in spans]


def _place(free: Sequence[Rectangle], place: tuple[float, float]) -> np.ndarray:
    """Where `place`, in 0..1, is in all of `free`: the first number runs through one rectangle after the other."""
    areas = np.array([float(np.prod(np.maximum(high - low, 0))) for low, high in free])
    ends = np.cumsum(areas / areas.sum())
    chosen = min(int(np.searchsorted(ends, place[0])), len(free) - 1)
    begin = ends[chosen - 1] if chosen else 0.0
    low, high = free[chosen]
    return low + (high - low) * [(place[0] - begin) / max(ends[chosen] - begin, 1e-12), place[1]]
