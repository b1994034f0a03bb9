"""`robo-dream label` end to end: killed and gone on with, refused where it cannot be right, and learned from beside true actions."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robo_dream.cli import main
from robo_dream.data import layout
from robo_dream.data.episode import Episode
from robo_dream.data.reader import Dataset
from robo_dream.data.spec import CameraSpec, DatasetSpec
from robo_dream.data.writer import DatasetWriter
from robo_dream.models import checkpoint
from robo_dream.models.config import LabelWindow, ModelConfig, ModelSpec, Normaliser
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.train import TrainConfig, train
from robo_dream.training.config import DreamConfig, LabellerStage, PolicyConfig, RepresentationConfig, TrainingConfig
from tests.unit.data.episodes import make_episode, make_spec
from tests.unit.data.videos import as_video, unsure_actions

ROOT = Path(__file__).parents[2]
SIDE, EPISODES = 32, 5
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from robo_dream.runtime.label import label

torch.set_num_threads(int(sys.argv[5]))  # another number would round otherwise

def kill(done, total):
    if done == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

label(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), progress=kill)
"""


def spec_of(side: int = SIDE, cameras: tuple[str, ...] = ("front", "side")) -> DatasetSpec:
    return replace(make_spec(), test_fraction=0.25, cameras=tuple(CameraSpec(name, side, side) for name in cameras))


def write(root: Path, spec: DatasetSpec, seed: int = 0) -> Path:
    with DatasetWriter(root, spec) as writer:
        for episode in range(EPISODES):
            writer.append(one(spec, seed + episode))
    return root


def one(spec: DatasetSpec, seed: int) -> Episode:
    return make_episode(spec, seed, num_actions=9)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained, but it tells actions."""
    unit = Normaliser((0.0,) * 11, (1.0,) * 11)
    config, window = ModelConfig(image_size=SIDE, latent_dim=16, policy_input="latents"), LabelWindow(1, 1, 1)
    spec = ModelSpec(config, ("front", "side"), spec_of().action_spec, unit, unit, label_window=window)
    return checkpoint.save(LatentVideoModel(spec), tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return as_video(write(tmp_path / "video", spec_of()))


def label(*words: object) -> int:
    return main.main(["label", *map(str, words)])


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_killed_labelling_goes_on_and_ends_to_the_bit_where_an_uninterrupted_one_does(tmp_path: Path, video: Path, model: Path) -> None:
    assert label(video, "--checkpoint", model, "--out", tmp_path / "whole") == 0
    command = [sys.executable, "-c", KILLED, video, model, tmp_path / "killed", "3", torch.get_num_threads()]
    ended = subprocess.run([str(word) for word in command], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ended.returncode == -signal.SIGKILL and not (tmp_path / "killed").exists()
    unfinished = tmp_path / "killed.unfinished"
    written = {path: path.stat().st_mtime_ns for path in unfinished.glob("data/*/*.parquet")}
    assert len(written) == 2 and not (unfinished / layout.INFO).exists()
    (unfinished / "data/chunk-000/file-002.parquet.tmp-999999999").write_bytes(b"half")  # as a kill amid writing leaves it
    assert label(video, "--checkpoint", model, "--out", tmp_path / "killed") == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole") and not unfinished.exists()
    again = {path: (tmp_path / "killed" / path.relative_to(unfinished)).stat().st_mtime_ns for path in written}
    assert again == written  # what was there was not made again
    assert label(video, "--checkpoint", model, "--out", tmp_path / "killed") == 0  # it is there: nothing is done


def test_what_is_told_is_within_the_limits_and_the_last_frame_may_be_anything(tmp_path: Path, video: Path, model: Path) -> None:
    assert label(video, "--checkpoint", model, "--out", tmp_path / "copy") == 0
    data, spec = Dataset.open(tmp_path / "copy", action_spec=spec_of().action_spec, is_video=True), spec_of().action_spec
    for index in range(EPISODES):
        actions = data.video(index, ()).actions
        assert (actions >= spec.low).all() and (actions <= spec.high).all() and len(np.unique(actions[:-1], axis=0)) == 9
        assert not actions[-1].any()
    said = layout.read_json(tmp_path / "copy" / layout.LABELS)
    assert said["checkpoint_sha256"] == checkpoint.sha256(model) and said["frames"] == {"pseudo": 9 * EPISODES, "true": 0}


def test_shards_are_copied_as_shards_and_true_actions_in_them_stay(tmp_path: Path, model: Path) -> None:
    there = []
    for shard in (0, 1):
        write(tmp_path / f"video/shard-0{shard}", spec_of(), 10 * shard)
        there.append(unsure_actions(tmp_path / f"video/shard-0{shard}", lambda episode, frame: episode == 2))
    assert label(tmp_path / "video", "--checkpoint", model, "--out", tmp_path / "copy") == 0
    for shard, before in enumerate(there):
        data = Dataset.open(tmp_path / f"copy/shard-0{shard}")
        for index, actions in before.items():
            episode = data.episode(index)
            assert episode.action_std is not None
            assert (episode.actions.tobytes() == actions[:-1].tobytes()) == (index == 2)
            assert episode.action_std.any() == (index != 2)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (spec_of(cameras=("front", "wrist")), "has the cameras front (32 x 32), wrist (32 x 32), and"),
        (spec_of(side=48), "has the cameras front (48 x 48), side (48 x 48), and"),
    ],
)
def test_other_cameras_are_refused_before_anything_is_written(
    tmp_path: Path, model: Path, spec: DatasetSpec, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    video = as_video(write(tmp_path / "video", spec))
    assert label(video, "--checkpoint", model, "--out", tmp_path / "copy") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in said and "looks through front (32 x 32), side (32 x 32) (height x width in pixels)" in said
    assert [path.name for path in tmp_path.iterdir()] == ["video"]


def test_what_has_all_its_actions_or_was_told_already_is_refused(
    tmp_path: Path, video: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true = write(tmp_path / "true", spec_of())
    before = files(true)
    assert label(true, "--checkpoint", model, "--out", tmp_path / "copy") == 2
    assert "has a true action at every frame, so there is nothing to tell" in capsys.readouterr().err
    assert files(true) == before and not (tmp_path / "copy").exists()
    assert label(video, "--checkpoint", model, "--out", tmp_path / "copy") == 0
    assert label(tmp_path / "copy", "--checkpoint", model, "--out", tmp_path / "twice") == 2
    assert "has pseudo-actions already" in capsys.readouterr().err
    assert label(video, "--checkpoint", model, "--out", true) == 2  # not over another dataset
    assert "holds something else" in capsys.readouterr().err and files(true) == before
    assert label(video, "--checkpoint", model, "--out", video / "copy") == 2
    assert "is inside of" in capsys.readouterr().err


def test_a_checkpoint_that_tells_no_actions_says_how_to_teach_it(
    tmp_path: Path, video: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = checkpoint.load(model)
    path = checkpoint.save(LatentVideoModel(replace(plain.spec, label_window=None)), tmp_path / "plain.safetensors")
    assert label(video, "--checkpoint", path, "--out", tmp_path / "copy") == 2
    assert "robo-dream train stage=labeller init=" in capsys.readouterr().err


class NoBar:
    def __enter__(self) -> "NoBar":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, done: int, total: int) -> None:
        pass


def test_a_checkpoint_learns_to_label_and_another_learns_from_its_labels_beside_true_actions(tmp_path: Path) -> None:
    true, some = write(tmp_path / "true", spec_of()), write(tmp_path / "some", spec_of(), 20)
    unsure_actions(some, lambda episode, frame: False)
    training = TrainingConfig(
        model=ModelConfig(image_size=SIDE, latent_dim=16, policy_input="latents"), grasps=None,
        representation=RepresentationConfig(steps=1, batch_windows=2, unroll=1),
        dream=DreamConfig(steps=1, batch=4, unroll=1, decoder_steps=0), policy=PolicyConfig(steps=1, batch=4), evaluation_windows=1,
    )  # fmt: skip
    config = TrainConfig(tmp_path / "run", (true,), cache=tmp_path / "cache", training=training, strips=0, workers=1)
    finished = train(config, lambda text: None, lambda *words: NoBar())
    own = replace(training, labeller=LabellerStage(steps=2, batch=4))
    labelling = replace(config, out=tmp_path / "labelling", stage="labeller", init=finished, training=own)
    said: list[str] = []
    told = train(labelling, said.append, lambda *words: NoBar())
    assert any("variance of actions that labels explain" in line for line in said)
    before, after = checkpoint.read_info(finished), checkpoint.read_info(told)
    assert after.settings.planning == before.settings.planning and after.recipe["labeller"]["init_sha256"] == checkpoint.sha256(finished)
    assert label(some, "--checkpoint", told, "--out", tmp_path / "copy") == 0
    mixed = replace(
        config, out=tmp_path / "mixed", datasets=(true, tmp_path / "copy"), cache=tmp_path / "mixed_cache",
        training=replace(training, pseudo_actions=replace(training.pseudo_actions, least_told=0.0)),
    )  # fmt: skip
    parts = checkpoint.read_info(train(mixed, said.append, lambda *words: NoBar())).recipe["data"]["parts"]
    assert parts[1]["labels"]["checkpoint_sha256"] == checkpoint.sha256(told)
