"""The stage that adds outcomes to a finished checkpoint: nothing else of it changes, and what it has learned is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from squares import SquareFrames, square_frames

from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.training.config import DreamConfig, FuturesStage, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import train_dream
from robo_dream.training.futures import FutureBatches, train_futures
from robo_dream.training.latents import encode_frames
from robo_dream.training.representation import train_representation

PLAIN = TrainingConfig(
    model=ModelConfig(image_size=32, latent_dim=16),
    representation=RepresentationConfig(steps=1, batch_windows=2),
    dream=DreamConfig(steps=1, batch=8, unroll=1, decoder_steps=0),
    policy=PolicyConfig(steps=1, batch=8),
    evaluation_windows=1,
)
STAGE = FuturesStage(steps=6, batch=16, unroll=2)
CHANCY = replace(PLAIN, model=ModelConfig(outcomes=3), futures=STAGE)  # sizes are those of the checkpoint


@pytest.fixture(scope="module")
def frames() -> SquareFrames:
    return square_frames(8, 40)


@pytest.fixture(scope="module")
def trained(frames: SquareFrames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_representation(frames, PLAIN, folder / "plain")
    train_dream(frames, PLAIN, folder / "plain")
    train_futures(frames, CHANCY, folder / "chancy", folder / "plain" / "model.safetensors")
    return folder


def test_training_outcomes_changes_nothing_else(trained: Path) -> None:
    plain, chancy = (checkpoint.load(trained / name / "model.safetensors") for name in ("plain", "chancy"))
    own = chancy.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in plain.state_dict().items())
    with_them = replace(plain.spec, config=replace(plain.spec.config, outcomes=3))
    assert chancy.spec.to_json() == with_them.to_json()
    untouched = type(chancy)(chancy.spec, CHANCY.seed)
    assert chancy.outcomes is not None and untouched.outcomes is not None
    assert not torch.allclose(chancy.outcomes.shift[0].weight, untouched.outcomes.shift[0].weight, atol=1e-4)  # type: ignore[arg-type]
    told = checkpoint.read_info(trained / "chancy" / "model.safetensors").metrics["futures"]
    assert told["came_true"] > 0 and told["expected"] > 0 and told["odds_nats"] > 0


def test_a_stage_that_was_interrupted_ends_as_one_that_was_not(frames: SquareFrames, trained: Path, tmp_path: Path) -> None:
    init, stopped = trained / "plain" / "model.safetensors", replace(CHANCY, save_seconds=1e-9)

    class Stop(Exception):
        pass

    def until(done: int, all_: int) -> None:
        if (done, all_) == (3, STAGE.steps):
            raise Stop

    with pytest.raises(Stop):
        train_futures(frames, stopped, tmp_path, init, progress=until)
    resumed = train_futures(frames, stopped, tmp_path, init)
    whole = checkpoint.load(trained / "chancy" / "model.safetensors")
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_window_is_of_one_episode_and_of_its_step_alone(frames: SquareFrames, trained: Path) -> None:
    model = checkpoint.load(trained / "chancy" / "model.safetensors")
    latents = encode_frames(model, frames)
    batches = FutureBatches(frames, replace(CHANCY, model=model.spec.config), latents)
    first, again, other = batches(0), batches(0), batches(1)
    assert torch.equal(first.latents, again.latents) and not torch.equal(first.latents, other.latents)
    starts = [int((latents == window[0]).all(-1).nonzero()[0]) for window in first.latents]
    for start, window in zip(starts, first.latents, strict=True):
        assert start // 40 == (start + 2 * model.action_block) // 40 < 6  # the last two episodes are held out
        assert torch.equal(window, latents[start : start + 2 * model.action_block + 1 : model.action_block])
