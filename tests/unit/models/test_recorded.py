"""The recorded regime: whatever lies beside pictures, joints and actions changes not one bit of the checkpoint."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from grasping import carried

from robo_dream.config import load
from robo_dream.data.episode import Episode
from robo_dream.data.spec import DatasetSpec
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import ConfigError
from robo_dream.models import checkpoint
from robo_dream.runtime import training_data
from robo_dream.runtime.train import TrainConfig
from robo_dream.runtime.training_data import labels_in_words, looked_at, open_training_data
from robo_dream.training.dream import MODEL_FILE, train_dream
from robo_dream.training.grasps import GraspConfig, Held
from robo_dream.training.recorded import CYCLES, NOTHING_HELD, Recording, cycles_of
from robo_dream.training.representation import train_representation
from tests.unit.data.episodes import make_episode, make_spec

SETTINGS = """
datasets: [data]
demonstrations: [data]
out: out
cache: cache
regime: recorded
strips: 0
workers: 1
training:
  grasps: {retreat: 0.6}
  looks: {steps: 3, batch: 4, fewest: 20}
  model: {image_size: 32, num_heads: 2}
  representation: {steps: 3, batch_windows: 4, pose: 1.0}
  dream: {steps: 3, batch: 8, unroll: 2, decoder_steps: 2, decoder_batch: 4}
  policy: {steps: 3, batch: 8, skills: [carrying, carrying_next], perception_noise: 1.0}
  evaluation_windows: 4
"""


def spec() -> DatasetSpec:
    made = make_spec()
    return replace(made, test_fraction=0.4, cameras=tuple(replace(camera, width=32, height=32, intrinsics=None) for camera in made.cameras))


def episode(seed: int) -> Episode:
    """Two carryings, and from seed 5 none."""
    rng = np.random.default_rng(seed)
    places = [(float(x), float(y), float(turn)) for x, y, turn in rng.uniform(-0.3, 0.3, (3, 3))]
    one = carried(places, rng)
    made = make_episode(spec(), seed, num_actions=len(one.proprio) - 1)
    return replace(made, proprio=np.where(np.arange(11) == 5, 0.0, one.proprio).astype(np.float32) if seed == 5 else one.proprio)


def write(root: Path, labels: str = "told") -> None:
    """Episodes whose labels are `told`, `scrambled`, or `gone` from the disk."""
    rng, made = np.random.default_rng(99), spec()
    made = replace(made, sim_state_size=0) if labels == "gone" else made
    with DatasetWriter(root, made) as writer:
        for seed in range(6):
            one = episode(seed)
            if labels == "scrambled":
                one = replace(
                    one, object_pose=rng.normal(size=one.object_pose.shape).astype(np.float32), task="something else",
                    sim_state=rng.normal(size=one.sim_state.shape), skill=rng.integers(0, 3, len(one.skill)), info={"success": False},
                )  # fmt: skip
            writer.append(replace(one, sim_state=one.sim_state[:, : made.sim_state_size]))
    if labels == "gone":
        _remove(root)


def _remove(root: Path) -> None:
    labels = ("observation.environment_state", "skill")
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(
        json.dumps({**info, "features": {name: value for name, value in info["features"].items() if name not in labels}})
    )
    for path in (root / "data").rglob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(list(labels)), path)
    for path in (root / "meta/episodes").rglob("*.parquet"):  # which say by a hash that data files are as they were written
        table = pq.read_table(path)
        pq.write_table(table.drop_columns([name for name in table.column_names if "sha256" in name]), path)


def trained(folder: Path, changes: Sequence[str] = ()) -> Path:
    """What `robo-dream train` learns from `folder`/data."""
    (folder / "train.yaml").write_text(SETTINGS)
    config = load(TrainConfig, folder / "train.yaml", changes)
    data = open_training_data([folder / "data"], [folder / "data"], folder / "cache", config.training, 1, regime=config.regime)
    data = looked_at(data, config.training, folder / "out")
    if config.regime == "recorded":  # failures are imitated as their pictures show them
        assert data.demonstrations is not None and data.demonstrations.dataset_id == data.play.dataset_id
    train_representation(data.play, config.training, folder / "out")
    train_dream(data.play, config.training, folder / "out", demonstrations=data.demonstrations)
    return folder / "out" / MODEL_FILE


BESIDE = ["training.switches={count: 1}", "training.slides={count: 1}"]
TWO = ["training.grasps.things=2", "training.model.policy_input=poses_and_latents", "training.policy.perception_noise=0"]


@pytest.mark.parametrize("changes", [[], TWO, BESIDE], ids=["one thing", "two, and latents beside poses", "a thing, a slide and a switch"])
def test_labels_that_are_scrambled_or_gone_change_not_one_bit_of_what_is_learned(
    tmp_path: Path, changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_turn(held: Sequence[Held], *_: object) -> list[list[int]]:  # these pictures are noise, which tells nothing apart
        return [[number % 2 for number, _ in enumerate(one.holds)] for one in held]

    def in_halves(recording: Recording, *_: object) -> np.ndarray:  # and on which nothing was pressed or slid
        high = np.arange(len(recording.proprio)) % 20 < 10
        return np.stack([np.full(len(high), 0.3), np.zeros(len(high)), np.where(high, 0.2, 0.1), np.zeros(len(high))], -1)[:, None]

    monkeypatch.setattr(training_data, "told_apart", in_turn)
    monkeypatch.setattr(training_data, "switch_poses", in_halves)
    monkeypatch.setattr(training_data, "slide_poses", in_halves)
    files = []
    for labels in ("told", "scrambled", "gone"):
        write(tmp_path / labels / "data", labels)
        files.append(trained(tmp_path / labels, changes))
    infos, models = [checkpoint.read_info(path) for path in files], [checkpoint.load(path).state_dict() for path in files]
    for info, model in zip(infos[1:], models[1:], strict=True):
        assert info.dataset_id == infos[0].dataset_id and info.metrics == infos[0].metrics
        assert model.keys() == models[0].keys() and all(model[key].equal(models[0][key]) for key in model)
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()
    if changes:
        assert checkpoint.load(files[0]).spec.num_objects == (2 if changes == TWO else 3)
        return
    shutil.rmtree(tmp_path / "told/out")
    changes = ["regime=privileged", "training.grasps=null", "training.policy.skills=[]", "training.policy.perception_noise=0.5"]
    privileged = checkpoint.load(trained(tmp_path / "told", changes)).state_dict()
    assert any(not privileged[key].equal(models[0][key]) for key in privileged)  # the same files, with their labels read


def test_with_slides_and_switches_a_skill_ends_where_anything_was_brought_and_left() -> None:
    poses = np.zeros((200, 2, 7), np.float32)
    poses[50:, 0, 0] = 0.2 * np.clip(np.arange(150) / 20, 0, 1)  # one is moved over 20 frames
    poses[120:, 1, 2] = 0.1  # the other is pressed, and not known around that
    poses[115:126, 1] = np.nan
    poses[160:, 0, 1] = 0.01  # too little
    skill = cycles_of(poses.reshape(200, 14), [0, 200], GraspConfig(approach=1.0, retreat=0.5), 0.05)
    runs = [(int(values[0]), len(values)) for values in np.split(skill, 1 + np.flatnonzero(np.diff(skill)))]
    assert runs == [(2, 30), (0, 51), (2, 13), (1, 43), (2, 63)]  # 30 + 51: 20 before, 21 of the move, 10 after


def test_skills_end_where_a_thing_was_set_down_and_left_and_poses_are_known_where_joints_tell_them(tmp_path: Path) -> None:
    write(tmp_path / "data")
    (tmp_path / "train.yaml").write_text(SETTINGS)
    config = load(TrainConfig, tmp_path / "train.yaml", [])
    play = open_training_data([tmp_path / "data"], [], tmp_path / "cache", config.training, 1, regime="recorded").play
    assert play.skills == (*CYCLES, NOTHING_HELD) and play.sim_state.shape[1] == 0
    first = slice(play.episode_starts[0], play.episode_starts[1])
    assert list(dict.fromkeys(play.skill[first].tolist())) == [0, 1, 2]
    closed = play.proprio[first, 5] > 0.5
    assert (play.skill[first][closed] < 2).all()
    for cycle in (0, 1):  # ends where the hand is open and has risen
        last = np.flatnonzero(play.skill[first] == cycle)[-1]
        assert not closed[last] and play.proprio[first][last, 2] > 0.1
    assert labels_in_words(play, play).startswith("Looking mended no label")
    assert "by 5.0 mm" in labels_in_words(play, replace(play, object_pose=play.object_pose + np.float32([0.003, 0.004, *[0] * 5])))
    two = replace(play, object_pose=np.concatenate([play.object_pose, np.nan * play.object_pose], -1))
    assert labels_in_words(play, two).endswith(f"known in {100 * np.isfinite(play.object_pose[:, 0]).mean():.0f} %, 0 % of the frames.")
    known = np.isfinite(play.object_pose[first]).all(-1)
    assert 0.8 < known.mean() < 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["training.policy.skills=[reach]"], "chooses among scripts"),
        (["training.grasps=null"], "training.model.policy_input is poses, and training.grasps is null"),
        (["training.model.policy_input=poses_and_latents", "demonstrations=[other]"], "which demonstrations do not show: name none, or"),
        (
            ["training.model.policy_input=poses_and_latents", "regime=privileged", "training.grasps=null"],
            "which demonstrations do not show",
        ),
        (["regime=privileged"], "training.grasps tells poses from joints, but regime is privileged"),
    ],
)
def test_what_reads_more_than_was_recorded_is_refused(tmp_path: Path, changes: list[str], said: str) -> None:
    (tmp_path / "train.yaml").write_text(SETTINGS)
    with pytest.raises(ConfigError, match=said):
        load(TrainConfig, tmp_path / "train.yaml", changes)
