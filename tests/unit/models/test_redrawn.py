"""Other looks of the same episodes: the encoder learns them, from pairs alone, and nothing else changes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import SquareFrames, square_frames

from robo_dream.errors import CheckpointError, ConfigError, DataError
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.config import DreamConfig, PolicyConfig, RedrawnStage, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import train_dream
from robo_dream.training.redrawn import MODEL_FILE, frame_pairs, train_redrawn
from robo_dream.training.representation import train_representation

CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32),
    representation=RepresentationConfig(steps=25, batch_windows=8),
    dream=DreamConfig(steps=15, batch=32, unroll=1, decoder_steps=0),
    policy=PolicyConfig(steps=1, batch=8),
    redrawn=RedrawnStage(steps=60, batch=64, learning_rate=3e-4, usual=0.25),
    evaluation_windows=1,
    log_steps=20,
)
FEW = replace(CONFIG, redrawn=RedrawnStage(steps=4, batch=8), log_steps=1)
OTHER_COLOURS = [[1, 2, 0], [2, 0, 1], [2, 1, 0]]


@pytest.fixture(scope="module")
def usual() -> SquareFrames:
    return square_frames(12, 40)


@pytest.fixture(scope="module")
def redrawn(usual: SquareFrames) -> SquareFrames:
    """Negatives with colours swapped, another way in each frame, and another light."""
    rng = np.random.default_rng(5)
    count = len(usual.proprio)
    swapped, light = rng.integers(len(OTHER_COLOURS), size=count), rng.uniform(0.7, 1.0, count)
    images = {
        name: np.stack([255 - some[frame][..., OTHER_COLOURS[swapped[frame]]] * light[frame] for frame in range(count)]).astype(np.uint8)
        for name, some in usual.images.items()
    }
    return replace(usual, images=images, dataset_id="redrawn")


@pytest.fixture(scope="module")
def finished(usual: SquareFrames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train_representation(usual, CONFIG, folder)
    train_dream(usual, CONFIG, folder)
    return folder / MODEL_FILE


@pytest.fixture(scope="module")
def trained(usual: SquareFrames, redrawn: SquareFrames, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("redrawn")
    train_redrawn(usual, redrawn, CONFIG, folder, finished)
    return folder / MODEL_FILE


def test_other_looks_are_seen_as_the_usual_ones_in_held_out_episodes(trained: Path) -> None:
    found = checkpoint.read_info(trained).metrics["redrawn"]
    assert found["after"]["latent"] < 0.01 * found["before"]["latent"]
    assert found["after"]["object_mean_mm"] < 0.1 * found["before"]["object_mean_mm"]
    assert found["usual"]["latent"] < 1  # of a variance that is 1: not forgotten


def test_nothing_but_the_encoder_changes_and_its_scale_does_not(finished: Path, trained: Path) -> None:
    before, after = (checkpoint.load(path).state_dict() for path in (finished, trained))
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all(name.startswith("encoder.") for name in changed)
    assert not any("scale" in name for name in changed)
    assert checkpoint.read_info(trained).metrics.keys() == checkpoint.read_info(finished).metrics.keys() | {"redrawn"}


def test_labels_that_are_scrambled_change_not_one_bit(usual: SquareFrames, redrawn: SquareFrames, finished: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def scrambled(frames: SquareFrames) -> SquareFrames:
        return replace(frames, object_pose=rng.normal(size=frames.object_pose.shape), skill=rng.integers(0, 2, len(frames.skill)))

    train_redrawn(usual, redrawn, FEW, tmp_path / "told", finished)
    train_redrawn(scrambled(usual), scrambled(redrawn), FEW, tmp_path / "scrambled", finished)
    assert (tmp_path / "told" / MODEL_FILE).read_bytes() == (tmp_path / "scrambled" / MODEL_FILE).read_bytes()


class StoppedError(Exception):
    """A killed training."""


def stop_after(steps: int, total: int) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        if of == total and done == steps:
            raise StoppedError

    return progress


def test_a_resumed_training_ends_to_the_bit_where_an_uninterrupted_one_does(
    usual: SquareFrames, redrawn: SquareFrames, finished: Path, tmp_path: Path
) -> None:
    eager = replace(FEW, save_seconds=1e-9)
    train_redrawn(usual, redrawn, eager, tmp_path / "whole", finished)
    with pytest.raises(StoppedError):
        train_redrawn(usual, redrawn, eager, tmp_path / "torn", finished, progress=stop_after(3, 4))
    train_redrawn(usual, redrawn, eager, tmp_path / "torn", finished)
    assert (tmp_path / "whole" / MODEL_FILE).read_bytes() == (tmp_path / "torn" / MODEL_FILE).read_bytes()
    with pytest.raises(CheckpointError, match="another dataset"):
        train_redrawn(usual, replace(redrawn, dataset_id="others"), eager, tmp_path / "torn", finished)


def test_twins_are_found_in_any_order_and_more_than_once(usual: SquareFrames) -> None:
    order = [3, 0, 3, 11]
    frames = np.concatenate([np.arange(40) + 40 * episode for episode in order])
    shuffled = replace(
        usual, proprio=usual.proprio[frames], actions=usual.actions[frames], episode_starts=np.arange(len(order) + 1) * 40,
        is_train=np.array([True, False, True, False]),
    )  # fmt: skip
    pairs = frame_pairs(usual, shuffled)
    np.testing.assert_array_equal(pairs.usual, frames)
    np.testing.assert_array_equal(pairs.redrawn, np.arange(160))
    np.testing.assert_array_equal(pairs.of(False).usual, np.concatenate([np.arange(40), np.arange(440, 480)]))


def test_where_cameras_are_slow_frames_with_a_new_picture_are_paired(usual: SquareFrames) -> None:
    pairs = frame_pairs(replace(usual, picture_every=2), replace(usual, picture_every=3))
    np.testing.assert_array_equal(pairs.usual[:7], [0, 6, 12, 18, 24, 30, 36])
    assert (pairs.usual % 40 % 6 == 0).all() and (pairs.usual == pairs.redrawn).all()


@pytest.mark.parametrize("part", ["proprio", "actions", "a frame fewer"])
def test_an_episode_without_a_twin_is_named(usual: SquareFrames, redrawn: SquareFrames, part: str) -> None:
    if part == "a frame fewer":
        other = replace(redrawn, episode_starts=np.array([*redrawn.episode_starts[:-1], redrawn.episode_starts[-1] - 1]))
        with pytest.raises(DataError, match=r"episode 11 of redrawn .* no twin .* 39 frames"):
            frame_pairs(usual, other)
        return
    proprio, actions = redrawn.proprio.copy(), redrawn.actions.copy()
    numbers = proprio if part == "proprio" else actions
    numbers[45, 0] = np.nextafter(numbers[45, 0], np.float32(1))
    with pytest.raises(DataError, match=r"episode 1 of redrawn .* has no twin among the 12 of squares"):
        frame_pairs(usual, replace(redrawn, proprio=proprio, actions=actions))


def test_what_the_stage_needs_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="init is not given"):
        TrainConfig(stage="redrawn")
    with pytest.raises(ConfigError, match=r"training\.redrawn is not given"):
        TrainConfig(stage="redrawn", init=Path("x"))
    with pytest.raises(ConfigError, match="and redrawn is not given"):
        TrainConfig(stage="redrawn", init=Path("x"), training=TrainingConfig(redrawn=RedrawnStage()))
    with pytest.raises(ConfigError, match="set stage to redrawn"):
        TrainConfig(redrawn=(Path("x"),))
