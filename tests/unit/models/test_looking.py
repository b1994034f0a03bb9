"""Looking mends labels that are off, and nothing where there is nothing to see."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from grasping import CONTROL_DT, Carried, carried

from robo_dream.errors import RoboDreamError
from robo_dream.training.grasps import GraspConfig, Held, held_poses
from robo_dream.training.looking import LookConfig, looked, settled

SIDE, SQUARE = 32, 2  # pixels of a picture, and half of what is seen of the thing
REACH = 0.4  # metres from the middle of the picture to its edge


@dataclass
class Pictures:
    """Episodes as one camera above the table sees them: the thing is a square."""

    cameras: tuple[str, ...]
    images: dict[str, np.ndarray]
    proprio: np.ndarray
    episode_starts: np.ndarray
    is_train: np.ndarray
    picture_every: int = 1
    control_dt: float = CONTROL_DT


def episodes(count: int, offset: float, beside: float = 0.0) -> list[Carried]:
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        places = [(float(x), float(y), float(turn)) for x, y, turn in rng.uniform((-0.3, -0.3, -3), (0.3, 0.3, 3), (4, 3))]
        found.append(carried(places, rng, offset * rng.choice((-1, 1)), beside))
    return found


def seen(some: list[Carried], is_dark: bool = False) -> Pictures:
    truth = np.concatenate([one.pose for one in some])
    pixels = np.arange(SIDE) * 2 * REACH / (SIDE - 1) - REACH
    across, down = (np.clip(SQUARE + 0.5 - np.abs(pixels - truth[:, axis, None]) / (2 * REACH / SIDE), 0, 1) for axis in (0, 1))
    images = (255 * down[:, :, None, None] * across[:, None, :, None] * np.ones(3)).astype(np.uint8)
    starts = np.cumsum([0, *(len(one.proprio) for one in some)])
    proprio = np.concatenate([one.proprio for one in some])
    return Pictures(("above",), {"above": images * (not is_dark)}, proprio, starts, np.arange(len(some)) > 1)


def errors(held: list[Held], some: list[Carried]) -> np.ndarray:
    return np.concatenate([np.linalg.norm(one.pose[:, :2] - true.pose[:, :2], axis=-1) for one, true in zip(held, some, strict=True)])


@pytest.fixture(scope="module")
def grasped() -> tuple[list[Carried], list[Held]]:
    some = episodes(60, 0.03)
    return some, held_poses([one.proprio for one in some], GraspConfig(), CONTROL_DT)


def test_labels_of_things_held_off_the_middle_come_nearer_to_where_they_are_in_the_pictures(grasped) -> None:
    some, held = grasped
    config = LookConfig(rounds=1, steps=600, batch=64, keypoints=6, seen_std=0.02, taken_std=0.005, left_std=0.005, held_std=(0.05, 0.05))
    mended = looked(held, seen(some), config, 0)
    before, after = np.nanmedian(errors(held, some)), np.nanmedian(errors(mended, some))
    assert before > 0.015 and after < 0.8 * before, (before, after)
    for one, other in zip(held, mended, strict=True):
        assert one.holds == other.holds and (np.isnan(one.pose) == np.isnan(other.pose)).all()
        assert np.allclose(one.pose[:, 2:], other.pose[:, 2:], equal_nan=True)  # height and turn are as joints told


def test_what_a_standing_jaw_holds_beside_the_tool_stays_there() -> None:
    some = episodes(12, 0.0, beside=0.03)
    held = held_poses([one.proprio for one in some], GraspConfig(beside=0.03), CONTROL_DT)
    assert np.nanmedian(errors(held, some)) < 0.002
    careful = LookConfig(rounds=1, steps=2, batch=8, fewest=20, seen_std=1.0, held_std=(0.001, 0.001))
    assert np.nanmedian(errors(looked(held, seen(some), careful, 0, beside=0.03), some)) < 0.002
    assert np.nanmedian(errors(looked(held, seen(some), careful, 0), some)) > 0.02


def test_who_sees_nothing_in_the_pictures_is_not_believed(grasped) -> None:
    some, held = grasped
    config = LookConfig(rounds=2, steps=20, batch=32)
    mended = looked(held, seen(some, is_dark=True), config, 0)
    assert np.nanmedian(errors(mended, some)) < 1.1 * np.nanmedian(errors(held, some))
    apart = [np.linalg.norm(one.pose[:, :2] - other.pose[:, :2], axis=-1) for one, other in zip(held, mended, strict=True)]
    assert np.nanpercentile(np.concatenate(apart), 95) < 0.01


def without(held: Held, number: int) -> Held:
    """As joints tell it that do not tell of one of the rests."""
    pose = held.pose.copy()
    pose[held.rests[number].frames] = np.nan
    return replace(held, rests=(*held.rests[:number], *held.rests[number + 1 :]), pose=pose)


def test_where_joints_tell_nothing_and_the_hand_is_away_pictures_tell_where_it_lies_but_not_how_it_is_turned(grasped) -> None:
    some, held = grasped
    config, far = LookConfig(rounds=1, steps=300, batch=64, keypoints=6), 0.1
    fewer = [without(one, 0) for one in held]
    before, after = (
        np.concatenate([one.pose for one in looked(fewer, seen(some), replace(config, untold=untold), 0)]) for untold in (None, far)
    )
    truth, tool = (np.concatenate(values) for values in zip(*[(one.pose, one.proprio[:, :3]) for one in some], strict=True))
    is_new = np.isnan(before[:, 0]) & np.isfinite(after[:, 0])
    assert is_new.mean() > 0.05 and np.isfinite(after[is_new, :3]).all() and np.isnan(after[is_new, 3]).all()
    assert np.median(np.linalg.norm(after[is_new, :2] - truth[is_new, :2], axis=-1)) < 0.02
    assert (np.linalg.norm(tool[is_new] - after[is_new, :3], axis=-1) > 0.5 * far).all()
    was_told = np.isfinite(before).all(-1)
    assert np.array_equal(before[was_told], after[was_told])


def test_what_is_seen_to_wander_is_not_told_by_pictures_alone(grasped) -> None:
    some, held = grasped
    config, fewer = LookConfig(rounds=1, steps=300, batch=64, keypoints=6, untold=0.1), [without(one, 0) for one in held]
    wandering, lies = some[0].pose.copy(), held[0].rests[0].frames
    wandering[lies, :2] += np.linspace(-0.15, 0.15, len(lies))[:, None]
    shown = seen([replace(some[0], pose=wandering), *some[1:]])
    anyhow, steady = (looked(fewer, shown, replace(config, steady=within), 0) for within in (None, 0.01))
    is_told = [
        [np.isfinite(one.pose[own.rests[0].frames, 0]).mean() for one, own in zip(all_, held, strict=True)] for all_ in (anyhow, steady)
    ]
    assert is_told[0][0] > 0.2 and is_told[1][0] < 0.1 * is_told[0][0]
    assert np.mean(is_told[1][1:]) > 0.7 * np.mean(is_told[0][1:]) > 0.2


def test_who_sees_nothing_in_the_pictures_does_not_tell_alone_either(grasped) -> None:
    some, held = grasped
    mended = looked(held, seen(some, is_dark=True), LookConfig(rounds=1, steps=20, batch=32, untold=0.1), 0)
    for one, other in zip(held, mended, strict=True):
        assert np.array_equal(np.isnan(one.pose), np.isnan(other.pose))


def test_looking_that_diverges_is_said_with_what_to_do(grasped) -> None:
    some, held = grasped
    endless = [replace(one, rests=tuple(replace(rest, pose=rest.pose + np.inf) for rest in one.rests)) for one in held]
    with pytest.raises(RoboDreamError, match=r"looking diverged at step 0 of 2.*training\.looks=null"):
        looked(endless, seen(some), LookConfig(steps=2, batch=8), 0)


def test_a_thing_that_always_lies_at_one_place_stays_there(grasped) -> None:
    some, held = grasped
    there = [replace(one, rests=tuple(replace(rest, pose=np.array([0.1, 0.0, 0.02, 0.0])) for rest in one.rests)) for one in held]
    for one in looked(there, seen(some), LookConfig(rounds=1, steps=3, batch=8, taken_std=0.5, left_std=0.5, held_std=(0.5, 0.5)), 0):
        assert all(np.isfinite(rest.pose).all() for rest in one.rests)


def test_few_pictures_mend_nothing_and_no_rounds_do_not_either(grasped) -> None:
    some, held = grasped
    assert looked(held, seen(some), LookConfig(rounds=0), 0) == held
    assert looked(held, seen(some), LookConfig(fewest=100_000), 0) == held


def test_what_is_seen_of_one_rest_tells_how_far_off_a_hold_was_and_where_it_was_set_down(grasped) -> None:
    some, held = grasped
    one, true = held[0], some[0]
    config = LookConfig(held_std=(1.0, 1.0), taken_std=0.001, left_std=0.001, seen_std=0.001)
    first = next(number for number, rest in enumerate(one.rests) if rest.taken_by == 0)
    hold = one.holds[0]
    found = settled(one, true.proprio.astype(np.float64), {first: true.pose[0, :2]}, config)
    frames = slice(hold.first, hold.last + 1)
    assert np.allclose(found.pose[frames, :2], true.pose[frames, :2], atol=0.004)
    assert np.abs(one.pose[frames, :2] - true.pose[frames, :2]).max() > 0.015
    unlooked = settled(one, true.proprio.astype(np.float64), {}, replace(config, held_std=(0.001, 0.001)))
    assert np.allclose(unlooked.pose[frames], one.pose[frames], atol=0.004)
