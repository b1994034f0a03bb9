"""How switches stand is told by a fist that presses them and by pictures, up to its sign, and not where nothing is to be seen."""

from dataclasses import replace

import numpy as np
import pytest
from test_looking import Pictures

from robo_dream.errors import ConfigError, DataError, RoboDreamError
from robo_dream.training.config import TrainingConfig
from robo_dream.training.looking import LookConfig
from robo_dream.training.switches import SwitchConfig, presses, switch_poses

TWO, LOOKS = SwitchConfig(count=2, fewest=10), LookConfig(steps=150, batch=64)
PLACES = np.array([[0.3, 0.1, 0.11], [0.2, -0.15, 0.11]])  # the left one first
SIDE, CONTROL_DT = 32, 0.05
COLORS = np.array([[230.0, 40.0, 40.0], [220.0, 220.0, 220.0]])


def dip(place: np.ndarray, closure: float) -> np.ndarray:
    """Joints of a hand that comes down to `place` and goes up again."""
    height = np.concatenate([np.linspace(0.25, place[2], 10), np.linspace(place[2], 0.25, 10)[1:], np.full(11, 0.25)])
    rows = np.zeros((len(height), 6))
    rows[:, :2], rows[:, 2], rows[:, 3], rows[:, 5] = place[:2], height, 1.0, closure
    return rows


def played(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Joints of episodes in which switches are pressed, an open hand comes down on them, and a fist elsewhere; how each stands."""
    joints, stands = [], []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        ways, rows, told = rng.integers(2, size=2), [], []
        for _ in range(6):
            number, kind = rng.integers(2), rng.integers(4)
            place = PLACES[number] + [*rng.normal(0, 0.004, 2), 0.0] if kind < 3 else np.array([*rng.uniform(-0.3, 0.3, 2), 0.11])
            rows.append(dip(place, 0.0 if kind == 2 else 0.95))
            told.append(np.tile(ways, (len(rows[-1]), 1)))
            if kind < 2:
                told[-1][10:, number] ^= 1
                ways[number] ^= 1
        joints.append(np.concatenate(rows))
        stands.append(np.concatenate(told))
    return joints, np.concatenate(stands)


def seen(joints: list[np.ndarray], stands: np.ndarray, is_shown: bool = True) -> Pictures:
    """A lamp for each switch, and the hand, which hides what is under it."""
    proprio = np.concatenate(joints)
    images = np.full((len(proprio), SIDE, SIDE, 3), 90.0)
    for number, place in enumerate(PLACES):
        row, column = ((0.5 + place[:2]) * SIDE).astype(int) // 4 * 4
        images[:, row : row + 4, column : column + 4] = COLORS[stands[:, number] * is_shown][:, None, None]
    for image, tool in zip(images, proprio, strict=True):
        row, column = ((0.5 + tool[:2]) * SIDE).astype(int)
        if tool[2] < 0.2:
            image[max(row - 3, 0) : row + 6, max(column - 3, 0) : column + 6] = 20.0
    starts = np.cumsum([0, *map(len, joints)])
    return Pictures(("above",), {"above": images.astype(np.uint8)}, proprio, starts, np.arange(len(joints)) > 3, 5, CONTROL_DT)


@pytest.fixture(scope="module")
def pressed() -> tuple[list[np.ndarray], np.ndarray]:
    return played(60)


def test_it_is_known_how_switches_stand_between_presses_up_to_their_names(pressed) -> None:
    joints, stands = pressed
    pose = switch_poses(seen(joints, stands), TWO, LOOKS, 0)
    assert pose.shape == (len(stands), 2, 4)
    for number, place in enumerate(PLACES):
        known = np.isfinite(pose[:, number, 0])
        higher = pose[known, number, 2] > place[2]
        right = np.mean(higher == (stands[known, number] == 1))
        assert known.mean() > 0.6 and max(right, 1 - right) > 0.97, (known.mean(), right)
        assert np.abs(pose[known, number, :2] - place[:2]).max() < 0.01 and (pose[known, number, 3] == 0).all()
        assert np.allclose(np.abs(pose[known, number, 2] - place[2]), 0.05, atol=0.01)


def test_a_press_is_a_fist_that_comes_down_and_goes_up_again() -> None:
    (one,) = presses(dip(PLACES[0], 0.95), TWO)
    assert np.allclose(one.position, PLACES[0])
    assert not presses(dip(PLACES[0], 0.5), TWO)  # around something
    assert not presses(dip(PLACES[0], 0.95)[:11], TWO)  # it never went up
    assert not presses(dip(PLACES[0], 0.95)[9:], TWO)  # nor this one down
    assert not presses(dip(PLACES[0], 0.95) * [1, 1, 0.1, 1, 1, 1], TWO)  # too little


def test_what_is_pressed_without_a_change_that_is_seen_is_refused_with_what_to_do(pressed) -> None:
    joints, stands = pressed
    with pytest.raises(RoboDreamError, match=r"do not show that what was pressed at .* changes anything.*switches to null"):
        switch_poses(seen(joints, stands, is_shown=False), TWO, LOOKS, 0)


def test_more_switches_than_are_pressed_are_refused(pressed) -> None:
    joints, stands = pressed
    with pytest.raises(DataError, match=r"2 of 3 spots were pressed.*lower training.switches.count"):
        switch_poses(seen(joints, stands), replace(TWO, count=3), LOOKS, 0)


def test_presses_with_no_picture_between_them_are_refused(pressed) -> None:
    joints, stands = pressed
    with pytest.raises(DataError, match=r"of 2 switches 0 have an episode with a picture before a press.*switches to null"):
        switch_poses(seen(joints, stands), replace(TWO, settling=9.0), LOOKS, 0)


def test_switches_need_a_thing_that_is_held_and_pictures() -> None:
    with pytest.raises(ConfigError, match=r"switches is set, and looks is null"):
        TrainingConfig(switches=TWO, looks=None)
    assert TrainingConfig(switches=TWO).num_objects == 3
    assert "switches" not in TrainingConfig().to_json()
