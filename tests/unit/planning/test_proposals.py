"""Proposals from inverse models on the point mass, whose right answer is known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.planning.mixture_inverse import MixtureInverse
from robo_dream.planning.proposals import InverseProposer, RepeatedInverseProposer
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel, point_action_spec, point_problems

MODEL = PointMassModel(point_action_spec())


def test_rolled_out_suggestion_arrives_and_then_stays() -> None:
    belief, goal = point_problems(2, 0.15, seed=3)
    actions = InverseProposer(MODEL, PointMassInverse(MODEL)).propose(belief, goal, 1, 25, [0, 1]).actions
    reached = MODEL.imagine(belief, actions).latents[:, 0, -1]
    torch.testing.assert_close(reached, goal.latent, atol=1e-5, rtol=0)
    assert (actions[:, 0, -5:].abs() < 1e-6).all()


def test_repeated_suggestion_is_its_first_block_again_and_again() -> None:
    belief, goal = point_problems(2, 0.15, seed=3)
    blocks = RepeatedInverseProposer(MODEL, PointMassInverse(MODEL)).propose(belief, goal, 3, 25, [0, 1]).actions.unflatten(2, (5, 5))
    assert torch.equal(blocks, blocks[:, :, :1].expand_as(blocks))


def test_part_of_a_block_is_an_error() -> None:
    belief, goal = point_problems(1, 0.15, seed=3)
    with pytest.raises(ContractError, match="multiple of the model's action block, 5"):
        InverseProposer(MODEL, PointMassInverse(MODEL)).propose(belief, goal, 1, 12, [0])


@dataclass(frozen=True)
class Mixture:
    logits: Tensor
    means: Tensor
    stds: Tensor


@dataclass(frozen=True)
class TwoWays:
    """Left with probability 1/4, right with 3/4; one number a block."""

    def next_actions(self, latents: Tensor, goals: Tensor, /) -> Mixture:
        rows = len(latents)
        logits = torch.tensor([0.25, 0.75]).log().expand(rows, 2)
        return Mixture(logits, torch.tensor([[-1.0], [1.0]]).expand(rows, 2, 1), torch.full((rows, 2, 1), 0.1))

    def block_actions(self, blocks: Tensor, /) -> Tensor:
        return 2 * blocks[..., None]


def test_mixture_is_sampled_in_its_proportions_and_physical_units() -> None:
    latents = torch.zeros(8000, 3)
    drawn = MixtureInverse(TwoWays()).sample(latents, latents, [1])[:, 0]
    right = drawn > 0
    assert right.float().mean() == pytest.approx(0.75, abs=0.03)  # six standard errors
    assert drawn[right].mean() == pytest.approx(2.0, abs=0.02)
    assert drawn[right].std() == pytest.approx(0.2, abs=0.02)


def test_mixture_without_temperature_draws_only_the_means() -> None:
    latents = torch.zeros(100, 3)
    drawn = MixtureInverse(TwoWays(), temperature=0.0).sample(latents, latents, [1])
    assert set(drawn.flatten().tolist()) == {-2.0, 2.0}


def test_likeliest_of_a_mixture_is_the_mean_of_its_heaviest_part() -> None:
    latents = torch.zeros(3, 3)
    assert (MixtureInverse(TwoWays()).most_likely(latents, latents) == 2.0).all()


@dataclass(frozen=True)
class FourWays:
    """Weights 0.05, 0.5, 0.15 and 0.3 of four numbers; what a row sees is added to its logits."""

    def next_actions(self, latents: Tensor, goals: Tensor, /) -> Mixture:
        rows = len(latents)
        logits = torch.tensor([0.05, 0.5, 0.15, 0.3]).log() + latents
        return Mixture(logits, torch.arange(4.0)[:, None].expand(rows, 4, 1), torch.full((rows, 4, 1), 1e-6))

    def block_actions(self, blocks: Tensor, /) -> Tensor:
        return blocks[..., None]


def spread_modes(num_rows: int, seed: int) -> list[int]:
    latents = torch.zeros(num_rows, 4)
    return MixtureInverse(FourWays(), spread=True).sample(latents, latents, [seed])[:, 0].round().int().tolist()


def test_spread_samples_reach_every_mode_with_more_than_a_samples_share_and_the_heaviest_first() -> None:
    for seed in range(50):
        modes = spread_modes(8, seed)
        assert modes[0] == 1 and {1, 2, 3} <= set(modes)
        assert modes.count(1) in (4, 5) and modes.count(3) in (2, 3)  # 8 times the weight, up to one


def test_spread_samples_keep_the_mixtures_proportions() -> None:
    modes = torch.tensor([spread_modes(8, seed) for seed in range(2000)]).flatten()
    shares = modes.bincount(minlength=4) / len(modes)
    torch.testing.assert_close(shares, torch.tensor([0.05, 0.5, 0.15, 0.3]), atol=0.01, rtol=0)  # six standard errors


def test_spread_samples_of_a_problem_do_not_depend_on_the_others_or_their_states() -> None:
    inverse, latents = MixtureInverse(FourWays(), spread=True), torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    together = inverse.sample(latents.flatten(0, 1), latents.flatten(0, 1), [5, 6, 7]).unflatten(0, (3, 6))
    for b, seed in enumerate((5, 6, 7)):
        assert torch.equal(inverse.sample(latents[b], latents[b], [seed]), together[b])
