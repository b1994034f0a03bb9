"""What windows the dynamics learn from: as before where nobody weighs them, more of those on which the model errs where somebody does."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import SquareFrames, square_frames

from robo_dream.errors import DataError
from robo_dream.models.config import ModelConfig
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import DreamConfig, TrainingConfig
from robo_dream.training.dream import DreamBatches
from robo_dream.training.frames import model_spec
from robo_dream.training.priority import PriorityConfig, read_chances, weigh, window_chances, window_errors, write_chances

CONFIG = TrainingConfig(model=ModelConfig(image_size=32), dream=DreamConfig(batch=64, unroll=2))
ODD = 1  # the episode in which the world does what it never does elsewhere
LENGTH = 30


@pytest.fixture(scope="module")
def frames() -> SquareFrames:
    usual = square_frames(4, LENGTH)
    order = np.arange(4 * LENGTH)
    order[ODD * LENGTH : (ODD + 1) * LENGTH] = np.random.default_rng(0).permutation(4 * LENGTH)[:LENGTH]  # all jumps about
    return dataclasses.replace(usual, images={name: picture[order] for name, picture in usual.images.items()}, proprio=usual.proprio[order])


@pytest.fixture(scope="module")
def model(frames: SquareFrames) -> LatentVideoModel:
    torch.manual_seed(0)
    return LatentVideoModel(model_spec(frames, CONFIG.model)).eval()


def of_odd(chances: np.ndarray) -> float:
    return float(chances[ODD * LENGTH : (ODD + 1) * LENGTH].sum())


def test_surprise_draws_the_episode_more_often_on_which_the_model_errs(frames: SquareFrames, model: LatentVideoModel) -> None:
    errors = window_errors(model, frames, 2)
    inside = np.isfinite(errors)
    assert np.nanmean(errors[ODD * LENGTH : (ODD + 1) * LENGTH]) > 1.2 * np.nanmean(errors)
    visits = np.zeros(len(errors))
    alike, surprise = (weigh(errors, visits, PriorityConfig(kind=kind)).chances for kind in ("uniform", "surprise"))
    assert of_odd(surprise) > 1.1 * of_odd(alike) and surprise.sum() == pytest.approx(1)
    assert (surprise[~inside] == 0).all() and (np.diff(surprise[inside][np.argsort(errors[inside])]) >= 0).all()
    latents = torch.zeros(len(errors), CONFIG.model.latent)
    drawn = np.random.default_rng(0).choice(len(errors), 4000, p=surprise)
    assert abs(np.mean((drawn // LENGTH) == ODD) - of_odd(surprise)) < 0.03
    assert DreamBatches(frames, CONFIG, latents, chances=surprise).chances is not None


def test_curious_replay_prefers_what_was_seldom_drawn_and_comes_back_to_surprise(frames: SquareFrames) -> None:
    errors, visits = np.array([1.0, 1.0, 3.0, np.nan]), np.array([0.0, 50.0, 50.0, 0.0])
    first, second, third, none = weigh(errors, visits, PriorityConfig(kind="curious_replay")).chances
    assert first > 100 * second and none == 0.0
    late = weigh(errors, np.full(4, 1e3), PriorityConfig(kind="curious_replay")).chances
    np.testing.assert_allclose(late, weigh(errors, visits, PriorityConfig(kind="surprise")).chances)
    assert third > second


def test_without_weights_the_batches_are_those_of_before_to_the_bit(frames: SquareFrames) -> None:
    latents = torch.arange(4 * LENGTH, dtype=torch.float32)[:, None].expand(-1, CONFIG.model.latent)
    first = DreamBatches(frames, CONFIG, latents)(3).latents[:, 0, 0].numpy()
    index = DreamBatches(frames, CONFIG, latents).index.starts
    before = np.random.default_rng((CONFIG.seed, 2, 3)).choice(index, CONFIG.dream.batch)  # as it was before there were weights
    np.testing.assert_array_equal(first, before)
    only = np.zeros(4 * LENGTH)
    only[index[5]] = 2.0
    assert (DreamBatches(frames, CONFIG, latents, chances=only)(3).latents[:, 0, 0].numpy() == index[5]).all()


@pytest.mark.parametrize(
    ("chances", "said"),
    [(np.zeros(9), "not all 0"), (np.full(9, np.nan), "finite"), (-np.ones(9), "not negative"), (np.ones(3), "3 frames")],
)
def test_weights_by_which_nothing_can_be_drawn_are_refused(chances: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        window_chances(chances, np.array([0, 5]))


def test_weights_of_other_data_are_refused(frames: SquareFrames, tmp_path: Path) -> None:
    write_chances(tmp_path / "chances.npy", np.ones(7))
    with pytest.raises(DataError, match="these data have 120 frames"):
        read_chances(tmp_path / "chances.npy", frames)
    (tmp_path / "chances.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="holds no chances"):
        read_chances(tmp_path / "chances.npy", frames)
