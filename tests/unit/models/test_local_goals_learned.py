"""Local goals: what they learn from, how they are added to what is finished, and that all else stays as it was."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_model, small_spec
from squares import SquareFrames, square_frames

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import LocalGoal
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig, ModelSpec
from robo_dream.models.policy_prior import LocalPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.testing.point_mass import PointMassModel, point_action_spec
from robo_dream.training.config import DreamConfig, LocalGoalStage, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import add_local_goals, demonstrated_poses, train_dream
from robo_dream.training.local_goals import LocalBatch, LocalGoalBatches, errors_of
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.representation import train_representation

CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32),
    representation=RepresentationConfig(steps=2, batch_windows=4),
    dream=DreamConfig(steps=2, batch=8, unroll=2, decoder_steps=1, decoder_batch=4),
    policy=PolicyConfig(steps=2, batch=8),
    evaluation_windows=4,
)
WITH = dataclasses.replace(CONFIG, local_goals=LocalGoalStage(steps=4, batch=64))


@pytest.fixture(scope="module")
def cache() -> SquareFrames:
    return square_frames(4, 24)


@pytest.fixture(scope="module")
def finished(cache: SquareFrames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished")
    train_representation(cache, CONFIG, run_dir)
    train_dream(cache, CONFIG, run_dir)
    return run_dir


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path).state_dict()


def test_a_model_without_them_is_described_as_ever_and_one_with_them_keeps_all_other_weights() -> None:
    plain, old = small_model(3), small_spec()
    assert "local_goals" not in old.to_json() and plain.local_goals is None
    made = plain.with_local_goals((5, 10))
    assert ModelSpec.from_json(made.spec.to_json()).local_goals == made.spec.local_goals == (5, 10)
    kept = made.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in plain.state_dict().items())
    assert {name.split(".")[0] for name in set(kept) - set(plain.state_dict())} == {"local_goals"}


@pytest.mark.parametrize("ahead", [[7], [10, 5], [5, 5], [0], [5.0], "5", list(range(5, 90, 5)), [5000]])
def test_steps_ahead_that_cannot_be_are_refused(ahead: object) -> None:
    with pytest.raises(ConfigError, match="growing multiples of the action block, 5"):
        ModelSpec.from_json({**small_spec().to_json(), "local_goals": ahead})


def test_who_is_at_the_goal_before_stays_there(cache: SquareFrames) -> None:
    frames = torch.arange(len(cache.actions), dtype=torch.float32)[:, None]
    pairs = PolicyBatches(cache, CONFIG, frames)
    batch = LocalGoalBatches(pairs, (5, 10), 256)(0)
    apart = batch.goals - batch.seen
    torch.testing.assert_close(batch.moved, torch.cat([apart.clamp(max=5.0), apart.clamp(max=10.0)], 1))
    assert (apart < 10).any() and (apart > 10).any()
    again, other = (LocalGoalBatches(pairs, (5, 10), 256)(step) for step in (0, 1))
    assert torch.equal(again.seen, batch.seen) and not torch.equal(other.seen, batch.seen)


def test_added_to_a_finished_checkpoint_all_else_is_as_it_was(cache: SquareFrames, finished: Path, tmp_path: Path) -> None:
    added = add_local_goals(cache, WITH, tmp_path, finished / "model.safetensors")
    before, after = weights(finished / "model.safetensors"), weights(tmp_path / "model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items()) and added.spec.local_goals == (5, 10)
    one, two = (checkpoint.read_info(folder / "model.safetensors") for folder in (finished, tmp_path))
    assert (one.metrics, one.dataset_id, one.recipe) == (two.metrics, two.dataset_id, two.recipe)


def test_a_training_that_learns_them_too_goes_on_where_one_without_was(cache: SquareFrames, finished: Path, tmp_path: Path) -> None:
    for path in finished.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    steps: list[int] = []
    train_dream(cache, WITH, tmp_path, progress=lambda done, total: steps.append(total))
    assert steps[-4:] == [4] * 4 and 2 not in steps  # nothing but local goals was left to learn
    before, after = weights(finished / "model.safetensors"), weights(tmp_path / "model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items()) and set(after) > set(before)


def test_they_learn_where_things_will_be(cache: SquareFrames, finished: Path, tmp_path: Path) -> None:
    far = dataclasses.replace(CONFIG, policy=PolicyConfig(steps=2, at_end=0.0, within_skill=0.0, shortest_goal=8, longest_goal=12))
    config = dataclasses.replace(far, local_goals=LocalGoalStage(steps=150, batch=128))
    pose = demonstrated_poses(checkpoint.load(finished / "model.safetensors"), cache)
    model = add_local_goals(cache, config, tmp_path, finished / "model.safetensors", demonstrations=cache)
    held_out = LocalGoalBatches(PolicyBatches(cache, config, pose), (5, 10), 256)(10**6)
    for error, stay in errors_of(model, held_out).values():
        assert error < 0.5 * stay


def test_without_pairs_that_count_nothing_is_said_of_errors_and_nothing_breaks() -> None:
    model = small_model().with_local_goals((5,))
    zeros = torch.zeros(2, 11)
    found = errors_of(model, LocalBatch(zeros, zeros, torch.ones(2, 11), torch.tensor([1.0, 0.0])))
    assert found[5][1] == pytest.approx(1.0)


def test_a_prior_tells_each_of_its_steps_and_true_physics_is_read_by_poses() -> None:
    model = small_model().with_local_goals((5, 10))
    here, there = torch.randn(2, 3, model.spec.config.latent, generator=torch.Generator().manual_seed(0))
    prior, likeliest = LocalPrior(model, model), (torch.zeros(3), torch.zeros(3, 22))
    five, ten = (prior.soon(here, there, *likeliest, steps) for steps in (5, 10))
    assert isinstance(five, LocalGoal) and five.numbers.shape == (3, 11) and not torch.equal(five.numbers, ten.numbers)
    off = prior.soon(here, there, torch.zeros(3), torch.ones(3, 22), 10)
    torch.testing.assert_close(off.numbers - ten.numbers, ten.stds)
    physics = PointMassModel(point_action_spec())
    told = LocalPrior(model, physics).soon(torch.zeros(3, 8), torch.ones(3, 8), *likeliest, 5)
    assert told.numbers.shape == (3, 11)
    with pytest.raises(ContractError, match="no other encoder can stand in"):
        LocalPrior(small_model(policy_input="latents").with_local_goals((5,)), physics)
    with pytest.raises(ContractError, match="has learned no local goals"):
        LocalPrior(small_model(), physics)


@pytest.mark.parametrize(("policy_input", "num"), [("poses", 11), ("latents", 256), ("poses_and_latents", 267)])
def test_they_are_in_the_numbers_that_the_policy_sees(policy_input: str, num: int) -> None:
    model = small_model(policy_input=policy_input).with_local_goals((5,))
    latents = torch.zeros(2, model.spec.config.latent)
    assert model.seen(latents).shape == (2, num) and model.spec.num_seen == num
    prior = LocalPrior(model, model)
    assert prior.soon(latents, latents, torch.zeros(2), torch.zeros(2, prior.num_numbers), 5).numbers.shape == (2, num)


def test_a_checkpoint_with_them_is_read_as_it_was_written(tmp_path: Path) -> None:
    model = small_model().with_local_goals((5, 10))
    path = checkpoint.save(model, tmp_path / "model.safetensors", half=False)
    read = checkpoint.load(path)
    assert isinstance(read, LatentVideoModel) and read.spec.local_goals == (5, 10)
    assert all(np.array_equal(value.numpy(), read.state_dict()[name].numpy()) for name, value in model.state_dict().items())
