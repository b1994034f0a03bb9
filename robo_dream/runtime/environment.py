"""Any world by the `kind` of its configuration: our tabletop, or one that others wrote."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robo_dream.config import parse
from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.files import packaged
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.baselines import PolicyAloneConfig, RandomConfig, ZeroActionConfig
from robo_dream.renamed import with_new_blocks
from robo_dream.runtime.planner import PlanningConfig
from sim.adapters.car_racing import CarRacing, CarRacingConfig
from sim.adapters.dm_control import DmControlConfig, Reacher
from sim.adapters.metaworld import Metaworld, MetaworldConfig
from sim.adapters.ogbench import Ogbench, OgbenchConfig
from sim.adapters.pusht import PushT, PushTConfig
from sim.adapters.vizdoom import Vizdoom, VizdoomConfig
from sim.crossing import Crossing, CrossingConfig
from sim.environment import Environment, Game, Simulation, task_named
from sim.physics.drawn import DrawnDynamics
from sim.physics.oracle import OracleDynamics, PhysicsOracle, StillDynamics
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import SceneConfig
from sim.tabletop.tasks.catalogue import TASKS

WorldConfig = SceneConfig | OgbenchConfig | DmControlConfig | MetaworldConfig | PushTConfig | CrossingConfig
GameConfig = VizdoomConfig | CarRacingConfig
MANIFESTS = Path("configs/manifests")


@dataclass(frozen=True)
class _World:
    """A block of a configuration that says a world alone."""

    world: WorldConfig = field(default_factory=SceneConfig)


def build_environment(config: WorldConfig | None = None) -> Environment:
    """The world of `config`, the default tabletop without; close it when done.

    Raises `MissingExtraError` where a package that it needs is not installed.
    """
    match config:
        case None:
            return Tabletop()
        case SceneConfig():
            return Tabletop(config)
        case OgbenchConfig():
            return Ogbench(config)
        case DmControlConfig():
            return Reacher(config)
        case MetaworldConfig():
            return Metaworld(config)
        case PushTConfig():
            return PushT(config)
        case CrossingConfig():
            return Crossing(config)


def build_game(config: GameConfig) -> Game:
    """The game of `config`; close it when done. Raises `MissingExtraError` where a package that it needs is not installed."""
    return CarRacing(config) if isinstance(config, CarRacingConfig) else Vizdoom(config)


def world_of(info: CheckpointInfo | None, path: Path) -> WorldConfig:
    """The world that the checkpoint in `path` was trained in, as it says itself; the default tabletop where there is no checkpoint.

    Raises `CheckpointError` where it does not say, as after training on recordings of a bench.
    """
    if info is None:
        return SceneConfig()
    made = info.recipe.get("data", {})
    made = with_new_blocks(made["parts"][0] if made.get("parts") else made)
    said = info.settings.world or made.get("world")
    if not said:
        raise CheckpointError(f"{path} does not say which world it was trained in; give one, such as world.kind=tabletop")
    return world_in(said, f"{path}")


def world_in(said: Mapping[str, Any], source: str) -> WorldConfig:
    """The world that a checkpoint or a dataset tells of; raises `ConfigError`."""
    return parse(_World, {"world": said}, source).world


def tasks_in(world: WorldConfig) -> tuple[str, ...]:
    """The names of its tasks, without building it."""
    match world:
        case SceneConfig():
            return tuple(TASKS)
        case OgbenchConfig():
            return world.env.partition("-")[0], "five_tasks"
        case DmControlConfig():
            return ("reach",)
        case MetaworldConfig():
            return "expert", "near"
        case PushTConfig():
            return ("push",)
        case CrossingConfig():
            return ("cross",)


def name_of(world: WorldConfig | GameConfig) -> str:
    """In words: the arm of a tabletop, else package and environment."""
    return world.arm if isinstance(world, SceneConfig) else f"{world.kind} {world.env}"


def manifests_of(world: WorldConfig) -> Path:
    """The folder of its frozen pairs; those of the tabletop's usual arm lie beside the folders of other worlds and arms.

    Those of a randomized scene lie apart, by what of its looks is held out.
    """
    if isinstance(world, SceneConfig):
        if world.randomization is not None:
            return MANIFESTS / "_".join((world.arm.replace(":", "_"), "randomized", *world.randomization.held_out))
        return MANIFESTS if world.arm == SceneConfig().arm else MANIFESTS / world.arm.replace(":", "_")
    return MANIFESTS / f"{world.kind}_{world.env}".replace("-", "_")


def usual_tasks(world: WorldConfig, manifests: Path) -> tuple[str, ...]:
    """What is tried where nobody names a task: those that have frozen pairs, of a tabletop the three that one arm does alone."""
    if isinstance(world, SceneConfig):
        alone = ("reach", "push", "lift")
        return tuple(task for task in alone if packaged(manifests / f"{task}.safetensors").is_file()) or alone
    found = tuple(
        path.stem for path in sorted(packaged(manifests).glob("*.safetensors")) if path.stem != "five_tasks"
    )  # those take minutes each
    if not found:
        raise ConfigError(f"no task is named, and {manifests} holds no frozen pairs; name a task, such as task=push")
    return found


def oracle_dynamics(environment: Environment, action_block: int = 5) -> OracleDynamics:
    """The world itself as a world model, in this thread alone."""
    if isinstance(environment, Tabletop) and environment.scene.config.randomization is None:
        return PhysicsOracle(environment, action_block, num_threads=1)
    return OracleDynamics(environment, action_block)


def drawn_dynamics(environment: Environment, model: LatentVideoModel) -> DrawnDynamics:
    """The world itself, seen through `model`."""
    return DrawnDynamics(oracle_dynamics(environment, model.action_block), environment, model)


def still_dynamics(environment: Environment) -> OracleDynamics:
    """For planners that heed no future, where nothing has been trained."""
    return StillDynamics(environment)


def require_same_world(model: LatentVideoModel, world: Simulation, path: Path) -> None:
    """Raises `CheckpointError` listing how the checkpoint's body and cameras differ from the world's."""
    found = [f"action {sentence}" for sentence in model.action_spec.differences(world.action_spec)]
    _require_none([*found, *_other_cameras(model, world)], path)


def require_same_cameras(model: LatentVideoModel, world: Simulation, path: Path) -> None:
    """Raises `CheckpointError` listing how the checkpoint's cameras differ from the world's."""
    _require_none(_other_cameras(model, world), path)


def _require_none(found: list[str], path: Path) -> None:
    if found:
        raise CheckpointError(f"{path} was trained in another world than this: {'; '.join(found)}. Change `world`, or train in it")


def _other_cameras(model: LatentVideoModel, world: Simulation) -> list[str]:
    found = []
    there = {camera.name: camera for camera in world.cameras}
    side = model.spec.config.image_size
    for name in model.cameras:
        if name not in there:
            found.append(f"camera {name!r} is missing; the world has {sorted(there)}")
        elif (there[name].height, there[name].width) != (side, side):
            found.append(f"camera {name!r} is {there[name].width} x {there[name].height} px; the model was trained on {side} x {side}")
    return found


def require_fitting_cost(environment: Environment, task: str, planning: PlanningConfig) -> None:
    """Raises `ConfigError` where a task is about objects and the cost leaves out where they are."""
    if isinstance(planning.planner, PolicyAloneConfig | ZeroActionConfig | RandomConfig):
        return
    cost, parts = planning.cost, planning.cost.pose_parts
    heeds_objects = cost.distance > 0 or cost.latent > 0 or (cost.pose > 0 and parts.object_pos > 0) or cost.local_goal is not None
    if task_named(environment, task).criterion.is_about_objects and not heeds_objects:
        raise ConfigError(
            f"task {task!r} is about objects, but the cost leaves out where they are (cost.pose_parts.object_pos is {parts.object_pos}, "
            f"cost.pose {cost.pose}); set planning.cost.pose_parts.object_pos=100, as for a world with objects"
        )
