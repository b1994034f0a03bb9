"""Every world, our own and those that others wrote, keeps the contract of environments."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from robo_dream.data.camera_effects import CameraEffectRanges
from robo_dream.errors import ContractError
from sim.adapters.dm_control import DmControlConfig, Reacher
from sim.adapters.metaworld import Metaworld, MetaworldConfig
from sim.adapters.mujoco_world import PictureConfig
from sim.adapters.ogbench import Ogbench, OgbenchConfig
from sim.adapters.pusht import PushT, PushTConfig
from sim.crossing import Crossing, CrossingConfig
from sim.environment import Environment
from sim.tabletop.environment import Tabletop
from sim.tabletop.objects import Kind
from sim.tabletop.randomization import PhysicsRanges, Randomization, VisualRanges
from sim.tabletop.scene import SceneConfig
from sim.testing.environment_suite import EnvironmentSuite


class TestTabletop(EnvironmentSuite):
    def make(self) -> Environment:
        return Tabletop()

    def settle(self, world: Environment) -> None:
        world.set_state(world.state)


class TestWiderTabletop(TestTabletop):
    """With looks, kinds, physics and a lagging arm of each start's own; pictures are small."""

    def make(self) -> Environment:
        cameras = tuple(replace(camera, width=48, height=48) for camera in SceneConfig().cameras)
        visual = VisualRanges(1.0, 1.0, 1.0, 0.3, 0.0, 0.03, 0.05, 0.03, CameraEffectRanges(0.3, 0.02, 0.6, 50), 4)
        physics = PhysicsRanges((0.5, 3.0), (0.4, 1.5), (0.85, 1.15), (0.0, 0.1), (0.0, 0.02))
        kinds: tuple[Kind, ...] = ("box", "cylinder", "mug", "l_shape")
        return Tabletop(SceneConfig(cameras=cameras, randomization=Randomization(visual, physics, kinds)))


class TestReacher(EnvironmentSuite):
    def make(self) -> Environment:
        return Reacher(DmControlConfig())


class TestCrossing(EnvironmentSuite):
    def make(self) -> Environment:
        return Crossing(CrossingConfig(odds=(0.3, 0.8)))


class TestOgbenchCubeSingle(EnvironmentSuite):
    env: Literal["cube-single", "cube-double", "scene", "puzzle-3x3"] = "cube-single"

    def make(self) -> Environment:
        pytest.importorskip("ogbench")
        return Ogbench(OgbenchConfig(env=self.env, picture=PictureConfig(size=64, decimate=0.95, shadow=128)))


class TestOgbenchCubeDouble(TestOgbenchCubeSingle):
    env = "cube-double"


class TestOgbenchScene(TestOgbenchCubeSingle):
    env = "scene"


class TestOgbenchPuzzle(TestOgbenchCubeSingle):
    env = "puzzle-3x3"

    def test_a_state_of_another_world_is_refused_and_presses_nothing(self) -> None:
        with self.make() as world:
            before = world.state
            with pytest.raises(ContractError, match="made with another one"):
                world.set_state(np.ones(len(before) - 17))
            np.testing.assert_array_equal(world.state, before)

    def test_a_button_shows_whether_it_is_on_and_counts_as_higher(self) -> None:
        with self.make() as world:
            world.reset(np.random.default_rng(0))
            before, state = world.image("front_pixels"), world.state
            state[-1] = 1 - state[-1]
            was = world.ground_truth().object_poses
            world.set_state(state)
            assert np.abs(world.image("front_pixels").astype(int) - before).max() > 60
            moved = np.linalg.norm(world.ground_truth().object_poses[:, :3] - was[:, :3], axis=-1)
            np.testing.assert_allclose(moved, [0.0] * 8 + [0.1], atol=1e-9)


class TestMetaworldReach(EnvironmentSuite):
    env: Literal["reach", "reach-wall", "push", "drawer-open"] = "reach"

    def make(self) -> Environment:
        pytest.importorskip("metaworld", exc_type=ImportError)
        return Metaworld(MetaworldConfig(env=self.env, picture=PictureConfig(size=64, decimate=0.95)))


class TestMetaworldReachWall(TestMetaworldReach):
    env = "reach-wall"


class TestMetaworldPush(TestMetaworldReach):
    env = "push"


class TestMetaworldDrawerOpen(TestMetaworldReach):
    env = "drawer-open"


class TestPushT(EnvironmentSuite):
    def make(self) -> Environment:
        pytest.importorskip("gym_pusht", exc_type=ImportError)
        return PushT(PushTConfig())
