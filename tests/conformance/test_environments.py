"""Every world that others wrote keeps the contract of environments."""

import pytest

from sim.environments.dm_control import DmControlConfig, Reacher
from sim.environments.environment import Environment
from sim.environments.mujoco_world import PictureConfig
from sim.environments.ogbench import Ogbench, OgbenchConfig
from sim.testing.environment_suite import EnvironmentSuite


class TestReacher(EnvironmentSuite):
    def make(self) -> Environment:
        return Reacher(DmControlConfig())


class TestOgbenchCubeSingle(EnvironmentSuite):
    def make(self) -> Environment:
        pytest.importorskip("ogbench")
        return Ogbench(OgbenchConfig(picture=PictureConfig(size=64, decimate=0.95, shadow=128)))
