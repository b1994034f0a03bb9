"""Every world that others wrote keeps the contract of environments."""

from typing import Literal

import pytest

from sim.environments.dm_control import DmControlConfig, Reacher
from sim.environments.environment import Environment
from sim.environments.metaworld import Metaworld, MetaworldConfig
from sim.environments.mujoco_world import PictureConfig
from sim.environments.ogbench import Ogbench, OgbenchConfig
from sim.environments.pusht import PushT, PushTConfig
from sim.testing.environment_suite import EnvironmentSuite


class TestReacher(EnvironmentSuite):
    def make(self) -> Environment:
        return Reacher(DmControlConfig())


class TestOgbenchCubeSingle(EnvironmentSuite):
    def make(self) -> Environment:
        pytest.importorskip("ogbench")
        return Ogbench(OgbenchConfig(picture=PictureConfig(size=64, decimate=0.95, shadow=128)))


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
