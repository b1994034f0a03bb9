"""Which of several things was held is told by pictures, whatever it is called."""

from dataclasses import replace

import numpy as np
import pytest
from grasping import CONTROL_DT, Carried, carried
from test_looking import REACH, SIDE, SQUARE, Pictures
from test_looking import episodes as episodes_of_one
from test_looking import seen as seen_one

from robo_dream.errors import ConfigError, RoboDreamError
from robo_dream.training.config import TrainingConfig
from robo_dream.training.grasps import GraspConfig, held_apart, held_poses
from robo_dream.training.identities import told_apart
from robo_dream.training.looking import LookConfig

TWO = GraspConfig(things=2)
COLORS = np.array([[230.0, 40.0, 40.0], [40.0, 80.0, 230.0]])


def episodes(count: int) -> tuple[list[np.ndarray], list[list[Carried]], np.ndarray]:
    """Joints of episodes in which two things are carried one after the other, in turn; each half of each; where both truly were."""
    joints, halves, truth = [], [], []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        places = [(float(x), float(y), float(turn)) for x, y, turn in rng.uniform((-0.3, -0.3, -3), (0.3, 0.3, 3), (6, 3))]
        one, other = carried(places[:3], rng), carried(places[3:], rng)
        joints.append(np.concatenate([one.proprio, other.proprio]))
        halves.append([one, other])
        first = np.concatenate([one.pose, np.tile(one.pose[-1], (len(other.pose), 1))])
        second = np.concatenate([np.tile(other.pose[0], (len(one.pose), 1)), other.pose])
        truth.append(np.stack([first, second][:: 1 if seed % 2 else -1], 1))  # in every other episode the red one comes second
    return joints, halves, np.concatenate(truth)


def seen(joints: list[np.ndarray], truth: np.ndarray) -> Pictures:
    pixels = np.arange(SIDE) * 2 * REACH / (SIDE - 1) - REACH
    images = np.zeros((len(truth), SIDE, SIDE, 3))
    for thing, color in enumerate(COLORS):
        across, down = (np.clip(SQUARE + 0.5 - np.abs(pixels - truth[:, thing, axis, None]) / (2 * REACH / SIDE), 0, 1) for axis in (0, 1))
        cover = down[:, :, None, None] * across[:, None, :, None]
        images = images * (1 - cover) + color * cover
    starts = np.cumsum([0, *(len(one) for one in joints)])
    return Pictures(("above",), {"above": images.astype(np.uint8)}, np.concatenate(joints), starts, np.arange(len(joints)) > 1)


@pytest.fixture(scope="module")
def played():
    joints, _, truth = episodes(60)
    return joints, seen(joints, truth), truth


def test_holds_are_told_apart_by_what_was_held(played) -> None:
    joints, pictures, truth = played
    held = held_poses(joints, TWO, CONTROL_DT)
    whose = told_apart(held, pictures, 2, LookConfig(steps=250, batch=64, keypoints=3, fewest=50), 0)
    true = [[(number < 2) != (episode % 2 == 1) for number in range(4)] for episode in range(60)]
    assert all(len(one.holds) == 4 for one in held)
    same = np.mean(np.array(whose) == np.array(true))
    assert max(same, 1 - same) > 0.95, same  # which is called 0 is nobody's business
    apart = held_apart(held, whose, joints, TWO, CONTROL_DT)
    told = np.stack([np.concatenate([one.pose for one in thing]) for thing in apart], 1)
    told = told if same > 0.5 else told[:, ::-1]
    off = np.linalg.norm(told[..., :3] - truth[..., :3], axis=-1)
    assert np.isfinite(off).mean() > 0.7 and np.nanpercentile(off, 90) < 0.01


def test_a_thing_lies_where_it_was_while_another_is_carried() -> None:
    joints, _, truth = episodes(1)
    held = held_poses(joints, TWO, CONTROL_DT)
    (first,), (second,) = held_apart(held, [[0, 0, 1, 1]], joints, replace(TWO, near=0.01), CONTROL_DT)
    for one, true in ((first, truth[:, 1]), (second, truth[:, 0])):
        told = np.isfinite(one.pose[:, 0])
        assert told.mean() > 0.85 and np.abs(one.pose[told, :3] - true[told, :3]).max() < 1e-6
    nobody, of_none = held_apart(held, [[-1, -1, -1, -1]], joints, TWO, CONTROL_DT)
    assert np.isnan(nobody[0].pose).all() and np.isnan(of_none[0].pose).all()


def test_pictures_without_a_thing_that_can_be_seen_alone_are_refused_with_what_to_do(played) -> None:
    joints, pictures, _ = played
    with pytest.raises(RoboDreamError, match=r"which of 2 was held is not told .*record the hand away"):
        told_apart(held_poses(joints, TWO, CONTROL_DT), pictures, 2, LookConfig(fewest=100_000), 0)


def test_more_things_than_there_are_are_refused() -> None:
    some = episodes_of_one(60, 0.0)
    held = held_poses([one.proprio for one in some], TWO, CONTROL_DT)
    with pytest.raises(RoboDreamError, match=r"grasps.things is 2, but .* lower it to 1"):
        told_apart(held, seen_one(some), 2, LookConfig(steps=150, batch=64, keypoints=3, fewest=50), 0)


def test_several_things_cannot_be_told_apart_without_looking() -> None:
    with pytest.raises(ConfigError, match=r"grasps.things is 2, .*looks must not be null"):
        TrainingConfig(grasps=TWO, looks=None)
