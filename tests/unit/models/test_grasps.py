"""Where a thing was, as the gripper that held it tells."""

import numpy as np
import pytest
from grasping import AROUND, CONTROL_DT, HIGH, TABLE, carried

from robo_dream.errors import DataError
from robo_dream.training.grasps import GraspConfig, closure_when_holding, held_poses

PLACES = [(0.3, 0.1, 0.2), (0.1, -0.2, -0.4), (-0.2, 0.15, 0.7)]


def error(told: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.linalg.norm(told[:, :3] - true[:, :3], axis=-1)


def test_what_lay_was_held_and_lies_is_told_where_it_was() -> None:
    some = [carried(PLACES, np.random.default_rng(seed)) for seed in range(3)]
    for one, held in zip(some, held_poses([one.proprio for one in some], GraspConfig(), CONTROL_DT), strict=True):
        told = np.isfinite(held.pose).all(-1)
        assert len(held.holds) == 2 and told.mean() > 0.9
        assert error(held.pose, one.pose)[told].max() < 1e-6 and np.abs(held.pose - one.pose)[told, 3].max() < 1e-6


def test_the_closure_around_the_thing_is_found_in_the_data() -> None:
    some = [carried(PLACES, np.random.default_rng(0)).proprio[:, 5]]
    assert closure_when_holding(some) == pytest.approx(AROUND, abs=0.01)


def test_a_thing_that_is_held_off_its_middle_errs_by_no_more_than_that() -> None:
    one = carried(PLACES, np.random.default_rng(0), offset=0.01)
    (held,) = held_poses([one.proprio], GraspConfig(), CONTROL_DT)
    told = np.isfinite(held.pose).all(-1)
    assert 0.004 < np.median(error(held.pose, one.pose)[told]) <= 0.0101


def test_a_thing_that_one_moving_jaw_presses_against_the_other_is_told_beside_the_tool() -> None:
    one, beside = carried(PLACES, np.random.default_rng(0)), 0.018
    yaw = np.arctan2(one.proprio[:, 4], one.proprio[:, 3])
    proprio = one.proprio.copy()
    proprio[:, :2] -= beside * np.stack([-np.sin(yaw), np.cos(yaw)], -1)  # the thing is to the left of where the tool points
    (held,) = held_poses([proprio], GraspConfig(beside=beside), CONTROL_DT)
    told = np.isfinite(held.pose).all(-1)
    assert told.mean() > 0.9 and error(held.pose, one.pose)[told].max() < 1e-6


def test_nothing_is_told_of_before_a_swipe_through_the_scene() -> None:
    one = carried(PLACES[:2], np.random.default_rng(0))
    swipe = np.repeat(one.proprio[:1], 12, 0)
    swipe[:, 0], swipe[:, 1], swipe[:, 2] = np.linspace(0.2, 0.0, 12), 0.0, TABLE  # low, before the grasp, and nowhere near it
    (held,) = held_poses([np.concatenate([one.proprio[:3], swipe, one.proprio[3:]])], GraspConfig(), CONTROL_DT)
    assert np.isnan(held.pose[:14]).all() and np.isfinite(held.pose[16:30]).all()


def test_nothing_is_told_of_after_a_drop_from_high_up() -> None:
    one = carried(PLACES[:2], np.random.default_rng(0))
    let_go = int(np.flatnonzero(one.proprio[:, 5] == np.float32(AROUND))[-1])
    proprio = one.proprio.copy()
    proprio[let_go - 3 :, 2] = HIGH
    (held,) = held_poses([proprio], GraspConfig(), CONTROL_DT)
    assert np.isnan(held.pose[let_go + 1 :]).all() and np.isfinite(held.pose[: let_go + 1]).all()


def test_a_fist_holds_nothing_and_the_error_says_what_to_do() -> None:
    proprio = carried(PLACES, np.random.default_rng(0)).proprio.copy()
    proprio[:, 5] = np.where(proprio[:, 5] > 0.4, 1.0, 0.0)
    with pytest.raises(DataError, match=r"never rests between .*record some grasps, or learn without: training.grasps=null"):
        held_poses([proprio], GraspConfig(), CONTROL_DT)
    with pytest.raises(DataError, match=r"nothing was ever picked up in 1 episodes.*closure of 0.55"):
        held_poses([proprio], GraspConfig(closure=AROUND), CONTROL_DT)
