"""Where episodes start, and how the look of the world varies between them."""

from typing import Annotated

import numpy as np
from pydantic import Field

from robo_dream.control.cartesian import downward_quat
from robo_dream.embodiment import Pose
from robo_dream.errors import ConfigError
from robo_dream.schema import Fraction, Unit, configuration
from sim.tabletop.randomization import MOST_SEEDS
from sim.tabletop.world import World

_CLEARANCE = 0.10  # m between tool and objects at the start
_MARGIN = 0.05  # m that objects keep from the ends of the arm's workspace
_MAX_TRIES = 200


Place = Annotated[float, Field(ge=-10, le=10), Unit("m")]
Yaw = Annotated[float, Field(ge=-7, le=7), Unit("rad")]


@configuration
class StartRanges:
    """Ranges from which a start is drawn, uniformly. Metres and radians; `tool_*` are drawn over the arm's workspace."""

    object_low: tuple[Place, Place] = (0.33, -0.14)
    object_high: tuple[Place, Place] = (0.53, 0.14)
    tool_z: tuple[Place, Place] = (0.06, 0.26)
    tool_yaw: tuple[Yaw, Yaw] = (-0.6, 0.6)
    closed_fraction: Fraction = 0.3  # of starts have the hand (half) closed

    def __post_init__(self) -> None:
        for low, high in (*zip(self.object_low, self.object_high, strict=True), self.tool_z, self.tool_yaw):
            if low > high:
                raise ConfigError(f"{self} has a range from {low} to {high}; give the lower end first")


@configuration
class VisualRandomization:
    """How much the look varies from episode to episode; zeros keep the scene as it was built."""

    colour: Fraction = 0.0  # of objects and table, in 0..1 of each channel
    light: Fraction = 0.0  # fraction of brightness
    camera_pos: Annotated[float, Field(ge=0, le=1), Unit("m")] = 0.0  # m, standard deviation
    camera_turn: Annotated[float, Field(ge=0, le=1), Unit("rad")] = 0.0  # rad, standard deviation


def draw_start(world: World, rng: np.random.Generator, config: StartRanges | None = None) -> None:
    """Puts objects and arm at a random start, at rest, clear of each other; where the scene is randomized, it is drawn anew before."""
    config = config or StartRanges()
    limits = world.scene.arm.limits
    if world.scene.config.randomization is not None:
        world.vary(int(rng.integers(MOST_SEEDS)))
    world.home()
    object_low = np.maximum(config.object_low, np.add(limits.workspace_low[:2], _MARGIN))  # a small arm's table is smaller
    object_high = np.minimum(config.object_high, np.subtract(limits.workspace_high[:2], _MARGIN))
    tool_z = np.minimum(config.tool_z, limits.workspace_high[2])
    spots: list[np.ndarray] = []
    for index in range(len(world.scene.config.objects)):
        for _ in range(_MAX_TRIES):
            spot = rng.uniform(object_low, object_high)
            if all(np.linalg.norm(spot - other) > 0.11 for other in spots):
                break
        spots.append(spot)
        turn = rng.uniform(-np.pi, np.pi)
        world.set_object(np.array([*spot, world.half_size(index)[2], np.cos(turn / 2), 0, 0, np.sin(turn / 2)]), index)
    for _ in range(_MAX_TRIES):
        tool = rng.uniform(limits.workspace_low, limits.workspace_high)
        tool[2] = rng.uniform(*tool_z)
        if all(np.linalg.norm(tool - world.object_poses[i, :3]) > _CLEARANCE for i in range(len(spots))):
            break
    yaw = rng.uniform(*config.tool_yaw)
    grip = rng.uniform(0.4, 1.0) if rng.random() < config.closed_fraction else 0.0
    joints = world.kinematics.inverse(np.asarray(world.scene.arm.home), Pose(tool, downward_quat(yaw)), 200)
    world.set_arm(joints, grip)


class VisualRandomizer:
    """Draws the look of an episode: colours, light and camera poses around those of the scene as built."""

    def __init__(self, world: World, config: VisualRandomization) -> None:
        self._world = world
        self._config = config
        self._painted = [world.model.geom(name).id for name in ("table", *(box.name for box in world.scene.config.objects))]

    def draw(self, rng: np.random.Generator) -> None:
        model, config, built = self._world.model, self._config, self._world.as_built
        shift = rng.uniform(-config.colour, config.colour, (len(self._painted), 3))
        model.geom_rgba[self._painted, :3] = np.clip(built.colour[self._painted, :3] + shift, 0, 1)
        model.light_diffuse[:] = built.light * (1 + rng.uniform(-config.light, config.light))
        model.cam_pos[:] = built.camera_pos + rng.normal(0, 1, built.camera_pos.shape) * config.camera_pos
        for i, quat in enumerate(built.camera_quat):
            axis = rng.normal(0, config.camera_turn, 3)
            turn = np.array([1.0, *(axis / 2)])
            w, xyz = turn[0], turn[1:]
            product = np.array([w * quat[0] - xyz @ quat[1:], *(w * quat[1:] + quat[0] * xyz + np.cross(xyz, quat[1:]))])
            model.cam_quat[i] = product / np.linalg.norm(product)
