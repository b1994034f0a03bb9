"""A belief that remembers: without a past it is what one frame shows, to the bit; and training teaches it what a screen hides."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import observation, small_model
from squares import REACH, SquareFrames, square_frames

from robo_dream.errors import CheckpointError, ConfigError, ContractError
from robo_dream.imagination import Belief, Goal
from robo_dream.models import checkpoint
from robo_dream.models.config import NUM_OBJECT, ModelConfig
from robo_dream.models.heads import OBJECT_START
from robo_dream.models.policy_prior import PolicyPrior
from robo_dream.models.world_model import NOT_SEEN, LatentVideoModel
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.config import DreamConfig, MemoryConfig, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import train_dream
from robo_dream.training.frames import Split
from robo_dream.training.memory import MemoryBatches, centres_in_pictures, followed, looked_at, train_memory
from robo_dream.training.representation import train_representation
from robo_dream.training.screens import ScreenConfig, worse, worse_pictures

SIZE = 12
PLAIN, REMEMBERING = small_model(), small_model(memory=SIZE)
ACTIONS = 0.02 * torch.rand(2, 3, 10, 5, generator=torch.Generator().manual_seed(0))


def shaken(model: LatentVideoModel) -> LatentVideoModel:
    """A memory that has an effect, as a trained one has."""
    generator = torch.Generator().manual_seed(1)
    assert model.memory is not None and model.dynamics.remembered is not None
    for values in (model.dynamics.remembered, *model.memory.parameters()):
        values.data += 0.2 * torch.randn(values.shape, generator=generator)
    return model


SHAKEN = shaken(small_model(memory=SIZE))


def beliefs(model: LatentVideoModel) -> Belief:
    return model.believe([[observation(1)], [observation(2)]])


def test_without_a_past_a_belief_and_all_that_is_imagined_from_it_are_as_without_memory() -> None:
    plain, remembering = beliefs(PLAIN), beliefs(SHAKEN)
    assert torch.equal(plain.latent, remembering.latent) and plain.memory is None
    imagined, others = PLAIN.imagine(plain, ACTIONS), SHAKEN.imagine(remembering, ACTIONS)
    assert torch.equal(imagined.latents, others.latents) and torch.equal(imagined.disagreement, others.disagreement)


def test_a_model_without_memory_has_the_weights_it_always_had() -> None:
    own = REMEMBERING.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in PLAIN.state_dict().items())
    assert not any("memory" in name or "remembered" in name for name in PLAIN.state_dict())


def updated(model: LatentVideoModel, previous: Belief, steps: int = 5) -> Belief:
    return model.update(previous, ACTIONS[:, 0, :steps], [observation(3), observation(4)])


def test_what_was_believed_before_and_what_was_done_both_count() -> None:
    first = updated(SHAKEN, beliefs(SHAKEN))
    other_past = updated(SHAKEN, SHAKEN.believe([[observation(5)], [observation(6)]]))
    other_way = SHAKEN.update(beliefs(SHAKEN), -ACTIONS[:, 0, :5], [observation(3), observation(4)])
    assert not torch.equal(first.latent, other_past.latent) and not torch.equal(first.latent, other_way.latent)


def test_problems_of_a_batch_do_not_hear_of_each_other() -> None:
    together = updated(SHAKEN, beliefs(SHAKEN), 7)
    for row in range(2):
        own = beliefs(SHAKEN)
        alone = SHAKEN.update(
            Belief(own.latent[row : row + 1], memory=own.memory[row : row + 1], unseen=own.unseen[row : row + 1]),  # type: ignore[index]
            ACTIONS[row : row + 1, 0, :7], [observation(3 + row)],
        )  # fmt: skip
        torch.testing.assert_close(alone.latent[0], together.latent[row], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(alone.memory[0], together.memory[row], rtol=1e-3, atol=1e-3)  # type: ignore[index]


def test_it_says_for_how_long_no_picture_came() -> None:
    blind = [replace(observation(3), frames={}), observation(4)]
    belief = SHAKEN.update(beliefs(SHAKEN), ACTIONS[:, 0, :5], blind)
    assert belief.unseen is not None and belief.unseen.tolist() == [5, 0]
    belief = SHAKEN.update(belief, ACTIONS[:, 0, :3], blind)
    assert belief.unseen is not None and belief.unseen.tolist() == [8, 0]
    one_camera = replace(observation(3), frames={"side": observation(3).frames["side"]})
    belief = SHAKEN.update(belief, ACTIONS[:, 0, :3], [one_camera, one_camera])
    assert belief.unseen is not None and belief.unseen.tolist() == [0, 0]


def test_a_picture_that_is_too_late_is_one_that_did_not_come() -> None:
    seen = [observation(3), observation(4)]
    late = [replace(one, time=0.6) for one in seen]  # frames are of 0 s
    none = [replace(one, frames={}) for one in seen]
    found = SHAKEN.update(beliefs(SHAKEN), ACTIONS[:, 0, :5], late)
    assert torch.equal(found.latent, SHAKEN.update(beliefs(SHAKEN), ACTIONS[:, 0, :5], none).latent)
    assert not torch.equal(found.latent, SHAKEN.update(beliefs(SHAKEN), ACTIONS[:, 0, :5], seen).latent)


def test_memory_is_refused_where_there_is_none() -> None:
    with pytest.raises(ContractError, match="this model has no memory"):
        updated(PLAIN, beliefs(PLAIN))
    with pytest.raises(ContractError, match="the previous belief has no memory"):
        updated(SHAKEN, Belief(beliefs(SHAKEN).latent))


def test_proposals_and_what_they_lead_to_know_what_is_remembered() -> None:
    belief = updated(SHAKEN, beliefs(SHAKEN))
    goal, proposer = Goal(belief.latent.flip(0)), PolicyProposer(SHAKEN, PolicyPrior(SHAKEN, SHAKEN))
    proposals = proposer.propose(belief, goal, 3, 10, (1, 2))
    assert proposals.imagination is not None
    torch.testing.assert_close(proposals.imagination.latents, SHAKEN.imagine(belief, proposals.actions).latents, rtol=1e-4, atol=1e-4)
    forgetful = SHAKEN.imagine(Belief(belief.latent), proposals.actions).latents
    assert (proposals.imagination.latents - forgetful).abs().max() > 1e-2
    per_member = SHAKEN.rollout_per_member(belief, proposals.actions)
    assert (per_member[0].latents - SHAKEN.rollout_per_member(Belief(belief.latent), proposals.actions)[0].latents).abs().max() > 1e-2


def test_screens_hide_and_nothing_comes_from_the_future() -> None:
    config = ScreenConfig(apart=0.3)
    seen = worse(np.random.default_rng(3), 40, 2, 0.1, config, 1)
    assert (seen.shown <= np.arange(40)[:, None]).all() and (seen.shown < 0).any()
    frames = square_frames(1, 40)
    pictures = worse_pictures(frames.images["front"], 0, seen, 0)
    num_hidden = 0
    for frame, (shown, screens) in enumerate(zip(seen.shown[:, 0], seen.screens, strict=True)):
        if shown < 0:
            assert (pictures[frame] == NOT_SEEN).all()
        elif screens[0] is None:
            np.testing.assert_array_equal(pictures[frame], frames.images["front"][shown])
        else:
            num_hidden += int((pictures[frame] != frames.images["front"][shown]).any())
    assert num_hidden > 5
    slow = worse(np.random.default_rng(3), 40, 2, 0.1, replace(config, late=1.0), 5)
    assert ((slow.shown < 0) | (slow.shown == np.arange(40)[:, None])).all()


def test_an_aimed_screen_covers_the_thing_wherever_it_goes_meanwhile() -> None:
    way = np.stack([np.linspace(0.2, 0.7, 60), np.linspace(0.6, 0.3, 60)], -1)
    centres = np.stack([way, way[:, ::-1]], 1)[:, :, None]  # one thing, two cameras
    config = ScreenConfig(apart=0.3, whole=0.0, aimed=1.0, beyond=(0.1, 0.2), gone=0.0, one_camera=0.0, dropped=0.0)
    seen = worse(np.random.default_rng(3), 60, 2, 0.1, config, 1, centres)
    screens = [(screen, centres[frame, view, 0]) for frame, row in enumerate(seen.screens) for view, screen in enumerate(row) if screen]
    assert len(screens) > 40
    assert all((np.abs(place - screen.middle) < screen.half).all() for screen, place in screens)
    assert max(max(screen.half) for screen, _ in screens) < 0.5  # and not by being as large as the picture
    aside = worse(np.random.default_rng(3), 60, 2, 0.1, replace(config, aimed=0.0), 1, centres)
    pairs = [(screen, centres[frame, view, 0]) for frame, row in enumerate(aside.screens) for view, screen in enumerate(row) if screen]
    assert not all((np.abs(place - screen.middle) < screen.half).all() for screen, place in pairs)


class RedReader(LatentVideoModel):
    """Its first channels are where red is, in metres, by both cameras; the middle where a camera shows none."""

    def encode(self, views: Sequence[torch.Tensor], proprio: torch.Tensor) -> torch.Tensor:
        latents = torch.zeros(len(proprio), self.spec.config.latent)
        for view, (down, right) in zip(views, ((1, 0), (0, 1)), strict=True):  # what is x to one is y to the other
            red = (view[..., 0].float() - view[..., 1].float() - 60).clamp(min=0)
            centres = (torch.arange(view.shape[1]) + 0.5) / view.shape[1] * 2 * REACH - REACH
            latents[:, down] += 0.5 * (red.sum(2) * centres).sum(1) / red.sum((1, 2)).clamp(min=1)
            latents[:, right] += 0.5 * (red.sum(1) * centres).sum(1) / red.sum((1, 2)).clamp(min=1)
        return latents


class ReadAsIs(torch.nn.Module):
    """The object's position is the first three channels."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        numbers = torch.zeros(*latents.shape[:-1], OBJECT_START + NUM_OBJECT)
        numbers[..., OBJECT_START : OBJECT_START + 3] = latents[..., :3]
        return numbers


def test_covering_pictures_tells_where_things_are_in_them() -> None:
    frames, plain = square_frames(8, 40), small_model()
    model = RedReader(plain.spec)
    model.pose_head.body = ReadAsIs()  # type: ignore[assignment]
    model.pose_head.mean, model.pose_head.std = torch.zeros(OBJECT_START + NUM_OBJECT), torch.ones(OBJECT_START + NUM_OBJECT)
    clean = model.encode([torch.from_numpy(frames.images[name]) for name in frames.cameras], torch.from_numpy(frames.proprio))
    centres = centres_in_pictures(model, frames, clean, 0)
    x, y = (0.5 + frames.object_pose[:, axis] / (2 * REACH) for axis in (0, 1))
    for view, there in enumerate((np.stack([y, x], -1), np.stack([x, y], -1))):
        off = np.abs(centres[:, view, 0] - there)
        assert np.median(off) < 0.05, f"camera {view}: {np.median(off):.3f} of the picture's side"
        assert np.corrcoef(centres[:, view, 0, 0], there[:, 0])[0, 1] > 0.9


CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32),
    representation=RepresentationConfig(steps=1, batch_windows=2),
    dream=DreamConfig(steps=15, batch=32, muon_lr=0.02, unroll=1, decoder_steps=0),
    policy=PolicyConfig(steps=1, batch=8),
    evaluation_windows=1,
    log_steps=20,
)
SCREENS = ScreenConfig(apart=0.5, side=(0.5, 0.9), whole=0.6, longest=1.5, one_camera=0.0)
LOOKS = MemoryConfig(steps=40, batch=48, window=1.5, ahead=1, ways=1, screens=SCREENS)
WITH_MEMORY = replace(CONFIG, model=ModelConfig(image_size=32, memory=16), memory=LOOKS)


@pytest.fixture(scope="module")
def frames() -> SquareFrames:
    return square_frames(12, 40)


@pytest.fixture(scope="module")
def trained(frames: SquareFrames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_representation(frames, CONFIG, folder / "plain")
    train_dream(frames, CONFIG, folder / "plain")
    train_memory(frames, WITH_MEMORY, folder / "memory", folder / "plain" / "model.safetensors")
    return folder


def test_training_a_memory_changes_nothing_else(trained: Path) -> None:
    plain, model = (checkpoint.load(trained / name / "model.safetensors") for name in ("plain", "memory"))
    own = model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in plain.state_dict().items())
    assert model.memory is not None and model.dynamics.remembered is not None and model.dynamics.remembered.abs().sum() > 0


def test_what_a_screen_hides_is_believed_better_than_it_is_seen_or_expected(frames: SquareFrames, trained: Path) -> None:
    model, batches = batches_of(frames, trained, "test")
    batch = batches(0)
    believed, expected, _ = followed(model, batch)
    seen_error, expected_error, error = ((one - batch.clean).square().mean() for one in (batch.seen, expected, believed))
    assert error < 0.5 * seen_error and error < expected_error
    assert checkpoint.read_info(trained / "memory" / "model.safetensors").metrics["memory"]["hidden_percent"] >= 0


def batches_of(frames: SquareFrames, trained: Path, split: Split = "train") -> tuple[LatentVideoModel, MemoryBatches]:
    model = checkpoint.load(trained / "memory" / "model.safetensors")
    looks = looked_at(model, frames, WITH_MEMORY, trained / "memory", checkpoint.sha256(trained / "plain" / "model.safetensors"))
    return model, MemoryBatches(model, frames, WITH_MEMORY, looks, split)


def test_a_window_follows_what_was_done_and_seen(frames: SquareFrames, trained: Path) -> None:
    model, batches = batches_of(frames, trained)
    batch = batches(0)
    assert sum(batch.gaps) <= 15 and batch.seen.shape[:2] == (48, len(batch.gaps))
    assert all(torch.equal(first, second) for first, second in zip(batches(0).blocks, batch.blocks, strict=True))
    believed, expected, memory = followed(model, batch)
    one_frame, _, nothing = followed(model, batch, is_remembered=False)
    assert torch.equal(one_frame, batch.seen) and not nothing.any() and memory.any()
    assert believed.shape == expected.shape == batch.clean.shape


def test_a_memory_is_added_to_a_finished_checkpoint_only(trained: Path) -> None:
    with pytest.raises(ConfigError, match="name the finished checkpoint"):
        TrainConfig(stage="memory", training=WITH_MEMORY)
    with pytest.raises(ConfigError, match="stage=memory init="):
        TrainConfig(training=WITH_MEMORY)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        train_memory(square_frames(4, 40), WITH_MEMORY, trained / "other", trained / "missing.safetensors")
