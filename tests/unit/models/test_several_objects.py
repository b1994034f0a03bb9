"""Worlds with two things: both are learned, told apart, asked for and charged."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import SquareFrames, square_frames

from robo_dream.imagination import Goal, Imagination
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.models.heads import OBJECT_POS, objects, pose_names
from robo_dream.models.policy_prior import RETREAT, PolicyPrior, gripper_above
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.training.config import DreamConfig, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import train_dream
from robo_dream.training.frames import model_spec, object_numbers, pose_labels
from robo_dream.training.representation import train_representation

CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32),
    representation=RepresentationConfig(steps=4, batch_windows=4),
    dream=DreamConfig(steps=4, batch=8, unroll=2, decoder_steps=2, decoder_batch=4),
    policy=PolicyConfig(steps=5, batch=8),
    evaluation_windows=4,
)


def two_things() -> SquareFrames:
    """The second thing lies 10 cm beside the first."""
    frames = square_frames(4, 24)
    beside = frames.object_pose + np.array([0.1, 0, 0, 0, 0, 0, 0], np.float32)
    return dataclasses.replace(frames, object_pose=np.concatenate([frames.object_pose, beside], -1))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LatentVideoModel:
    folder: Path = tmp_path_factory.mktemp("two")
    train_representation(two_things(), CONFIG, folder)
    return train_dream(two_things(), CONFIG, folder)


def test_a_checkpoint_knows_how_many_things_there_are(model: LatentVideoModel, tmp_path: Path) -> None:
    assert model.spec.num_objects == 2 and len(model.spec.pose.mean) == len(pose_names(2))
    checkpoint.save(model, tmp_path / "two.safetensors", {}, "squares", {})
    latents = torch.randn(3, model.spec.config.latent)
    kept = checkpoint.load(tmp_path / "two.safetensors").poses(latents)
    assert kept.object_pos.shape == (3, 2, 3) and kept.object_yaw.shape == (3, 2, 2)
    torch.testing.assert_close(kept.object_yaw.norm(dim=-1), torch.ones(3, 2))


def test_labels_are_those_of_each_thing_in_turn() -> None:
    frames = two_things()
    labels = object_numbers(pose_labels(frames, 4))
    np.testing.assert_allclose(labels[:, 0, :3], frames.object_pose[:, :3])
    np.testing.assert_allclose(labels[:, 1, :3] - labels[:, 0, :3], np.tile([0.1, 0, 0], (len(labels), 1)), atol=1e-6)
    spec = model_spec(frames, CONFIG.model)
    assert pose_names(2)[6:] == (*(f"object_{x}" for x in ("x", "y", "z", "cos_turn", "sin_turn")), *pose_names(2)[11:])
    assert spec.pose.mean[11] - spec.pose.mean[6] == pytest.approx(0.1, abs=1e-4)


def test_the_open_hand_is_wanted_above_the_thing_that_is_farthest_from_its_goal(model: LatentVideoModel) -> None:
    head = model.pose_head
    here = torch.zeros(2, len(pose_names(2)))
    here[:, 11] = 0.3  # where the second thing is
    goals = here.clone()
    goals[0, 6] += 0.1
    goals[1, 6] += 0.1
    goals[1, 12] += 0.2  # the second has farther to go
    wanted = gripper_above(head, head.normalise(here), head.normalise(goals)) * head.std + head.mean
    above = objects(goals)[..., OBJECT_POS] + torch.tensor([0, 0, RETREAT])
    torch.testing.assert_close(wanted[:, :3], torch.stack([above[0, 0], above[1, 1]]), atol=1e-5, rtol=0)


def test_the_thing_that_has_farther_to_go_is_wanted_aside_and_nothing_else(model: LatentVideoModel) -> None:
    head, asked = model.pose_head, PolicyPrior(model, model)
    latents = torch.randn(3, model.spec.config.latent)
    here = asked.aims(latents) * head.std + head.mean
    goals = here.clone()
    goals[:2, 6] += 0.1
    goals[1, 11] -= 0.2  # the second has farther to go
    moved = torch.tensor([[0.02, -0.01], [0.03, 0.0], [0.0, 0.0]])
    wanted = asked.aside(latents, head.normalise(goals), moved) * head.std + head.mean
    expected = goals.clone()
    expected[0, 6:8] += moved[0]
    expected[1, 11:13] += moved[1]
    torch.testing.assert_close(wanted, expected, atol=1e-5, rtol=0)


def test_suggestions_follow_two_things(model: LatentVideoModel) -> None:
    latents, chance = torch.randn(2, 5, model.spec.config.latent), torch.zeros(5)
    asked = PolicyPrior(model, model, "above_object")
    actions = asked.propose(latents[0], asked.aims(latents[1]), chance, torch.zeros(5, model.spec.block_size))
    assert actions.shape == (5, model.action_block, model.action_spec.size) and torch.isfinite(actions).all()


def test_costs_of_two_things_add_up_and_one_may_be_left_where_it_is(model: LatentVideoModel) -> None:
    latents = torch.randn(1, 3, 2, model.spec.config.latent)
    imagination, here = Imagination(latents, torch.zeros(1, 3, 2)), torch.randn(1, model.spec.config.latent)
    cost = PoseCost(model, PoseCostConfig(object_pos=1.0))
    seen, shown = model.poses(latents).object_pos, model.poses(here).object_pos
    apart = (seen - shown[:, None, None]).norm(dim=-1)
    torch.testing.assert_close(cost(imagination, Goal(here)).terms["object_pos"], apart.sum(-1))
    given = torch.tensor([[[torch.nan] * 3, [0.1, 0.2, 0.0]]])
    other = (seen[..., 1, :] - given[:, None, None, 1]).norm(dim=-1)
    torch.testing.assert_close(cost(imagination, Goal(here, object_pos=given)).terms["object_pos"], apart[..., 0] + other)
    drawn = PoseCost(model, PoseCostConfig(object_pos=0.0, tool_to_object=1.0))(imagination, Goal(here)).terms["tool_to_object"]
    pose = model.poses(latents)
    far = apart.argmax(-1)[..., None, None].expand(*apart.shape[:-1], 1, 3)
    torch.testing.assert_close(drawn, (pose.tool_pos - pose.object_pos.gather(-2, far)[..., 0, :]).norm(dim=-1))
