"""Pictures through worse cameras: what the effects do, and that training without them is what it was."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from squares import square_frames

from robo_dream.data.camera_effects import CameraEffectRanges, CameraEffects
from robo_dream.models.config import ModelConfig
from robo_dream.training.config import RepresentationConfig, TrainingConfig
from robo_dream.training.representation import Batches, train_representation
from robo_dream.training.stage import _relevant

CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32, latent_dim=32, num_heads=2), representation=RepresentationConfig(steps=3, batch_windows=4), seed=3
)
EFFECTS = CameraEffectRanges(exposure=0.3, noise=0.03, blur=1.0, jpeg=40)
ON = dataclasses.replace(CONFIG, representation=dataclasses.replace(CONFIG.representation, camera_effects=EFFECTS))
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(60, 180, (32, 32, 3), dtype=np.uint8)


def test_without_effects_a_picture_is_left_alone() -> None:
    assert CameraEffects().on(PICTURE, RNG) is PICTURE


def test_exposure_is_a_gain_and_noise_has_its_deviation_and_blur_keeps_the_mean() -> None:
    brighter = CameraEffects(exposure=1.2).on(PICTURE, RNG).astype(float)
    np.testing.assert_allclose(brighter, 1.2 * PICTURE, atol=0.51)
    noisy = CameraEffects(noise=0.04).on(PICTURE, np.random.default_rng(1)).astype(float) - PICTURE
    assert noisy.std() == pytest.approx(255 * 0.04, rel=0.05) and abs(noisy.mean()) < 1
    blurred = CameraEffects(blur=2.0).on(PICTURE, RNG).astype(float)
    assert blurred.std() < 0.3 * PICTURE.std() and blurred.mean() == pytest.approx(PICTURE.mean(), abs=1.5)


def test_a_worse_jpeg_is_farther_from_the_picture() -> None:
    off = [np.abs(CameraEffects(jpeg=quality).on(PICTURE, RNG).astype(int) - PICTURE).mean() for quality in (95, 60, 20)]
    assert 0 < off[0] < off[1] < off[2]


def test_noise_is_decided_by_its_random_numbers_alone() -> None:
    effects = CameraEffects(1.1, 0.5, 0.02, 60)
    one, same, other = (effects.on(PICTURE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_training_shows_the_encoder_worse_pictures_and_asks_for_clear_ones() -> None:
    cache = square_frames(4, 20)
    clear, worse = Batches(cache, CONFIG)(1), Batches(cache, ON)(1)
    assert clear.seen is None and worse.seen is not None
    for view, same, seen in zip(clear.views, worse.views, worse.seen, strict=True):
        assert torch.equal(view, same) and seen.shape == view.shape and seen.dtype == torch.uint8
        assert (seen.float() - view.float()).abs().mean() > 1
    assert all(torch.equal(one, other) for one, other in zip(worse.seen, Batches(cache, ON)(1).seen or [], strict=True))
    for part in ("proprio", "blocks", "poses", "bootstrap", "jitter"):
        assert torch.equal(getattr(clear, part), getattr(worse, part))


def test_a_model_learns_from_worse_pictures_otherwise(tmp_path) -> None:
    cache = square_frames(4, 20)
    one, other = (train_representation(cache, config, tmp_path / name) for name, config in (("clear", CONFIG), ("worse", ON)))
    assert not torch.equal(next(one.encoder.parameters()), next(other.encoder.parameters()))


def test_without_effects_a_training_says_what_it_said_before_there_were_any() -> None:
    """So a training that was begun before goes on."""
    assert "camera_effects" not in json.dumps([CONFIG.to_json(), _relevant(CONFIG, "representation")])
    assert _relevant(ON, "representation")["representation"]["camera_effects"]["jpeg"] == 40  # type: ignore[index]
