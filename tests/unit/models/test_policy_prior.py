"""Proposals as a function of rows, and asking for the object alone."""

import pytest
import torch
from small import small_model

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief
from robo_dream.models.heads import OBJECT_POS, OBJECT_START, TOOL_YAW, objects
from robo_dream.models.policy_prior import RETREAT, PolicyPrior, gripper_above
from robo_dream.planning.baselines import PolicyAloneConfig
from robo_dream.runtime.planner import ProposalConfig, build_planner

MODEL = small_model()
HERE, GOALS = torch.randn(4, 11, generator=torch.Generator().manual_seed(1)), torch.randn(4, 11, generator=torch.Generator().manual_seed(2))


def test_the_open_hand_is_wanted_above_the_object_and_turned_as_it_is() -> None:
    wanted = gripper_above(MODEL.pose_head, HERE, GOALS)
    torch.testing.assert_close(wanted[:, OBJECT_START:], GOALS[:, OBJECT_START:])
    torch.testing.assert_close(wanted[:, TOOL_YAW], HERE[:, TOOL_YAW])
    pose = wanted * MODEL.pose_head.std + MODEL.pose_head.mean
    torch.testing.assert_close(pose[:, :3] - objects(pose)[:, 0, OBJECT_POS], torch.tensor([0.0, 0.0, RETREAT]).expand(4, 3))
    assert (pose[:, 5] == 0).all()


def test_where_the_goal_shows_the_hand_changes_no_suggestion() -> None:
    other = torch.cat([GOALS[:, :OBJECT_START] + 1, GOALS[:, OBJECT_START:]], -1)
    assert torch.equal(gripper_above(MODEL.pose_head, HERE, GOALS), gripper_above(MODEL.pose_head, HERE, other))
    latents = torch.randn(2, 4, MODEL.spec.config.latent, generator=torch.Generator().manual_seed(3))
    here, there = MODEL.seen(latents)
    asked, likeliest = PolicyPrior(MODEL, MODEL, "above_object"), (torch.zeros(4), torch.zeros(4, MODEL.spec.block_size))
    wanted = MODEL.policy(here, gripper_above(MODEL.pose_head, here, there)).pick(*likeliest)
    torch.testing.assert_close(asked.propose(latents[0], there, *likeliest), MODEL.block_actions(wanted))
    as_shown = PolicyPrior(MODEL, MODEL).propose(latents[0], there, *likeliest)
    assert not torch.allclose(as_shown, MODEL.block_actions(wanted))


def test_what_is_followed_is_what_is_suggested_and_then_imagined() -> None:
    latents = torch.randn(2, 4, MODEL.spec.config.latent, generator=torch.Generator().manual_seed(3))
    inverse, noise = PolicyPrior(MODEL, MODEL, "above_object"), torch.randn(4, MODEL.spec.block_size)
    aims, chance, here = inverse.aims(latents[1]), torch.rand(4), Belief(latents[0], torch.rand(4))
    actions, imagined = inverse.follow(here, aims, chance, noise)
    torch.testing.assert_close(actions, inverse.propose(latents[0], aims, chance, noise))
    again = MODEL.imagine(here, actions[:, None])
    torch.testing.assert_close(imagined.latents, again.latents)
    torch.testing.assert_close(imagined.disagreement, again.disagreement)


def test_an_inverse_model_that_sees_latents_cannot_be_asked_for_the_object_alone() -> None:
    with pytest.raises(ContractError, match=r"cannot be told apart; set proposals\.gripper_goal=as_shown"):
        build_planner(PolicyAloneConfig(), small_model(policy_input="latents"), proposals=ProposalConfig(gripper_goal="above_object"))
