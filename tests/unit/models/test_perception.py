"""What the policy should expect of the eyes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import SquareFrames, square_frames

from robo_dream.errors import ConfigError, DataError
from robo_dream.models.config import ModelConfig
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.config import DreamConfig, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import demonstrated_poses, train_dream
from robo_dream.training.frames import frame_index, model_spec
from robo_dream.training.latents import encode_frames
from robo_dream.training.perception import PerceptionErrors, perception_noise, sighted_pictures
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.representation import train_representation

CONFIG = TrainingConfig(model=ModelConfig(image_size=32), policy=PolicyConfig(batch=512))


@pytest.fixture(scope="module")
def cache() -> SquareFrames:
    return square_frames(8, 24)


@pytest.fixture(scope="module")
def model(cache: SquareFrames) -> LatentVideoModel:
    return LatentVideoModel(model_spec(cache, CONFIG.model)).eval()


@pytest.fixture(scope="module")
def errors(cache: SquareFrames, model: LatentVideoModel) -> PerceptionErrors:
    return perception_noise(model, cache, encode_frames(model, cache), demonstrated_poses(model, cache))


@torch.no_grad()
def test_true_poses_with_the_errors_of_their_pictures_are_what_is_seen_there(
    cache: SquareFrames, model: LatentVideoModel, errors: PerceptionErrors
) -> None:
    held_out = frame_index(cache, 1, "test").frames
    assert len(errors.moved) == len(held_out) == 48
    true = demonstrated_poses(model, cache)[held_out]
    torch.testing.assert_close(errors.seen(true, np.arange(48)), model.seen(encode_frames(model, cache, held_out)))


def test_a_turn_that_is_not_seen_is_not_seen_whatever_it_is(errors: PerceptionErrors) -> None:
    blind = dataclasses.replace(errors, turned=0 * errors.turned, moved=0 * errors.moved)
    angles = torch.linspace(0, 6, 7)
    poses = torch.zeros(7, 11)
    poses[:, 9], poses[:, 10] = angles.cos(), angles.sin()
    assert (blind.seen(poses, np.zeros(7, np.int64))[:, 9:] == 0).all()
    quarter = dataclasses.replace(blind, turned=torch.full_like(errors.turned, 1j))
    torch.testing.assert_close(quarter.seen(poses, np.zeros(7, np.int64))[:, 9:], torch.stack([-angles.sin(), angles.cos()], -1))


def test_here_and_goal_are_seen_with_the_errors_of_one_episode(errors: PerceptionErrors) -> None:
    here, there = errors.draw(np.random.default_rng(0), 1000)
    assert (here // 24 == there // 24).all()
    assert set(here) == set(there) == set(range(48))


def test_as_many_pairs_are_seen_badly_as_is_asked_and_what_was_done_stays(
    cache: SquareFrames, model: LatentVideoModel, errors: PerceptionErrors
) -> None:
    poses = demonstrated_poses(model, cache)
    clear = PolicyBatches(cache, CONFIG, poses)(0)
    half = dataclasses.replace(CONFIG, policy=dataclasses.replace(CONFIG.policy, perception_noise=0.5))
    batch = PolicyBatches(cache, half, poses, errors)(0)
    differs = (batch.seen != clear.seen).any(-1)
    assert 0.4 < float(differs.float().mean()) < 0.6
    assert torch.equal(differs, (batch.goals != clear.goals).any(-1))
    assert torch.equal(batch.blocks, clear.blocks) and torch.equal(batch.weights, clear.weights)


def test_without_a_held_out_pose_it_is_said_what_to_do(cache: SquareFrames) -> None:
    unknown = dataclasses.replace(cache, object_pose=np.full_like(cache.object_pose, np.nan))
    for lacking in (unknown, dataclasses.replace(cache, is_train=np.ones(8, bool))):
        with pytest.raises(DataError, match=r"training\.policy\.perception_noise=0"):
            sighted_pictures(lacking)
    with pytest.raises(ConfigError, match=r"PolicyConfig.perception_noise is 1.5"):
        PolicyConfig(perception_noise=1.5)
    with pytest.raises(ConfigError, match="no demonstrations are given"):
        TrainConfig(datasets=(Path("play"),), training=TrainingConfig(policy=PolicyConfig(perception_noise=0.5)))


def test_a_training_learns_from_demonstrations_seen_with_errors(cache: SquareFrames, tmp_path: Path) -> None:
    config = TrainingConfig(
        model=ModelConfig(image_size=32), representation=RepresentationConfig(steps=1, batch_windows=4),
        dream=DreamConfig(steps=1, batch=8, unroll=2, decoder_steps=0), policy=PolicyConfig(steps=2, batch=8), evaluation_windows=4,
    )  # fmt: skip
    shown = dataclasses.replace(square_frames(6, 30, seed=1), cameras=(), images={}, dataset_id="shown")
    train_representation(cache, config, tmp_path)
    clear = train_dream(cache, config, tmp_path, demonstrations=shown).policy.state_dict()
    (tmp_path / "policy.state.safetensors").unlink()
    erring = dataclasses.replace(config, policy=dataclasses.replace(config.policy, perception_noise=1.0))
    learned = train_dream(cache, erring, tmp_path, demonstrations=shown).policy.state_dict()
    assert any(not torch.equal(clear[name], learned[name]) for name in clear)
