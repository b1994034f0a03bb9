"""A dataset that LeRobot's own recorder made (benchmarks/lerobot_record.py) is read as moves of joints, or refused in a line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robo_dream.data.cache import Datasets, build_cache
from robo_dream.data.features import encode_png
from robo_dream.data.joints import JointReading, usual_moves
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.embodiment import PROPRIO_NAMES, ActionSpec
from robo_dream.errors import DataError
from robo_dream.models.config import ModelConfig
from robo_dream.runtime.cameras import crop_image
from robo_dream.runtime.recordings import is_recording, open_recordings, open_training
from robo_dream.runtime.training_data import open_training_data
from robo_dream.training.config import TrainingConfig
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World
from tests.unit.data.episodes import make_episode, make_spec

RECORDED = Path("tests/data/so101_lerobot")
SIZE, EVERY = 96, 3  # 30 frames a second, 10 control steps
DATA, INFO = "data/chunk-000/file-000.parquet", "meta/info.json"
MOST = np.array([0.2] * 6)  # rad, and closure: what the arm allows in 0.1 s
CAUGHT_UP = 10  # control steps after which a leader who began elsewhere was followed
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def data() -> Datasets:
    return open_recordings(RECORDED, SIZE)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED, tmp_path / "copy"))


def rows(episode: int, root: Path = RECORDED) -> tuple[np.ndarray, np.ndarray]:
    """State and action as they are on disk."""
    table = pq.read_table(root / DATA, filters=[("episode_index", "=", episode)])
    return tuple(np.stack(table.column(key).to_pylist()).astype(float) for key in ("observation.state", "action"))  # type: ignore[return-value]


def in_arm_units(numbers: np.ndarray) -> np.ndarray:
    return np.column_stack([np.deg2rad(numbers[:, :5]), 1 - numbers[:, 5] / 100])


def test_moves_add_up_to_the_target_in_force_at_every_third_frame(data: Datasets) -> None:
    for index in range(data.num_episodes):
        state, action = map(in_arm_units, rows(index))
        episode, most = data.episode(index), data.spec.action_spec.high
        assert episode.num_frames == data.length(index) == -(-len(state) // EVERY)
        told = state[0]
        for step, move in enumerate(episode.actions):
            wanted = action[EVERY * step + EVERY - 1] - told  # what was sent last before the next observation
            np.testing.assert_allclose(move, np.clip(wanted, -most, most), atol=ROUNDING)
            told = told + np.clip(wanted, -most, most)
        far = np.abs(told - action[EVERY * (episode.num_frames - 1) - 1])
        assert (far < most).all(), "a target that jumped is caught up with"


def test_the_arm_tells_of_itself_what_its_model_tells_of_the_recorded_joints(data: Datasets) -> None:
    assert data.spec.proprio_names == (*PROPRIO_NAMES, "shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
    state, _ = map(in_arm_units, rows(1))
    episode = data.episode(1)
    with World(SceneConfig(arm="so101")) as world:
        for step in (0, 7, episode.num_frames - 1):
            now = state[EVERY * step]
            world.set_arm(now[:-1], now[-1])
            told = episode.proprio[step]
            np.testing.assert_allclose(told[:3], world.ground_truth().tool_pos, atol=1e-5)
            np.testing.assert_allclose(told[5], now[-1], atol=ROUNDING)
            np.testing.assert_allclose(told[11:], now[:-1], atol=ROUNDING)
    assert not episode.proprio[0, 6:11].any(), "it is taken to begin where it was told to be"
    assert np.linalg.norm(episode.proprio[1:, 6:9], axis=1).max() > 0.001, "a servo lags behind its target"


def test_done_again_in_physics_the_moves_lead_where_the_recorded_arm_was(data: Datasets) -> None:
    """Thirty targets a second, each held, against ten moves a second, each a ramp as the guard sends it."""
    off = []
    with World(SceneConfig(arm="so101")) as world:
        for index in range(data.num_episodes):
            state, episode = in_arm_units(rows(index)[0])[::EVERY], data.episode(index)
            world.home()
            world.set_arm(state[0, :-1], state[0, -1])
            target = state[0]
            for step, (now, move) in enumerate(zip(state[1:], episode.actions, strict=True)):
                target = target + move
                world.step_joints(target)
                if step >= CAUGHT_UP:
                    off.append((world.measured - now)[:-1])
    typical = np.sqrt(np.mean(np.square(off), axis=0))
    assert (typical < 0.005).all(), "rad; joints move at up to 1 rad/s, so this is 5 ms"


def test_pictures_are_every_third_frame_cut_and_averaged_as_a_live_cameras_are(data: Datasets) -> None:
    assert data.spec.camera_names == ("front", "side")
    starts = np.cumsum([0, *(len(rows(index)[0]) for index in range(2))])
    for name in data.spec.camera_names:
        with av.open(str(RECORDED / f"videos/observation.images.{name}/chunk-000/file-000.mp4")) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        episode = data.episode(2)
        for step in (0, 1, 20, episode.num_frames - 1):
            np.testing.assert_array_equal(episode.images[name][step], crop_image(frames[starts[2] + EVERY * step], SIZE))


def test_action_limits_are_what_nearly_all_moves_keep_to_and_no_more_than_the_arm_allows(data: Datasets) -> None:
    spec = data.spec.action_spec
    assert spec.kind == "joint_move" and spec.names[-1] == "gripper" and spec.control_dt == 0.1
    assert (spec.low == -spec.high).all() and (spec.high <= MOST + ROUNDING).all() and (spec.high > 0.05).all()
    moves = np.concatenate([data.episode(index).actions for index in range(data.num_episodes)])
    assert (np.abs(moves) <= spec.high + ROUNDING).all() and (np.abs(moves) > 0.6 * spec.high).any(0).all()
    assert usual_moves(np.zeros((50, 6)), MOST).tolist() == [0.02] * 6, "a joint that rests is not blown up"


def test_limits_of_a_model_hold_for_another_recording(data: Datasets) -> None:
    spec = ActionSpec.joint_moves(data.spec.action_spec.names[:-1], np.full(6, 0.03), 0.1)
    slow = open_recordings(RECORDED, SIZE, action_spec=spec)
    assert slow.spec.action_spec == spec or not slow.spec.action_spec.differences(spec)
    assert np.abs(slow.episode(0).actions).max() <= 0.03 + ROUNDING


def test_a_recording_has_a_held_out_episode_however_few_there_are(data: Datasets) -> None:
    assert sorted(data.is_train(index) for index in range(data.num_episodes)) == [False, True, True]


def test_several_threads_read_the_same(data: Datasets, tmp_path: Path) -> None:
    cache = build_cache(data, tmp_path, workers=3)
    for index in range(data.num_episodes):
        frames = slice(int(cache.episode_starts[index]), int(cache.episode_starts[index + 1]))
        np.testing.assert_array_equal(cache.proprio[frames], data.episode(index).proprio)


def test_pictures_in_the_table_are_read_as_videos_are(copy: Path, data: Datasets) -> None:
    """As `lerobot-record --dataset.video=false` keeps them."""
    table = pq.read_table(copy / DATA)
    info = json.loads((copy / INFO).read_text())
    for name in ("front", "side"):
        with av.open(str(copy / f"videos/observation.images.{name}/chunk-000/file-000.mp4")) as video:
            stored = [{"bytes": encode_png(frame.to_ndarray(format="rgb24")), "path": None} for frame in video.decode(video=0)]
        table = table.append_column(
            f"observation.images.{name}", pa.array(stored, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        )
        info["features"][f"observation.images.{name}"]["dtype"] = "image"
    pq.write_table(table, copy / DATA)
    (copy / INFO).write_text(json.dumps(info))
    again = open_recordings(copy, SIZE).episode(1)
    for name, images in data.episode(1).images.items():
        np.testing.assert_array_equal(again.images[name], images)


Spoil = Callable[[Path], None]


def told(**values: Any) -> Spoil:
    """meta/info.json says something else."""

    def spoil(root: Path) -> None:
        info = json.loads((root / INFO).read_text())
        (root / INFO).write_text(json.dumps({**info, **values}))

    return spoil


def named(names: list[str] | None, *keys: str) -> Spoil:
    def spoil(root: Path) -> None:
        info = json.loads((root / INFO).read_text())
        for key in keys:
            info["features"][key]["names"] = names
        (root / INFO).write_text(json.dumps(info))

    return spoil


def multiplied(factor: float, joint: slice = slice(0, 5), most: float = np.inf) -> Spoil:
    def spoil(root: Path) -> None:
        table = pq.read_table(root / DATA)
        for key in ("observation.state", "action"):
            numbers = np.stack(table.column(key).to_pylist())
            numbers[:, joint] = np.clip(factor * numbers[:, joint], -most, most)
            place = table.column_names.index(key)
            flat = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), 6)
            table = table.set_column(place, key, flat)
        pq.write_table(table, root / DATA)

    return spoil


def without_camera(name: str) -> Spoil:
    def spoil(root: Path) -> None:
        info = json.loads((root / INFO).read_text())
        del info["features"][f"observation.images.{name}"]
        (root / INFO).write_text(json.dumps(info))

    return spoil


OTHERS = [f"joint_{number}.pos" for number in range(6)]
BOTH = ("observation.state", "action")
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (told(robot_type="koch_follower"), "recorded of robot_type 'koch_follower'; joints are read of so_follower"),
        (named(OTHERS, *BOTH), "this arm has shoulder_pan.pos"),
        (named(None, "observation.state"), "has observation.state of None; this arm has shoulder_pan.pos"),
        (told(fps=25), "at 25 fps, no multiple of the 10 control steps a second"),
        (told(fps=5), "at 5 fps, no multiple"),
        (multiplied(np.pi / 180), "these look like radians, and degrees are read"),
        (multiplied(4.0, most=100.0), "reach exactly 100 and never more, as percentages"),
        (multiplied(40.0), "joints are read in degrees within 360"),
        (multiplied(2.0, slice(5, 6)), "the gripper from 0 to 100"),
        (multiplied(np.nan), "is nan at frame 0"),
        (without_camera("side"), "no camera 'side' in the dataset; it has ['front']"),
    ],
)
def test_a_recording_that_does_not_fit_is_refused_with_what_would(copy: Path, spoil: Spoil, says: str) -> None:
    spoil(copy)
    with pytest.raises(DataError) as refused:
        open_recordings(copy, SIZE, cameras=("front", "side"))
    assert says in str(refused.value) and "\n" not in str(refused.value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["", *BOTH, "observation.images.side"]), st.sampled_from(["fps", "robot_type", "names", "shape", "features"]), JUNK)
def test_whatever_the_metadata_say_there_is_an_episode_or_one_clear_error(
    copy: Path, data: Datasets, feature: str, key: str, junk: object
) -> None:
    before = (copy / INFO).read_text()
    info = json.loads(before)
    (info["features"][feature] if feature else info)[key] = junk
    try:
        (copy / INFO).write_text(json.dumps(info))
        is_recording(copy)
        opened = Dataset.open(copy, reading=data.parts[0].reading)
        opened.joints(0)
        opened.episode(0)
    except DataError as error:
        assert "\n" not in str(error) and len(str(error)) < 3000
    finally:
        (copy / INFO).write_text(before)


def test_joints_in_another_order_are_put_in_the_arms(copy: Path, data: Datasets) -> None:
    table, info = pq.read_table(copy / DATA), json.loads((copy / INFO).read_text())
    for key in BOTH:
        names = info["features"][key]["names"]
        flat = pa.array(np.stack(table.column(key).to_pylist())[:, ::-1].reshape(-1))
        table = table.set_column(table.column_names.index(key), key, pa.FixedSizeListArray.from_arrays(flat, 6))
        info["features"][key]["names"] = names[::-1]
    pq.write_table(table, copy / DATA)
    (copy / INFO).write_text(json.dumps(info))
    np.testing.assert_array_equal(open_recordings(copy, SIZE).episode(0).actions, data.episode(0).actions)


def test_recordings_with_other_cameras_are_not_taken_together(copy: Path) -> None:
    without_camera("side")(copy)
    with pytest.raises(DataError, match=r"does not fit .* cameras"):
        open_recordings([RECORDED, copy], SIZE)


def test_a_recording_and_tool_moves_are_not_taken_together(tmp_path: Path) -> None:
    spec = make_spec()
    with DatasetWriter(tmp_path / "own", spec) as writer:
        writer.append(make_episode(spec, 0))
    with pytest.raises(DataError, match=r"is a recording of joints, and the actions of the other data are x, .* one kind at a time"):
        open_training([tmp_path / "own", RECORDED], SIZE)


def test_a_recording_is_also_what_is_imitated(tmp_path: Path) -> None:
    training = TrainingConfig(grasps=None, model=ModelConfig(policy_input="latents"))
    both = open_training_data([RECORDED], [RECORDED], tmp_path, training, workers=1, regime="recorded")
    assert both.demonstrations is not None and both.demonstrations.cameras == ()
    np.testing.assert_array_equal(both.demonstrations.actions, both.play.actions)


def test_a_target_that_jumps_is_followed_as_fast_as_the_limits_allow() -> None:
    spec = ActionSpec.joint_moves(("a",), np.array([0.1, 0.5]), 0.1)
    reading = JointReading(spec, lambda state: state, lambda image: image, SIZE)
    state = np.zeros((7, 2))
    action = np.array([[0.25, 0.0]] * 7)
    _, in_force = reading.told(state, action, 2)
    np.testing.assert_allclose(in_force[:, 0], [0, 0.1, 0.2, 0.25], atol=1e-7)
