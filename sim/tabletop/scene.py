"""A table, an arm, objects and cameras as one MuJoCo model, built with dm_control's mjcf."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import mujoco
import numpy as np
from dm_control import mjcf
from pydantic import Field

from robo_dream.errors import ConfigError
from robo_dream.schema import Fraction, Name, Unit, Words, configuration
from sim.rendering import compile_decimated
from sim.tabletop.arms import jaco, menagerie, so101, ur5e, ur5e_shapes, xarm6
from sim.tabletop.arms.model import ArmModel
from sim.tabletop.randomization import Randomization
from sim.tabletop.varied import FRICTION, TABLE_COLOUR, add_variable_parts

ARMS = {
    "jaco": jaco.build, "so101": so101.build, "ur5e": ur5e.build, "ur5e_shapes": ur5e_shapes.build, "xarm6": xarm6.build,
}  # fmt: skip
TIMESTEP = 0.004  # s; contacts of hand and box stay stable, twice dm_control's step


Place = Annotated[float, Field(ge=-100, le=100), Unit("m")]
HalfSize = Annotated[float, Field(ge=0.001, le=10), Unit("m")]


@configuration
class CameraConfig:
    """Where a camera stands and looks, in metres; vertical field of view in degrees; picture size in pixels.

    `oversample`: drawn so many times as wide and high, and averaged, as a real camera's larger picture is cut down; with 5, 96 px are as
    a 640x480 camera sees them.
    """

    name: Name
    pos: tuple[Place, Place, Place]
    look_at: tuple[Place, Place, Place]
    fovy: Annotated[float, Field(ge=1, lt=180), Unit("degrees")] = 35.0
    width: Annotated[int, Field(ge=16, le=2_048), Unit("px")] = 96
    height: Annotated[int, Field(ge=16, le=2_048), Unit("px")] = 96
    oversample: Annotated[int, Field(ge=1, le=8)] = 1


@configuration
class BoxConfig:
    """A free box: half size in metres, mass in kilograms, colour as red, green, blue in 0..1."""

    name: Name = "object"
    half_size: tuple[HalfSize, HalfSize, HalfSize] = (0.03, 0.03, 0.03)
    mass: Annotated[float, Field(ge=1e-4, le=1000), Unit("kg")] = 0.2
    colour: tuple[Fraction, Fraction, Fraction] = (0.85, 0.15, 0.1)


FRONT = CameraConfig("front", (0.95, 0.0, 0.58), (0.43, 0.0, 0.08))
SIDE = CameraConfig("side", (0.43, 0.62, 0.42), (0.43, 0.0, 0.09))


Boxes = Annotated[tuple[BoxConfig, ...], Field(min_length=1, max_length=100), Words("a list of boxes; a scene needs at least one object")]


@configuration
class SceneConfig:
    """What stands in the world. The first object is the one that tasks move.

    `decimate` is the fraction of each mesh's triangles that is left out of the pictures; physics keeps them all.
    `randomization`: what is drawn anew for each episode; null keeps the scene as it is said here.
    """

    kind: Literal["tabletop"] = "tabletop"
    arm: str = "jaco"
    cameras: tuple[CameraConfig, ...] = (FRONT, SIDE)
    objects: Boxes = field(default_factory=lambda: (BoxConfig(),))
    decimate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    randomization: Randomization | None = None

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise ConfigError(f"camera names must differ; got {names}")


@dataclass(frozen=True)
class Scene:
    """The compiled model and the names and addresses by which the world finds its parts."""

    config: SceneConfig
    model: mujoco.MjModel
    arm: ArmModel
    joint_names: tuple[str, ...]
    finger_names: tuple[str, ...]
    tool_site: str
    object_qpos: tuple[int, ...]  # start of each object's (xyz, wxyz) in qpos
    servos: np.ndarray  # actuator of each joint
    finger_servos: np.ndarray
    passive_joints: tuple[tuple[str, float], ...] = ()  # and their angle as a multiple of the fingers'


Additions = Callable[[mjcf.RootElement, ArmModel], None]
"""Puts more into a scene before it is compiled: given the world and the arm that is attached to it."""


def build_scene(config: SceneConfig, additions: Additions | None = None) -> Scene:
    """Raises `ConfigError` for an arm that is not known, `MissingExtraError` for one that an optional package brings."""
    arm = _arm(config.arm)
    root = _table()
    root.option.integrator = arm.integrator
    root.attach(arm.root)
    for box in config.objects:
        body = root.worldbody.add("body", name=box.name, pos=(0.43, 0, box.half_size[2]))
        body.add("freejoint", name=box.name)
        body.add(
            "geom", name=box.name, type="box", size=box.half_size, mass=box.mass, rgba=(*box.colour, 1),
            friction=FRICTION, condim=4, priority=1,
        )  # fmt: skip
    for camera in config.cameras:
        root.worldbody.add("camera", name=camera.name, pos=camera.pos, xyaxes=_axes(camera), fovy=camera.fovy)
    if config.randomization is not None:
        add_variable_parts(root, config.randomization, [(box.name, box.half_size) for box in config.objects])
    if additions is not None:
        additions(root, arm)
    xml, assets = root.to_xml_string(), root.get_assets()
    spec = mujoco.MjSpec.from_string(xml, assets=assets)
    model = compile_decimated(spec, config.decimate) if config.decimate else spec.compile()
    joint_names = tuple(joint.full_identifier for joint in arm.joints)
    return Scene(
        config=config,
        model=model,
        arm=arm,
        joint_names=joint_names,
        finger_names=tuple(joint.full_identifier for joint in arm.finger_joints),
        tool_site=arm.tool_site.full_identifier,
        object_qpos=tuple(int(model.joint(box.name).qposadr[0]) for box in config.objects),
        servos=np.array([model.actuator(servo.full_identifier).id for servo in arm.servos]),
        finger_servos=np.array([model.actuator(servo.full_identifier).id for servo in arm.finger_servos], np.int64),
        passive_joints=tuple((joint.full_identifier, ratio) for joint, ratio in arm.passive_joints),
    )


def _arm(name: str) -> ArmModel:
    kind, _, source = name.partition(":")
    if kind == "menagerie" and source:
        return menagerie.build(source)
    if name not in ARMS:
        raise ConfigError(f"no arm named {name!r}; known: {', '.join(sorted(ARMS))}, menagerie:FOLDER and menagerie:NAME")
    return ARMS[name]()


def _table() -> mjcf.RootElement:
    root = mjcf.RootElement(model="world")
    root.compiler.angle = "radian"
    root.option.timestep = TIMESTEP
    root.option.cone = "elliptic"
    root.option.impratio = 5  # less slip in the hand
    root.visual.headlight.set_attributes(ambient=(0.35, 0.35, 0.35), diffuse=(0.3, 0.3, 0.3), specular=(0, 0, 0))
    root.visual.quality.set_attributes(offsamples=0, shadowsize=0)
    root.visual.map.znear = 0.02
    root.asset.add("texture", name="sky", type="skybox", builtin="flat", rgb1=(0.55, 0.6, 0.68), rgb2=(0.55, 0.6, 0.68), width=8, height=48)
    root.worldbody.add("light", name="lamp", pos=(0.6, 0.4, 1.6), dir=(-0.1, -0.25, -1), diffuse=(0.55, 0.55, 0.55), castshadow=False)
    root.worldbody.add("geom", name="table", type="box", size=(0.5, 0.6, 0.02), pos=(0.35, 0, -0.02), rgba=(*TABLE_COLOUR, 1))
    return root


def _axes(camera: CameraConfig) -> np.ndarray:
    """The camera's x and y axes in the world (MuJoCo cameras look along their negative z axis)."""
    back = np.subtract(camera.pos, camera.look_at).astype(float)
    back /= np.linalg.norm(back)
    right = np.cross((0.0, 0.0, 1.0), back)
    if np.linalg.norm(right) < 1e-6:
        raise ConfigError(f"camera {camera.name!r} looks straight down or up; move it a little to the side so that its right is defined")
    right /= np.linalg.norm(right)
    return np.concatenate([right, np.cross(back, right)])
