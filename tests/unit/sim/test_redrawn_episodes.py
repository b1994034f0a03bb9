"""Episodes shown again: all but their pictures is as it was, and the looks are those that the seed draws."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_dream.data.cache import open_dataset
from robo_dream.data.episode import Episode
from robo_dream.errors import ConfigError, ContractError, DataError
from robo_dream.runtime.collect import CollectConfig, collect, committed_seeds, dataset_spec, seeds_of
from sim.scripts import scripted_episode
from sim.tabletop.behaviours.play import PlayConfig
from sim.tabletop.environment import Tabletop
from sim.tabletop.randomization import PhysicsRanges, Randomization, VisualRanges
from sim.tabletop.redrawn import RedrawnConfig, redrawn_episode
from sim.tabletop.scene import CameraConfig, SceneConfig

SCENE = SceneConfig(cameras=(CameraConfig("front", (0.95, 0.0, 0.58), (0.43, 0.0, 0.08), width=32, height=32),))
PLAYED = replace(SCENE, randomization=Randomization(physics=PhysicsRanges(mass=(0.5, 3.0))))
LOOKS = replace(SCENE, randomization=Randomization(VisualRanges(colours=1.0, camera_pos=0.02, distractors=3)))
PLAY = PlayConfig(num_steps=6)


@pytest.fixture(scope="module")
def world() -> Iterator[Tabletop]:
    with Tabletop(LOOKS) as world:
        yield world


@pytest.fixture(scope="module")
def played() -> Episode:
    with Tabletop(PLAYED) as world:
        return scripted_episode(world, 4, PLAY)


def test_only_pictures_differ_and_the_seed_decides_them(world: Tabletop, played: Episode) -> None:
    config = RedrawnConfig(Path("played"))
    first, again, other = (redrawn_episode(world, played, config, seed) for seed in (0, 0, 1))
    for name in ("proprio", "actions", "object_pose", "times", "skill", "seed", "task"):
        np.testing.assert_array_equal(getattr(first, name), getattr(played, name))
    np.testing.assert_array_equal(first.images["front"], again.images["front"])
    assert all((first.images["front"][frame] != other.images["front"][frame]).any() for frame in range(7))
    assert len(set(first.info["redrawn"]["seeds_of_looks"])) == 7


def test_a_redrawn_state_brings_its_picture_back(world: Tabletop, played: Episode) -> None:
    episode = redrawn_episode(world, played, RedrawnConfig(Path("played"), 2), 0)
    drawn = [state[-2] for state in episode.sim_state]  # which says the seed of the looks
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3] != drawn[4]
    for frame in (5, 0):
        world.set_state(episode.sim_state[frame])
        np.testing.assert_array_equal(world.image("front"), episode.images["front"][frame])


def test_arm_and_objects_are_where_they_were(world: Tabletop, played: Episode) -> None:
    for state, pose, proprio in zip(played.sim_state, played.object_pose, played.proprio, strict=True):
        world.show(state, 7)
        np.testing.assert_allclose(world.object_pose, pose, atol=1e-6)
        np.testing.assert_allclose(world.arm_state().proprio[:3], proprio[:3], atol=1e-6)
    with pytest.raises(ContractError, match="made with another scene"):
        world.show(played.sim_state[0][:5], 7)


def collected(config: CollectConfig) -> Path:
    list(collect(config, dataset_spec(config), seeds_of(config)))
    return config.out


def test_a_dataset_is_redrawn_by_seeds_and_keeps_its_split(tmp_path: Path) -> None:
    usual = collected(CollectConfig(tmp_path / "usual", 3, 11, 1, test_fraction=0.5, world=SCENE, play=PLAY))
    config = CollectConfig(tmp_path / "others", 3, 5, 1, test_fraction=0.5, world=LOOKS, redrawn=RedrawnConfig(usual))
    others = open_dataset(collected(config))
    assert [others.episode(i).seed for i in range(3)] == seeds_of(config) == [11, 12, 13]
    for i, twin in enumerate(open_dataset(usual)):
        np.testing.assert_array_equal(others.episode(i).actions, twin.actions)
        assert others.is_train(i) == open_dataset(usual).is_train(i)
        assert (others.episode(i).images["front"] != twin.images["front"]).any()
    assert others.spec.recipe["redrawn"]["dataset"]["play"]["num_steps"] == 6
    assert committed_seeds(config.out, dataset_spec(config)) == {11, 12, 13}
    with pytest.raises(DataError, match="another seed"):
        committed_seeds(config.out, dataset_spec(replace(config, seed=6)))
    with pytest.raises(DataError, match=r"has 3 episodes .* set num_episodes to at most that"):
        seeds_of(replace(config, num_episodes=4))
    with pytest.raises(DataError, match="no camera 'side'"):
        dataset_spec(replace(config, world=replace(LOOKS, cameras=(replace(SCENE.cameras[0], name="side"),))))
    with pytest.raises(DataError, match="give it the same arm and boxes"):
        dataset_spec(replace(config, world=replace(LOOKS, objects=(replace(LOOKS.objects[0], half_size=(0.02, 0.03, 0.03)),))))
    of_many = replace(SCENE, randomization=Randomization(kinds=("box", "mug")))
    mugs = collected(CollectConfig(tmp_path / "mugs", 1, 11, 1, world=of_many, play=PLAY))
    with pytest.raises(DataError, match="of many kinds or sizes"):
        dataset_spec(replace(config, redrawn=RedrawnConfig(mugs)))


def test_what_would_be_another_episode_is_refused() -> None:
    source = RedrawnConfig(Path("played"))
    with pytest.raises(ConfigError, match="varies nothing"):
        CollectConfig(world=SCENE, redrawn=source)
    with pytest.raises(ConfigError, match="give visual and held_out alone"):
        CollectConfig(world=PLAYED, redrawn=source)
