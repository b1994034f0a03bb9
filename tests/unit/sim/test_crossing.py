"""The crossing: a coin decides at the bump, no picture shows which way, and its colour shows how often."""

from collections.abc import Iterator

import numpy as np
import pytest

from robo_dream.errors import ConfigError
from sim.crossing import Crossing, CrossingConfig
from sim.environment import observation_of

AFTER_THE_TOSS = 40  # control steps: the longest window that anything of the dynamics learns from, `training.futures.unroll` blocks of 5


@pytest.fixture(scope="module")
def world() -> Iterator[Crossing]:
    world = Crossing(CrossingConfig(odds=(0.3, 0.5, 0.8)))
    with world:
        yield world


def crossed(world: Crossing, script: str = "through", num_steps: int = 45) -> bool:
    """Whether the puck is beyond the bump, and not in the pit, after a script from where it is."""
    actions = world.script(script, np.random.default_rng(2))
    for _ in range(num_steps):
        world.step(world.action_spec.clip(next(actions)))
    x, y, _ = world.ground_truth().tool_pos
    return bool(x > 0.03 and y > 0.0)


def starts(world: Crossing, count: int) -> list[np.ndarray]:
    task, rng = world.tasks["cross"], np.random.default_rng(1)
    assert task.draw is not None
    return [task.draw(number, rng)[0] for number in range(count)]


def test_a_coin_decides_as_often_as_the_odds_say(world: Crossing) -> None:
    passed: dict[float, list[bool]] = {0.3: [], 0.5: [], 0.8: []}
    for start in starts(world, 120):
        world.set_state(start)
        passed[world.odds].append(crossed(world))
        assert world.num_tosses == 1
    for odds, found in passed.items():
        assert np.mean(found) == pytest.approx(odds, abs=3 * np.sqrt(odds * (1 - odds) / 40))


def test_who_goes_round_tosses_no_coin_and_always_arrives(world: Crossing) -> None:
    for start in starts(world, 6):
        world.set_state(start)
        assert crossed(world, "around", 60) and world.num_tosses == 0


def test_what_a_script_does_for_two_seconds_after_the_toss_does_not_tell_how_it_fell(world: Crossing) -> None:
    start = starts(world, 1)[0]
    done: dict[bool, list[np.ndarray]] = {}
    for seed in range(8):
        start[-3] = seed
        world.set_state(start)
        actions, script, tossed_at = [], world.script("through", np.random.default_rng(2)), 0
        while len(actions) < tossed_at + AFTER_THE_TOSS:
            actions.append(next(script))
            world.step(world.action_spec.clip(actions[-1]))
            tossed_at = tossed_at if world.num_tosses else len(actions)
        done.setdefault(bool(world.ground_truth().tool_pos[1] > -0.06), []).append(np.stack(actions))
    assert set(done) == {True, False}
    for actions in (*done[True], *done[False]):
        np.testing.assert_array_equal(actions, done[True][0])


def test_no_picture_before_the_bump_shows_which_way_and_its_colour_shows_how_often(world: Crossing) -> None:
    start = starts(world, 1)[0]
    seen = {}
    for seed in range(8):
        start[-3] = seed
        world.set_state(start)
        before = observation_of(world)
        seen.setdefault(crossed(world), []).append(before)
    assert set(seen) == {True, False}
    first, other = seen[True][0], seen[False][0]
    np.testing.assert_array_equal(first.frames["top"].image, other.frames["top"].image)
    np.testing.assert_array_equal(first.arm.proprio, other.arm.proprio)
    start[-1] = 0.8
    world.set_state(start)
    assert (world.image("top") != first.frames["top"].image).any()


def test_odds_are_shares() -> None:
    with pytest.raises(ConfigError, match=r"CrossingConfig\.odds"):
        CrossingConfig(odds=(0.5, 1.5))
    with pytest.raises(ConfigError, match=r"CrossingConfig\.odds"):
        CrossingConfig(odds=())
