"""Proposals of the bridge on the point mass, where straight lines are the right ways."""

import pytest
import torch

from robo_dream.errors import ContractError
from robo_dream.planning.proposals import BridgeProposer, way_lengths
from robo_dream.testing.point_mass import PointMassBridge, PointMassModel, point_action_spec, point_problems

MODEL = PointMassModel(point_action_spec())
NEARLY = 1e-6  # metres


def proposer() -> BridgeProposer:
    return BridgeProposer(MODEL, PointMassBridge(MODEL))


def test_lengths_are_the_believed_one_then_powers_of_two_up_to_the_horizon_and_all_again() -> None:
    believed = torch.tensor([3.5, 1.0])
    assert way_lengths(believed, 7, 8).tolist() == [[3.5, 1, 2, 4, 8, 3.5, 1], [1, 1, 2, 4, 8, 1, 1]]
    assert way_lengths(believed, 3, 1).tolist() == [[3.5, 1, 3.5], [1, 1, 1]]


def test_each_speed_arrives_when_it_should_on_a_straight_line_and_then_stays() -> None:
    belief, goal = point_problems(2, 0.1, seed=3)
    actions = proposer().propose(belief, goal, 5, 40, [0, 1]).actions
    latents = MODEL.imagine(belief, actions).latents  # (B, K, 8, D)
    way = (goal.latent - belief.latent)[:, None]
    for sample, blocks in ((1, 1), (2, 2), (3, 4), (4, 8)):
        wanted = belief.latent[:, None] + way * (torch.arange(1, 9) / blocks).clamp(max=1.0)[:, None]
        torch.testing.assert_close(latents[:, sample], wanted, atol=NEARLY, rtol=0)
    torch.testing.assert_close(latents[:, 0, -1], goal.latent, atol=NEARLY, rtol=0)


def test_only_samples_beyond_the_speeds_are_noisy() -> None:
    belief, goal = point_problems(2, 0.1, seed=3)
    one, two = (proposer().propose(belief, goal, 8, 20, seeds).actions for seeds in ([0, 1], [2, 3]))
    is_same = (one == two).flatten(2).all(-1)
    assert is_same[:, :4].all() and not is_same[:, 4:].any()


def test_fewer_suggestions_are_the_first_of_many() -> None:
    belief, goal = point_problems(2, 0.1, seed=3)
    two, four = (proposer().propose(belief, goal, num, 20, [0, 1]).actions for num in (2, 4))
    assert torch.equal(two, four[:, :2])


def test_part_of_a_block_is_an_error() -> None:
    belief, goal = point_problems(1, 0.1, seed=3)
    with pytest.raises(ContractError, match="multiple of the model's action block, 5"):
        proposer().propose(belief, goal, 1, 12, [0])
