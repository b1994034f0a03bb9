"""Who plays the episodes of a dataset: our own scene, or a world that others wrote. A player travels to the process that plays."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from robo_dream.config import dump
from robo_dream.data.episode import Episode
from robo_dream.data.spec import CameraSpec, DatasetSpec, Storage
from sim.adapters.catalogue import EnvironmentConfig, build_environment
from sim.scripts import ScriptConfig, behaviours, scripted_episode
from sim.tabletop.behaviours.play import SKILLS, PlayConfig, play_episode
from sim.tabletop.scene import SceneConfig
from sim.tabletop.start import VisualRandomization, VisualRandomizer
from sim.tabletop.world import World


@dataclass(frozen=True)
class Split:
    """How a dataset is stored, and which of its episodes are held out."""

    storage: Storage
    seed: int
    test_fraction: float


@runtime_checkable
class Player(Protocol):
    @property
    def recipe(self) -> dict[str, Any]:
        """All that decides what the episodes are."""
        ...

    def spec(self, split: Split) -> DatasetSpec:
        """What the dataset's metadata will say, the recipe left out."""
        ...

    def playing(self) -> AbstractContextManager[Callable[[int], Episode]]:
        """Plays the episode of a seed, as often as config."""
        ...


@dataclass(frozen=True)
class ScenePlayer:
    """Plays with the box in our own scene."""

    play: PlayConfig
    scene: SceneConfig

    @property
    def recipe(self) -> dict[str, Any]:
        return {"play": dump(self.play), "scene": dump(self.scene)}

    def spec(self, split: Split) -> DatasetSpec:
        with World(self.scene) as world:
            cameras = tuple(
                CameraSpec(
                    camera.name, camera.height, camera.width, world.intrinsics(camera.name),
                    tuple(tuple(float(x) for x in row) for row in world.world_from_camera(camera.name)),
                )
                for camera in self.scene.cameras
            )  # fmt: skip
            return DatasetSpec(
                world.moves.spec, cameras, sim_state_size=len(world.state), skills=SKILLS, robot_type=self.scene.arm,
                storage=split.storage, seed=split.seed, test_fraction=split.test_fraction,
            )  # fmt: skip

    @contextmanager
    def playing(self) -> Iterator[Callable[[int], Episode]]:
        with World(self.scene) as world:
            look = VisualRandomizer(world, self.play.look) if self.play.look != VisualRandomization() else None

            def play(seed: int) -> Episode:
                episode = play_episode(world, seed, self.play, look)
                if look is None:
                    return episode
                # the cameras stand a little differently in each episode
                poses = {name: world.world_from_camera(name).tolist() for name in episode.images}
                return replace(episode, info={**episode.info, "world_from_camera": poses})

            yield play


@dataclass(frozen=True)
class EnvironmentPlayer:
    """Follows the scripts of a world that others wrote."""

    script: ScriptConfig
    world: EnvironmentConfig

    @property
    def recipe(self) -> dict[str, Any]:
        with build_environment(self.world) as environment:
            about = dict(environment.about)
        return {"script": dump(self.script), "world": dump(self.world), "about": about}

    def spec(self, split: Split) -> DatasetSpec:
        with build_environment(self.world) as environment:
            return DatasetSpec(
                environment.action_spec, environment.cameras, sim_state_size=len(environment.state),
                num_objects=len(environment.ground_truth().object_poses), skills=behaviours(environment),
                robot_type=f"{self.world.kind} {self.world.env}", storage=split.storage, seed=split.seed, test_fraction=split.test_fraction,
                picture_every=self.script.picture_every if environment.cameras else 1,
            )  # fmt: skip

    @contextmanager
    def playing(self) -> Iterator[Callable[[int], Episode]]:
        with build_environment(self.world) as environment:
            yield lambda seed: scripted_episode(environment, seed, self.script)
