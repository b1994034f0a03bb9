"""The bridge: its geometry, the actions read off it, and what it learns from."""

import dataclasses

import numpy as np
import pytest
import torch
from small import small_model
from squares import square_frames

from robo_dream.errors import ConfigError
from robo_dream.imagination import Belief, Goal
from robo_dream.models.config import ModelConfig
from robo_dream.models.policy_prior import Bridge, bridge_points
from robo_dream.planning.baselines import PolicyAloneConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.planner import ProposalConfig, build_planner
from robo_dream.testing.point_mass import PointMassModel
from robo_dream.training.bridge_targets import BridgeTargets, bridge_consistency, bridge_loss, bridge_targets
from robo_dream.training.config import DreamConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import DreamBatches
from robo_dream.training.frames import frame_index, goal_frames, normalised_actions

NEARLY = 1e-5  # float32 latents of size 1


def test_a_bridge_begins_at_the_start_ends_at_the_goal_and_has_even_steps() -> None:
    starts, goals = torch.randn(2, 3, 8)
    for num_blocks in (1, 2, 7):
        points = bridge_points(starts, goals, num_blocks)
        assert points.shape == (3, num_blocks + 1, 8)
        assert torch.equal(points[:, 0], starts) and torch.equal(points[:, -1], goals)
        steps = points.diff(dim=1)
        torch.testing.assert_close(steps, ((goals - starts) / num_blocks)[:, None].expand_as(steps), atol=NEARLY, rtol=0)


def test_the_first_block_is_read_off_the_first_two_points_in_physical_units() -> None:
    model, (starts, goals) = small_model(), torch.randn(2, 3, 256)
    first, second = bridge_points(starts, goals, 4)[:, :2].unbind(1)
    wanted = model.block_actions(model.inverse_dynamics(first, second)).flatten(1)
    torch.testing.assert_close(Bridge(model).next_block(starts, goals, torch.full((3,), 4.0)), wanted, atol=NEARLY, rtol=0)


def test_a_bridge_of_one_block_is_a_pair_of_neighbours() -> None:
    model, (starts, goals) = small_model(), torch.randn(2, 3, 256)
    wanted = model.block_actions(model.inverse_dynamics(starts, goals)).flatten(1)
    assert torch.equal(Bridge(model).next_block(starts, goals, torch.ones(3)), wanted)


def test_the_goal_is_as_many_blocks_away_as_the_learned_distance_says_and_at_least_one() -> None:
    model, (starts, goals) = small_model(), torch.randn(2, 3, 256)
    torch.testing.assert_close(Bridge(model).num_blocks(starts, goals), (model.distance(starts, goals) / 5).clamp(min=1))
    assert torch.equal(Bridge(model).num_blocks(starts, starts), torch.ones(3))


def test_targets_are_the_recorded_block_at_their_part_of_the_way() -> None:
    cache, block = square_frames(8, 40), 5
    index, actions, rng = frame_index(cache, block + 1), normalised_actions(cache), np.random.default_rng(0)
    starts = rng.choice(index.starts, 500)
    goals = goal_frames(rng, starts, index.last[starts], block, 30)
    targets = bridge_targets(rng, actions, starts, goals, block, "cpu")
    steps = goals - starts
    begins = targets.begins.numpy() * steps
    np.testing.assert_allclose(begins, begins.round(), atol=1e-4)
    np.testing.assert_allclose(targets.ends.numpy() * steps - begins, block, atol=1e-4)
    assert (begins.round() >= 0).all() and (targets.ends <= 1).all() and np.array_equal(targets.steps.numpy(), steps)
    for row in (0, 7, 499):
        first = starts[row] + int(begins[row].round())
        np.testing.assert_array_equal(targets.blocks[row].numpy(), actions[first : first + block].ravel())
    for spread in (targets.begins == 0, targets.ends == 1, (targets.begins > 0) & (targets.ends < 1)):
        assert spread.any()


def test_the_loss_is_that_of_the_interpolated_pair() -> None:
    inverse = small_model().inverse_dynamics
    inverse.body = torch.nn.Identity()  # type: ignore[assignment]  # what is read is the pair itself
    starts, goals = torch.zeros(1, 2), torch.tensor([[8.0, 4.0]])
    targets = BridgeTargets(torch.tensor([0.25]), torch.tensor([0.5]), torch.tensor([20.0]), torch.tensor([[2.0, 1.0, 4.0, 4.0]]))
    assert float(bridge_loss(inverse, starts, goals, targets)) == pytest.approx((4.0 - 2.0) ** 2 / 4)


def test_the_loss_reaches_start_and_goal_so_that_it_shapes_the_encoder() -> None:
    starts, goals = torch.randn(2, 4, 256, requires_grad=True).unbind(0)
    starts.retain_grad()
    goals.retain_grad()
    targets = BridgeTargets(torch.full((4,), 0.2), torch.full((4,), 0.4), torch.full((4,), 25.0), torch.randn(4, 25))
    bridge_loss(small_model().inverse_dynamics, starts, goals, targets).backward()
    for end in (starts, goals):
        assert end.grad is not None and (end.grad != 0).any(-1).all()


def test_frames_on_a_straight_way_are_consistent_and_frames_beyond_the_goal_do_not_count() -> None:
    starts, way = torch.randn(2, 3, 6)
    frames = starts[:, None] + way[:, None] * torch.arange(4.0)[:, None] * 5 / 20
    steps = torch.full((3,), 20.0)
    assert float(bridge_consistency(frames, starts + way, steps, 5)) == pytest.approx(0, abs=NEARLY)
    astray = frames.clone()
    astray[:, 2] += 1.0
    assert float(bridge_consistency(astray, starts + way, steps, 5)) == pytest.approx(1 / 3, rel=1e-4)
    assert float(bridge_consistency(astray, frames[:, 1], torch.full((3,), 5.0), 5)) == 0


def test_bridges_of_the_dream_are_of_many_lengths_and_end_in_their_episode() -> None:
    cache = square_frames(4, 40)
    frames = torch.arange(len(cache.actions), dtype=torch.float32)[:, None]  # each latent is its frame's number
    config = TrainingConfig(model=ModelConfig(image_size=32), dream=DreamConfig(batch=256, unroll=2))
    batch = DreamBatches(cache, config, frames)(0)
    start, goal = batch.latents[:, 0, 0], batch.bridge_goals[:, 0]
    assert torch.equal(goal - start, batch.bridge.steps) and torch.equal(start // 40, goal // 40)
    assert (goal - start >= 5).all() and len((goal - start).unique()) > 10
    at = (start + batch.bridge.begins * batch.bridge.steps).round().long().numpy()
    np.testing.assert_array_equal(batch.bridge.blocks[:, :5].numpy(), normalised_actions(cache)[at])


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"RepresentationConfig\.bridge is -1"):
        RepresentationConfig(bridge=-1.0)
    with pytest.raises(ConfigError, match=r"DreamConfig\.bridge is -0\.5"):
        dataclasses.replace(DreamConfig(), bridge=-0.5)


def test_the_bridge_is_executed_alone_or_competes_in_a_search_under_its_name() -> None:
    model, (starts, goals) = small_model(), torch.randn(2, 1, 256)
    alone = build_planner(PolicyAloneConfig(horizon=2), model, proposals=ProposalConfig(policy=False, bridge=True))
    plan = alone.plan(Belief(starts), Goal(goals), [0])
    believed = Bridge(model).num_blocks(starts, goals)
    first = Bridge(model).next_block(starts, goals, believed).unflatten(1, (5, 5))
    torch.testing.assert_close(plan.actions[:, :5], first, atol=NEARLY, rtol=0)
    both = build_planner(PolicyGuidedConfig(horizon=2, num_iterations=1), model, proposals=ProposalConfig(bridge=True))
    names = both.plan(Belief(starts), Goal(goals), [0]).trace.origin_names
    assert names[-2:] == ("policy", "bridge")


def test_nobody_elses_latents_are_bridged() -> None:
    physics = PointMassModel(small_model().action_spec)
    teacher, only = small_model(), ProposalConfig(policy=False, bridge=True)
    with pytest.raises(ConfigError, match="use a learned model"):
        build_planner(PolicyAloneConfig(), physics, CostConfig(distance=0.0, pose=1.0), only, teacher=teacher)
