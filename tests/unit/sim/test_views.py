"""The two environments keep the promises of their own libraries' checkers."""

import subprocess
import sys
import unittest
import warnings
from collections.abc import Iterator

import dm_env
import numpy as np
import pytest
from dm_env import test_utils

from robo_dream.errors import ConfigError
from sim.environment import task_named
from sim.tabletop.environment import Tabletop
from sim.views.dm_environment import DmEnvironment
from sim.views.gym_environment import GymEnvironment


class TestDmEnvironment(test_utils.EnvironmentTestMixin, unittest.TestCase):
    """dm_env's own suite."""

    def make_object_under_test(self) -> DmEnvironment:
        return DmEnvironment(Tabletop(), "reach", max_steps=3)

    def make_action_sequence(self) -> Iterator[np.ndarray]:
        rng, spec = np.random.default_rng(0), self.environment.action_spec()
        for _ in range(8):
            yield rng.uniform(spec.minimum, spec.maximum).astype(np.float32)


def test_gymnasiums_checker_finds_nothing():
    from gymnasium.utils.env_checker import check_env

    with Tabletop() as world, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(minimum value is -infinity|maximum value is infinity).*")
        check_env(GymEnvironment(world, "reach", max_steps=4, render_mode="rgb_array"), skip_render_check=True)


def test_both_views_of_a_world_see_and_reward_the_same():
    with Tabletop() as first, Tabletop() as second:
        dm, gym = DmEnvironment(first, "push", max_steps=3), GymEnvironment(second, "push", max_steps=3)
        dm._rng, gym._np_random = np.random.default_rng(7), np.random.default_rng(7)
        step, (observation, _) = dm.reset(), gym.reset()
        move = np.array([0.02, -0.01, 0.01, 0.05, 0.1], np.float32)
        for number in range(3):
            step, (observation, reward, terminated, truncated, info) = dm.step(move), gym.step(move)
            assert step.reward == reward and not terminated
            assert truncated == step.last() == (number == 2)
            for name, value in observation.items():
                np.testing.assert_array_equal(step.observation[name], value)
        assert step.discount == 1.0 and info["distance"] > 0
        assert not np.array_equal(observation["front"], observation["goal_front"])


def test_a_goal_that_is_held_ends_the_episode():
    with Tabletop() as world:
        hold_steps = task_named(world, "reach").criterion.hold_steps
        environment = DmEnvironment(world, "reach", max_steps=50)
        environment.reset()
        world.set_state(environment._view.attempt.goal_state)
        still = np.zeros(5, np.float32)
        steps = [environment.step(still) for _ in range(hold_steps)]
        assert [step.step_type for step in steps] == [dm_env.StepType.MID] * (hold_steps - 1) + [dm_env.StepType.LAST]
        assert steps[-1].discount == 0.0 and steps[-1].reward == 1.0


def test_an_episode_without_steps_is_refused():
    with Tabletop() as world, pytest.raises(ConfigError, match="max_steps"):
        DmEnvironment(world, "reach", max_steps=0)


def test_without_gymnasium_the_error_says_how_to_install_it():
    code = "import sys; sys.modules['gymnasium'] = None; import sim.views.gym_environment"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr and "pip install 'robo-dream[gym]'" in done.stderr
