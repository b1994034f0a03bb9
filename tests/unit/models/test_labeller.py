"""The stage that teaches a finished checkpoint to tell actions of video, and how far what is told is learned from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_spec
from squares import SquareFrames, square_frames

from robo_dream.errors import DataError
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import (
    DreamConfig,
    LabellerStage,
    PolicyConfig,
    PseudoActions,
    RepresentationConfig,
    TrainingConfig,
)
from robo_dream.training.dream import DreamBatches, dream_losses, train_dream
from robo_dream.training.frames import true_episodes
from robo_dream.training.labeller import MODEL_FILE, STAGE, learn_labeller, told_actions, train_labeller
from robo_dream.training.latents import encode_frames
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.pseudo_actions import action_weights
from robo_dream.training.representation import Batches, representation_losses, train_representation
from robo_dream.training.stage import MetricsLog, TrainingRun

CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32, policy_input="latents"),
    representation=RepresentationConfig(steps=1, batch_windows=2),
    dream=DreamConfig(steps=1, batch=32, unroll=2, decoder_steps=0),
    policy=PolicyConfig(steps=1, batch=64),
    labeller=LabellerStage(steps=5, batch=16),
    evaluation_windows=1,
    log_steps=1,
)


@pytest.fixture(scope="module")
def frames() -> SquareFrames:
    return square_frames(8, 40)


@pytest.fixture(scope="module")
def finished(frames: SquareFrames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train_representation(frames, CONFIG, folder)
    train_dream(frames, CONFIG, folder)
    return folder / MODEL_FILE


@pytest.fixture(scope="module")
def labelling(frames: SquareFrames, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelling")
    train_labeller(frames, CONFIG, folder, finished)
    return folder / MODEL_FILE


CALM, SHAKY = 0.05, 0.4  # standard deviations with which a place is seen, in half ranges of a move


def walks(num_episodes: int = 120, length: int = 40) -> tuple[SquareFrames, torch.Tensor]:
    """Random walks whose places are seen with errors, in every second episode with large ones: so errors of moves are known."""
    frames, rng = square_frames(num_episodes, length), np.random.default_rng(3)
    moves = rng.uniform(-1, 1, (num_episodes, length, 5))
    place = np.concatenate([np.zeros_like(moves[:, :1]), moves[:, :-1].cumsum(1)], 1)[..., :2]
    is_shaky = np.broadcast_to((np.arange(num_episodes) % 2)[:, None, None], (num_episodes, length, 1))
    seen = place + np.where(is_shaky, SHAKY, CALM) * rng.normal(size=place.shape)
    latents = np.concatenate([seen, is_shaky, rng.normal(size=(num_episodes, length, 13))], -1)
    actions = np.where(np.arange(5) < 2, moves, 0) * frames.action_spec.high
    frames = replace(frames, actions=actions.reshape(-1, 5).astype(np.float32))
    return frames, torch.from_numpy(latents.reshape(-1, 16).astype(np.float32))


def test_moves_are_told_and_so_is_how_far_each_errs(tmp_path: Path) -> None:
    frames, latents = walks()
    stage = LabellerStage(steps=400, batch=256, learning_rate=2e-3, before=0, calibration=0.2)
    model = LatentVideoModel(small_spec(latent_dim=16)).eval().requires_grad_(False)
    with MetricsLog(tmp_path) as log:
        run = TrainingRun(replace(CONFIG, labeller=stage), tmp_path, log)
        labelling = learn_labeller(run, model, replace(frames, action_spec=model.action_spec), latents, true_episodes(frames))
    held_out = true_episodes(frames, "test")
    found = told_actions(labelling, replace(frames, action_spec=model.action_spec), latents, held_out)
    assert set(found["r2"]) == {"x", "y"}  # the others never vary
    assert all(0.85 < value < 1.2 for value in found["error_over_std"].values())
    assert all(0.9 < value < 0.99 for value in found["within_2_std"].values())
    assert labelling.labeller is not None
    half = model.action_spec.high - model.action_spec.low
    variance = np.square(2 * frames.action_spec.high / half) / 3  # of moves, uniform between the limits, in the model's half ranges
    for one in held_out[:4]:
        places = latents[40 * one : 40 * one + 40]
        _, std = labelling.labeller(torch.stack([places[:-1], places[1:]], 1))
        seen = np.square((SHAKY if one % 2 else CALM) * 2 * frames.action_spec.high / half) * 2  # of a difference of two places
        expected = np.sqrt(1 / (1 / variance + 1 / seen))[:2]  # of a Gaussian of that variance, which is nearly right
        np.testing.assert_allclose(std[:, 0, :2].mean(0), expected, rtol=0.5)


def test_nothing_else_of_the_checkpoint_changes(finished: Path, labelling: Path) -> None:
    before, after = checkpoint.load(finished), checkpoint.load(labelling)
    own = after.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in before.state_dict().items())
    assert {"r2", "error_over_std", "within_1_std", "within_2_std"} == set(checkpoint.read_info(labelling).metrics[STAGE])
    assert {name.split(".")[0] for name in own.keys() - before.state_dict().keys()} == {"labeller"}
    assert replace(after.spec, label_window=None).to_json() == before.spec.to_json()
    assert "label_window" not in before.spec.to_json()


def test_where_the_arm_and_the_things_were_is_not_read(frames: SquareFrames, finished: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scrambled = replace(
        frames, proprio=rng.normal(size=frames.proprio.shape).astype(np.float32), object_pose=np.full_like(frames.object_pose, np.nan),
        skill=rng.integers(0, 2, len(frames.skill)),
    )  # fmt: skip
    for name, some in (("told", frames), ("scrambled", scrambled)):
        train_labeller(some, CONFIG, tmp_path / name, finished)
    assert (tmp_path / "told" / MODEL_FILE).read_bytes() == (tmp_path / "scrambled" / MODEL_FILE).read_bytes()


def test_a_resumed_stage_ends_to_the_bit_where_an_uninterrupted_one_does(frames: SquareFrames, finished: Path, tmp_path: Path) -> None:
    eager = replace(CONFIG, save_seconds=1e-9)

    def stop(done: int, total: int) -> None:
        if (done, total) == (3, 5):
            raise KeyboardInterrupt

    train_labeller(frames, eager, tmp_path / "whole", finished)
    with pytest.raises(KeyboardInterrupt):
        train_labeller(frames, eager, tmp_path / "stopped", finished, progress=stop)
    train_labeller(frames, eager, tmp_path / "stopped", finished)
    assert (tmp_path / "whole" / MODEL_FILE).read_bytes() == (tmp_path / "stopped" / MODEL_FILE).read_bytes()


def told(frames: SquareFrames, episodes: list[int], std: np.ndarray) -> SquareFrames:
    """`frames` in which actions of `episodes` were told, as unsure as `std`, in half ranges."""
    unsure = np.zeros_like(frames.actions)
    for one in episodes:
        unsure[frames.episode_starts[one] : frames.episode_starts[one + 1] - 1] = std * frames.action_spec.high
    return replace(frames, action_std=unsure)


def test_a_labeller_learns_from_no_action_that_was_told(frames: SquareFrames, finished: Path, tmp_path: Path) -> None:
    episodes = np.flatnonzero(frames.is_train)[2:].tolist()
    some = told(frames, episodes, np.full(5, 0.1))
    worse = replace(some, actions=np.where(some.action_std > 0, 0.02, some.actions).astype(np.float32))
    for name, one in (("one", some), ("other", worse)):
        train_labeller(one, CONFIG, tmp_path / name, finished)
    assert (tmp_path / "one" / MODEL_FILE).read_bytes() == (tmp_path / "other" / MODEL_FILE).read_bytes()
    all_told = told(frames, list(range(len(frames.is_train))), np.full(5, 0.1))
    with pytest.raises(DataError, match=r"has 0 episodes with true actions.*a labeller needs 2"):
        train_labeller(all_told, CONFIG, tmp_path / "none", finished)


def test_an_action_counts_as_much_as_its_label_explains_and_nothing_below_the_least(frames: SquareFrames) -> None:
    std = np.array([0.1, 0.4, 0, 0, 0], np.float32)
    some, pseudo = told(frames, [1], std), PseudoActions(least_told=0.2)
    weights = action_weights(some, pseudo)
    true = np.concatenate([np.arange(a, b - 1) for a, b in zip(frames.episode_starts[:-1], frames.episode_starts[1:], strict=True)])
    true = true[np.isin(true // 40, [one for one in np.flatnonzero(frames.is_train) if one != 1])]
    variance = frames.actions[true, :2].astype(np.float64).var(0)
    expected = np.mean(1 - np.square(std[:2] * frames.action_spec.high[:2]) / variance)
    assert weights is not None and 0.2 < expected < 1
    np.testing.assert_allclose(weights[40:79], expected, rtol=1e-5)
    assert (np.delete(weights, np.arange(40, 79)) == 1).all()
    assert action_weights(frames, pseudo) is None
    for config, value in ((PseudoActions(weighted=False), 1.0), (PseudoActions(least_told=0.99), 0.0)):
        found = action_weights(some, config)
        assert found is not None and (found[40:79] == value).all()
    hopeless = told(frames, list(range(len(frames.is_train))), np.full(5, 2.0))
    with pytest.raises(DataError, match=r"no pseudo-action of squares tells more than .*lower training\.pseudo_actions\.least_told"):
        action_weights(hopeless, PseudoActions(least_told=0.9))


def losses_of(frames: SquareFrames, finished: Path, config: TrainingConfig) -> dict[str, torch.Tensor]:
    """Of both stages, and the weights of pairs."""
    model = checkpoint.load(finished)
    latents = encode_frames(model, frames)
    dream = dream_losses(model, model.temporal_distance, DreamBatches(frames, config, latents)(0), config)
    seen = representation_losses(model, Batches(frames, config)(0), config, [1.0, 1.0], np.random.default_rng(0))
    pairs = PolicyBatches(frames, config, latents)(0)
    return {**{f"dream.{name}": value for name, value in dream.items()}, **seen, "pairs": pairs.weights, "blocks": pairs.blocks}


def test_true_actions_weigh_to_the_bit_what_they_weighed_before_there_were_others(frames: SquareFrames, finished: Path) -> None:
    plain, marked = losses_of(frames, finished, CONFIG), losses_of(told(frames, [], np.zeros(5)), finished, CONFIG)
    assert torch.equal(plain["pairs"], marked["pairs"])
    for name, value in plain.items():
        torch.testing.assert_close(value, marked[name], rtol=1e-5, atol=1e-6)  # a weighted sum of ones is summed in another order


def test_what_is_masked_changes_no_loss_of_actions(frames: SquareFrames, finished: Path) -> None:
    """Whatever was told there: only the mean over what is left."""
    episodes = np.flatnonzero(frames.is_train)[2:].tolist()
    some = told(frames, episodes, np.array([1.0, 1.0, 0, 0, 0]))  # half a range: more than actions vary
    other = replace(some, actions=np.where(some.action_std > 0, -some.actions, some.actions).astype(np.float32))
    one, two = (losses_of(each, finished, CONFIG) for each in (some, other))
    for name in ("dream.inverse_dynamics", "dream.bridge", "inverse_dynamics", "bridge", "goal_policy"):
        torch.testing.assert_close(one[name], two[name])
    plain = losses_of(frames, finished, CONFIG)
    assert not torch.allclose(one["dream.inverse_dynamics"], plain["dream.inverse_dynamics"], rtol=1e-3)
    kept = one["pairs"] > 0
    assert 0 < int(kept.sum()) < len(kept) and torch.equal(one["blocks"][kept], two["blocks"][kept])
