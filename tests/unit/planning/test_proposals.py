"""Proposals from policies on the point mass, whose right answer is known."""

import pytest
import torch

from robo_dream.errors import ContractError
from robo_dream.models.policy import ActionMixture
from robo_dream.planning.candidates import draws
from robo_dream.planning.proposals import PolicyProposer, RepeatedPolicyProposer
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel, point_action_spec, point_problems

MODEL = PointMassModel(point_action_spec())


def test_rolled_out_suggestion_arrives_and_then_stays() -> None:
    belief, goal = point_problems(2, 0.15, seed=3)
    actions = PolicyProposer(MODEL, PointMassInverse(MODEL)).propose(belief, goal, 1, 25, [0, 1]).actions
    reached = MODEL.imagine(belief, actions).latents[:, 0, -1]
    torch.testing.assert_close(reached, goal.latent, atol=1e-5, rtol=0)
    assert (actions[:, 0, -5:].abs() < 1e-6).all()


def test_repeated_suggestion_is_its_first_block_again_and_again() -> None:
    belief, goal = point_problems(2, 0.15, seed=3)
    blocks = RepeatedPolicyProposer(MODEL, PointMassInverse(MODEL)).propose(belief, goal, 3, 25, [0, 1]).actions.unflatten(2, (5, 5))
    assert torch.equal(blocks, blocks[:, :, :1].expand_as(blocks))


def test_part_of_a_block_is_an_error() -> None:
    belief, goal = point_problems(1, 0.15, seed=3)
    with pytest.raises(ContractError, match="multiple of the model's action block, 5"):
        PolicyProposer(MODEL, PointMassInverse(MODEL)).propose(belief, goal, 1, 12, [0])


def weights(*values: float) -> torch.Tensor:
    return torch.tensor(values).log()


def two_ways(num_rows: int, left: float, right: float) -> ActionMixture:
    means = torch.tensor([[-1.0], [1.0]]).expand(num_rows, 2, 1)
    return ActionMixture(weights(left, right).expand(num_rows, 2), means, torch.full((num_rows, 2, 1), 0.1))


def test_draws_give_the_proportions_of_a_mixture_and_its_spread() -> None:
    chance, noise = draws([1], 8000, 1, 1.0, spread=False, sampled_only=True, like=torch.zeros(()))
    drawn = two_ways(8000, 0.25, 0.75).pick(chance, noise)[:, 0]
    right = drawn > 0
    assert right.float().mean() == pytest.approx(0.75, abs=0.03)  # six standard errors
    assert drawn[right].mean() == pytest.approx(1.0, abs=0.01)
    assert drawn[right].std() == pytest.approx(0.1, abs=0.01)


def test_draws_without_temperature_are_the_means_and_the_first_is_the_heaviest() -> None:
    chance, noise = draws([1, 2], 50, 1, 0.0, spread=False, sampled_only=False, like=torch.zeros(()))
    drawn = two_ways(100, 0.75, 0.25).pick(chance, noise)[:, 0]
    assert set(drawn.tolist()) == {-1.0, 1.0}
    assert drawn[0] == drawn[50] == -1.0


def spread_modes(num_rows: int, seed: int) -> list[int]:
    chance, noise = draws([seed], num_rows, 1, 1.0, spread=True, sampled_only=False, like=torch.zeros(()))
    logits, means = weights(0.05, 0.5, 0.15, 0.3).expand(num_rows, 4), torch.arange(4.0)[:, None].expand(num_rows, 4, 1)
    return ActionMixture(logits, means, torch.full((num_rows, 4, 1), 1e-6)).pick(chance, noise)[:, 0].round().int().tolist()


def test_spread_samples_reach_every_mode_with_more_than_a_samples_share_and_the_heaviest_first() -> None:
    for seed in range(50):
        modes = spread_modes(8, seed)
        assert modes[0] == 1 and {1, 2, 3} <= set(modes)
        assert modes.count(1) in (4, 5) and modes.count(3) in (2, 3)  # 8 times the weight, up to one


def test_spread_samples_keep_the_mixtures_proportions() -> None:
    modes = torch.tensor([spread_modes(8, seed) for seed in range(2000)]).flatten()
    shares = modes.bincount(minlength=4) / len(modes)
    torch.testing.assert_close(shares, torch.tensor([0.05, 0.5, 0.15, 0.3]), atol=0.01, rtol=0)  # six standard errors


@pytest.mark.parametrize("spread", [False, True])
def test_draws_of_a_problem_do_not_depend_on_the_others(spread: bool) -> None:
    chances, noises = draws([5, 6, 7], 6, 2, 1.0, spread, False, torch.zeros(()))
    for b, seed in enumerate((5, 6, 7)):
        chance, noise = draws([seed], 6, 2, 1.0, spread, False, torch.zeros(()))
        assert torch.equal(chances.unflatten(0, (3, 6))[b], chance)
        assert torch.equal(noises.unflatten(0, (3, 6))[b], noise)


def test_with_a_goal_std_every_second_proposal_ends_around_the_goal_and_the_likeliest_at_it() -> None:
    belief, goal = point_problems(2, 0.15, seed=3)
    made = PolicyProposer(MODEL, PointMassInverse(MODEL), temperature=0.0, goal_std=0.03)
    proposed = made.propose(belief, goal, 40, 25, [0, 1])
    assert proposed.imagination is not None
    ends = proposed.imagination.latents[:, :, -1, :3]
    apart = (ends - goal.latent[:, None, :3]).norm(dim=-1)
    assert (apart[:, 0] < 1e-5).all() and (apart[:, 1::2] < 1e-5).all()
    assert 0.02 < apart[:, 2::2].mean() < 0.06 and (apart[:, 2::2] > 1e-5).all()
    again = made.propose(belief, goal, 40, 25, [0, 2]).imagination
    assert again is not None and torch.equal(again.latents[0], proposed.imagination.latents[0])
    assert not torch.equal(again.latents[1], proposed.imagination.latents[1])
