"""Where slides stand is told by the hand that moved them, and by pictures where the hand tells wrongly or nothing."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from test_looking import Pictures

from robo_dream.errors import ConfigError, DataError
from robo_dream.training.config import TrainingConfig
from robo_dream.training.looking import LookConfig
from robo_dream.training.slides import Rail, SlideConfig, rails, rides, slide_poses

TWO, LOOKS = SlideConfig(count=2), LookConfig(steps=150, batch=48)
TRACKS = (Rail(np.array([0.3, 0.0, 0.1]), np.array([0.0, 1.0, 0.0])), Rail(np.array([0.0, -0.3, 0.2]), np.array([0.8, 0.6, 0.0])))
SIDE, REACH, CONTROL_DT = 32, 0.5, 0.05
COLORS = np.array([[230.0, 40.0, 40.0], [40.0, 80.0, 230.0]])


def way(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """At 0.3 m/s."""
    steps = max(int(np.linalg.norm(end - start) / (0.3 * CONTROL_DT)), 1)
    return start + (end - start) * np.linspace(0, 1, steps + 1)[1:, None]


def played(count: int, wrong: float = 0.25) -> tuple[list[np.ndarray], np.ndarray]:
    """Where the tool is in episodes in which slides are moved and left; some hands go on along the rail. And where each slide stands."""
    tools, stands = [], []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        at, tool = rng.uniform(-0.15, 0.15, 2), rng.uniform((-0.3, -0.4, 0.3), (0.4, 0.4, 0.5), (1, 3))
        told = at[None].copy()
        for _ in range(3):
            number = int(rng.integers(2))
            track, above = TRACKS[number], np.array([0.0, 0.0, 0.15])
            target = rng.uniform(-0.15, 0.15)
            here, there = track.at(np.array(at[number])), track.at(np.array(target))
            on = there + track.direction * (0.08 if rng.random() < wrong else 0.0) * np.sign(target - at[number])
            via = rng.uniform((-0.4, -0.4, 0.3), (0.4, 0.4, 0.6))
            route = [tool[-1], via, here + above, here, there, on, on + above]
            parts = [way(one, other) for one, other in itertools.pairwise(route)]
            for part, is_moving in zip(parts, (False, False, False, True, False, False), strict=True):
                rows = np.tile(at, (len(part), 1))
                if is_moving:
                    rows[:, number] = track.along(part)
                    at[number] = target
                tool, told = np.concatenate([tool, part]), np.concatenate([told, rows])
        rest = tool[-1] + np.array([0.0, 0.0, 0.1])
        tools.append(np.concatenate([tool, np.tile(rest, (20, 1))]))
        stands.append(np.concatenate([told, np.tile(at, (20, 1))]))
    return tools, np.concatenate(stands)


def seen(tools: list[np.ndarray], stands: np.ndarray) -> Pictures:
    pixels = np.arange(SIDE) * 2 * REACH / (SIDE - 1) - REACH
    images = np.full((len(stands), SIDE, SIDE, 3), 90.0)
    for number, track in enumerate(TRACKS):
        at = track.at(stands[:, number])
        across, down = (np.clip(2.5 - np.abs(pixels - at[:, axis, None]) / (2 * REACH / SIDE), 0, 1) for axis in (0, 1))
        cover = down[:, :, None, None] * across[:, None, :, None]
        images = images * (1 - cover) + COLORS[number] * cover
    starts = np.cumsum([0, *map(len, tools)])
    proprio = np.concatenate([np.concatenate([tool, np.zeros((len(tool), 3))], -1) for tool in tools])
    return Pictures(("above",), {"above": images.astype(np.uint8)}, proprio, starts, np.arange(len(tools)) > 3, 5, CONTROL_DT)


@pytest.fixture(scope="module")
def pushed() -> tuple[list[np.ndarray], np.ndarray]:
    return played(60)


def test_rails_are_where_the_tool_went_straight_most_often(pushed) -> None:
    found = rails(pushed[0], TWO, CONTROL_DT, 0)
    for track in TRACKS:
        assert min(rail.away(track.at(np.array([-0.1, 0.1]))).max() for rail in found) < 0.005


def test_a_ride_goes_along_its_rail() -> None:
    one, other = TRACKS[0].at(np.array([-0.1, 0.1]))
    up = np.array([0.0, 0.0, 0.15])
    moved = np.concatenate([way(one + up, one), way(one, other), way(other, other + up)])
    (ride,) = rides(moved, TRACKS[0], SlideConfig())
    assert abs(TRACKS[0].along(moved[ride.first]) + 0.1) < 0.02 and abs(TRACKS[0].along(moved[ride.last]) - 0.1) < 0.02
    across = np.array([0.15, 0.0, 0.0])
    assert not rides(way(one - across, one + across), TRACKS[0], SlideConfig())  # it crosses


def test_where_slides_stand_is_known_though_hands_go_on_and_some_episodes_move_nothing(pushed) -> None:
    tools, stands = pushed
    tools = [np.full_like(tools[0], 0.9), *tools[1:]]  # a hand far away tells nothing
    pictures = seen(tools, stands)
    pose = slide_poses(pictures, TWO, LOOKS, 0)
    assert pose.shape == (len(stands), 2, 4)
    for number, track in enumerate(TRACKS):
        true = track.at(stands[:, number])
        off = min((np.linalg.norm(pose[:, slide, :3] - true, axis=-1) for slide in range(2)), key=lambda one: float(np.nanmedian(one)))
        assert np.isfinite(off).mean() > 0.9 and np.nanpercentile(off, 50) < 0.01 and np.nanpercentile(off, 90) < 0.025, off
    assert np.isfinite(pose[: pictures.episode_starts[1]]).all()


def test_more_rails_than_there_are_are_refused(pushed) -> None:
    with pytest.raises(DataError, match=r"0 of 2 rails were ridden along .* lower training.slides.count"):
        rails(pushed[0], replace(TWO, fewest=900), CONTROL_DT, 0)


def test_slides_that_no_picture_shows_before_they_are_moved_are_refused() -> None:
    tools = [way(TRACKS[0].at(np.array(-0.1)), TRACKS[0].at(np.array(0.1)))] * 20  # the hand is there from the first picture on
    stands = np.stack([TRACKS[0].along(np.concatenate(tools))] * 2, -1)
    with pytest.raises(DataError, match=r"no picture shows the slide at .* slides to null"):
        slide_poses(seen(tools, stands), replace(TWO, count=1), LOOKS, 0)


def test_slides_need_a_thing_that_is_held_and_pictures() -> None:
    with pytest.raises(ConfigError, match=r"slides is set, and grasps is null"):
        TrainingConfig(slides=TWO, grasps=None)
    assert TrainingConfig(slides=TWO).num_objects == 3
