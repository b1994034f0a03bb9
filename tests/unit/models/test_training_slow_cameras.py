"""Training on pictures of a camera slower than control: what it shows in between decides nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import SquareFrames, square_frames

from robo_dream.errors import DataError
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.training.config import DreamConfig, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import DreamBatches, policy_batches, train_dream
from robo_dream.training.frames import frame_index, goal_frames, last_pictures, pose_labels
from robo_dream.training.latents import encode_frames
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.representation import train_representation

EVERY = 5
CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32),
    representation=RepresentationConfig(steps=3, batch_windows=4),
    dream=DreamConfig(steps=3, batch=8, unroll=2, decoder_steps=2, decoder_batch=4),
    policy=PolicyConfig(steps=3, batch=8),
    evaluation_windows=4,
)


def slow(seed: int, length: int = 43) -> SquareFrames:
    """Squares with noise at every frame that has no new picture."""
    cache, rng = square_frames(6, length), np.random.default_rng(seed)
    old = np.arange(6 * length) % length % EVERY != 0
    noisy = {name: values.copy() for name, values in cache.images.items()}
    for values in noisy.values():
        values[old] = rng.integers(0, 255, values[old].shape, np.uint8)
    return replace(cache, images=noisy, picture_every=EVERY)


@pytest.mark.parametrize("policy_input", ["poses", "latents", "poses_and_latents"])
def test_weights_do_not_depend_on_what_is_shown_in_between(tmp_path: Path, policy_input: str) -> None:
    config, weights = replace(CONFIG, model=replace(CONFIG.model, policy_input=policy_input)), []
    for seed in (1, 2):
        cache = slow(seed)
        train_representation(cache, config, tmp_path / f"{seed}")
        train_dream(cache, config, tmp_path / f"{seed}")
        weights.append(checkpoint.load(tmp_path / f"{seed}" / "model.safetensors").state_dict())
        assert all(torch.isfinite(value).all() for value in weights[-1].values())
        assert checkpoint.read_info(tmp_path / f"{seed}" / "model.safetensors").metrics["open_loop"]["windows"] == 1
    assert [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])] == []


@pytest.mark.parametrize("policy_input", ["poses", "poses_and_latents"])
def test_what_joints_do_not_tell_is_seen_in_the_last_picture(tmp_path: Path, policy_input: str) -> None:
    one = slow(1)
    untold = np.where(np.arange(len(one.object_pose)) // 43 % 2 == 1, np.nan, 1.0)[:, None]  # the second thing, in every other episode
    cache = replace(one, object_pose=np.concatenate([one.object_pose, one.object_pose * untold], -1).astype(np.float32))
    noise = PolicyConfig(steps=3, batch=64, latent_noise=0.5)
    config = replace(CONFIG, model=replace(CONFIG.model, policy_input=policy_input), policy=noise)
    model = train_representation(cache, config, tmp_path)
    latents, last = encode_frames(model, cache), last_pictures(cache)
    pairs = policy_batches(model, cache, replace(cache, cameras=(), images={}, picture_every=1), latents, config)
    assert pairs.seen.isfinite().all()
    told = model.pose_head.normalise(torch.from_numpy(pose_labels(cache, 4)))
    num_pose, looked = told.shape[1], model.pose_head.normal(latents[torch.from_numpy(last)]).float()
    is_known, is_new = told.isfinite(), torch.from_numpy(last == np.arange(len(last)))
    between = ~is_new[:, None] & is_known
    assert torch.equal(pairs.seen[:, :num_pose][between], told[between])
    assert torch.allclose(pairs.seen[:, :num_pose][~is_known], looked[~is_known], atol=1e-5)
    batch = pairs(0)
    assert (batch.weights > 0).float().mean() > 0.8
    if policy_input == "poses_and_latents":
        assert torch.equal(pairs.seen[:, num_pose:], latents[torch.from_numpy(last)])
        off = batch.seen[:, None, num_pose:] - latents[torch.from_numpy(np.unique(last))]
        assert 0.4 < off.square().mean(-1).sqrt().amin(1).mean() < 0.6  # what stands beside poses is blurred, and nothing else
        train_dream(cache, config, tmp_path, demonstrations=replace(cache, cameras=(), images={}, picture_every=1))
    else:
        assert torch.equal(batch.seen, replace_noise(pairs, config)(0).seen)


def replace_noise(pairs: PolicyBatches, config: TrainingConfig) -> PolicyBatches:
    """The same without blur of latents, of which poses have none."""
    pairs.config = replace(config, policy=replace(config.policy, latent_noise=0.0))
    return pairs


def test_windows_and_goals_are_where_there_are_new_pictures(tmp_path: Path) -> None:
    cache = slow(1)
    index, rng = frame_index(cache, 11), np.random.default_rng(0)
    place = np.arange(6 * 43) % 43
    assert (place[index.starts] % EVERY == 0).all() and (place[index.frames] % EVERY == 0).all() and set(place[index.last]) == {40}
    goals = goal_frames(rng, index.starts, index.last[index.starts], 5, 60, index.every)
    assert (place[goals] % EVERY == 0).all() and (goals > index.starts).all()

    model = train_representation(cache, CONFIG, tmp_path)
    latents = encode_frames(model, cache)
    assert (torch.isfinite(latents).all(-1).numpy() == (place % EVERY == 0)).all()
    dream, inverse = DreamBatches(cache, CONFIG, latents), PolicyBatches(cache, CONFIG, latents)
    for step in range(20):
        batch, pairs = dream(step), inverse(step)
        distances = batch.distance_latents, batch.following, batch.distance_goals
        for values in (batch.latents, *distances, batch.bridge_goals, pairs.seen, pairs.goals):
            assert torch.isfinite(values).all()
    assert dream.num_returns > 0 and (place[dream.returns] % EVERY == 0).all()


def test_without_a_new_picture_after_each_block_training_does_not_begin(tmp_path: Path) -> None:
    from robo_dream.runtime.training_data import open_training_data
    from tests.unit.data.test_slow_cameras import SPEC, slow_episode, write

    write(tmp_path / "data", SPEC, slow_episode(0))
    with pytest.raises(DataError, match=r"every 3th control step.*script.picture_every=5"):
        open_training_data([tmp_path / "data"], [], tmp_path / "cache", CONFIG, 1)
    assert not (tmp_path / "cache").exists()
