"""What every environment must keep; three lines test a new one:

class TestMine(EnvironmentSuite):
    def make(self) -> Environment:
        return Mine(MineConfig())
"""

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import pytest

from robo_dream.errors import RoboDreamError
from sim.environment import Environment, goal_observation, observation_of
from sim.pairs import build_manifest
from sim.scripts import RANDOM, STRAYS, ScriptConfig, behaviours, moves, scripted_episode

_STEPS = 6


class EnvironmentSuite(ABC):
    """The world is made once for all tests of a class; none may depend on what another left."""

    @abstractmethod
    def make(self) -> Environment: ...

    @pytest.fixture(scope="class")
    def world(self, request: pytest.FixtureRequest) -> Environment:
        world = self.make()
        request.addfinalizer(lambda: world.__exit__(None, None, None))  # no generator: checking of shapes would hide that it is one
        return world.__enter__()

    def settle(self, world: Environment) -> None:
        """Called before what is seen is compared with what is seen in a restored state. Nothing is done: a step leaves all as it should be.

        Only for a world whose released data were drawn otherwise: the tabletop's pictures are those of one physics step (4 ms) before.
        """
        return

    def test_it_has_all_that_is_asked_for(self, world: Environment) -> None:
        assert isinstance(world, Environment)
        assert world.cameras and world.tasks and world.about

    def test_a_start_is_decided_by_the_generator_alone(self, world: Environment) -> None:
        starts = []
        for seed in (1, 2, 1):
            world.reset(np.random.default_rng(seed))
            starts.append(world.state)
        np.testing.assert_array_equal(starts[0], starts[2])
        assert not np.array_equal(starts[0], starts[1])

    def test_a_restored_state_is_the_same_to_the_bit_and_so_is_its_future(self, world: Environment) -> None:
        rng = np.random.default_rng(3)
        world.reset(rng)
        self._play(world, rng)
        self.settle(world)
        state, here = world.state, self._seen(world)
        actions = [next(moves(world, "random", rng)) for _ in range(_STEPS)]
        futures = []
        for _ in range(2):
            world.set_state(state)
            self._same(self._seen(world), here)
            for action in actions:
                world.step(action)
            futures.append(self._seen(world))
            world.reset(rng)  # somewhere else in between
        self._same(*futures)

    def test_a_state_is_a_copy(self, world: Environment) -> None:
        world.reset(np.random.default_rng(4))
        state = world.state
        kept = state.copy()
        self._play(world, np.random.default_rng(4))
        np.testing.assert_array_equal(state, kept)

    def test_pictures_are_as_the_cameras_say_and_change(self, world: Environment) -> None:
        world.reset(np.random.default_rng(5))
        before = observation_of(world)
        for camera in world.cameras:
            image = before.frames[camera.name].image
            assert image.shape == (camera.height, camera.width, 3) and image.dtype == np.uint8 and image.std() > 1
        self._play(world, np.random.default_rng(50), 3 * _STEPS)  # another seed: a script may draw the very pose that a start drew
        after = observation_of(world)
        assert any(not np.array_equal(before.frames[name].image, after.frames[name].image) for name in before.frames)
        assert all(before.frames[name].number < after.frames[name].number for name in before.frames)

    def test_a_step_takes_one_control_period(self, world: Environment) -> None:
        world.reset(np.random.default_rng(6))
        before = world.time
        self._play(world, np.random.default_rng(6))
        assert world.time - before == pytest.approx(_STEPS * world.action_spec.control_dt, rel=1e-6)

    def test_every_script_keeps_to_the_limits_and_moves_something(self, world: Environment) -> None:
        for name in behaviours(world):
            rng = np.random.default_rng(7)
            world.reset(rng)
            before, script = world.state, moves(world, name, rng)
            for _ in range(_STEPS):
                world.step(world.action_spec.check(next(script)))
            assert not np.array_equal(before, world.state), name
        with pytest.raises(RoboDreamError, match="no script"):
            next(moves(world, "no such script", np.random.default_rng(0)))

    def test_the_same_seed_gives_the_same_episode(self, world: Environment) -> None:
        config = ScriptConfig(num_steps=_STEPS, mix=dict.fromkeys(behaviours(world), 1.0))
        first, other, again = (scripted_episode(world, seed, config) for seed in (8, 9, 8))
        assert all(np.array_equal(first.images[name], again.images[name]) for name in first.images)
        assert np.array_equal(first.actions, again.actions) and np.array_equal(first.sim_state, again.sim_state)
        assert not np.array_equal(first.actions, other.actions)

    def test_interrupted_scripts_stray_and_begin_anew(self, world: Environment) -> None:
        steps = 60
        config = ScriptConfig(num_steps=steps, mix=dict.fromkeys(world.scripts, 1.0) or {RANDOM: 1.0}, noisy_fraction=0.0)
        calm, interrupted = (scripted_episode(world, 13, replace(config, interruptions=often)) for often in (0.0, 2.0))
        assert len(np.unique(calm.skill)) == 1
        if not world.scripts:
            np.testing.assert_array_equal(calm.actions, interrupted.actions)  # nothing to interrupt
            return
        name, strays = interrupted.behavior, behaviours(world).index(RANDOM)
        assert set(interrupted.skill) == {behaviours(world).index(name), strays}
        first = int(np.argmax(interrupted.skill == strays))
        np.testing.assert_array_equal(calm.actions[:first], interrupted.actions[:first])
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], interrupted.skill == strays, [0]]))))[::2]
        assert max(runs) <= STRAYS[1] and runs[0] >= min(STRAYS[0], steps + 1 - first)

    def test_a_slow_camera_changes_no_more_than_when_pictures_are_new(self, world: Environment) -> None:
        config = ScriptConfig(num_steps=_STEPS, mix=dict.fromkeys(behaviours(world), 1.0))
        quick, slow = (scripted_episode(world, 9, replace(config, picture_every=every)) for every in (1, 2))
        np.testing.assert_array_equal(quick.sim_state, slow.sim_state)
        np.testing.assert_array_equal(quick.actions, slow.actions)
        shown = np.arange(_STEPS + 1) // 2 * 2
        for name, images in slow.images.items():
            np.testing.assert_array_equal(images, quick.images[name][shown])

    def test_numpys_global_state_is_left_as_it_was(self, world: Environment) -> None:
        before = np.random.get_state(legacy=False)  # noqa: NPY002
        scripted_episode(world, 10, ScriptConfig(num_steps=3, mix=dict.fromkeys(behaviours(world), 1.0)))
        np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002

    def test_a_goals_picture_is_of_the_goal_at_rest_and_leaves_the_world_alone(self, world: Environment) -> None:
        rng = np.random.default_rng(11)
        world.reset(rng)
        self._play(world, rng)
        self.settle(world)
        goal, seen = world.state, observation_of(world)
        world.reset(rng)
        here = world.state
        shown = goal_observation(world, goal)
        np.testing.assert_array_equal(world.state, here)
        assert all(np.array_equal(shown.frames[name].image, seen.frames[name].image) for name in seen.frames)
        np.testing.assert_array_equal(shown.truth["sim_state"], goal)  # for true physics; whoever plans otherwise is not given it
        assert not shown.arm.joint_vel.any() and not shown.arm.proprio[6:].any()

    def test_pairs_are_apart_and_the_same_seeds_give_the_same(self, world: Environment) -> None:
        for name, task in world.tasks.items():
            first, again = build_manifest(world, name, 2), build_manifest(world, name, 2)
            assert first.sha256 == again.sha256 and task.budget in (None, first.budget(0))
            for start, goal in zip(first.starts, first.goals, strict=True):
                world.set_state(start)
                here = world.ground_truth()
                world.set_state(goal)
                assert not task.criterion.moderate(here, world.ground_truth()) and task.criterion.moderate(
                    world.ground_truth(), world.ground_truth()
                )

    def _play(self, world: Environment, rng: np.random.Generator, steps: int = _STEPS) -> None:
        script = moves(world, behaviours(world)[0], rng)
        for _ in range(steps):
            world.step(world.action_spec.clip(np.asarray(next(script), np.float32)))

    def _seen(self, world: Environment) -> list[np.ndarray]:
        seen = observation_of(world)
        return [world.state, seen.arm.proprio, seen.truth["object_pose"], *(frame.image for frame in seen.frames.values())]

    def _same(self, one: list[np.ndarray], other: list[np.ndarray]) -> None:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
