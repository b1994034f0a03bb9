"""Outcomes of an imagined step: drawn by their odds, the same draw for the same luck, and off as if there were none."""

from dataclasses import replace

import pytest
import torch
from small import small_model

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Chance
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.models.dynamics import chosen
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.scoring import FuturesConfig
from robo_dream.training.config import FuturesStage, TrainingConfig
from robo_dream.training.futures import FutureBatch, future_losses

DIM = 8
PLAIN, CHANCY = small_model(latent_dim=DIM), small_model(latent_dim=DIM, outcomes=3)
ACTIONS = 0.02 * torch.rand(2, 4, 15, 5, generator=torch.Generator().manual_seed(0))
LATENTS = torch.randn(2, DIM, generator=torch.Generator().manual_seed(1))


def chance(count: int = 16, temperature: float = 1.0, seeds: tuple[int, ...] = (1, 2), horizon: int = 3) -> Chance:
    return FuturesConfig(count=count, temperature=temperature).chance(seeds, horizon, LATENTS)


def test_a_temperature_raises_odds_to_a_power_and_zero_takes_the_likeliest() -> None:
    odds, draws = torch.tensor([0.2, 0.7, 0.1]), (torch.arange(10_000) + 0.5) / 10_000
    logits = odds.log()[None].expand(len(draws), -1) + 3.0  # as networks give them: not normalised
    for temperature in (0.5, 1.0, 2.0):
        shares = torch.bincount(chosen(logits, draws, torch.full_like(draws, temperature)), minlength=3) / len(draws)
        powers = odds ** (1 / temperature)
        torch.testing.assert_close(shares, powers / powers.sum(), atol=2e-4, rtol=0)
    assert (chosen(logits, draws, torch.zeros_like(draws)) == 1).all()


def test_draws_of_a_problem_are_its_seeds_alone_and_lie_one_in_each_part() -> None:
    draws = chance().draws
    assert torch.equal(draws[1:], chance(seeds=(2,)).draws) and not torch.equal(draws, chance(seeds=(1, 3)).draws)
    assert torch.equal((draws * 16).floor().sort(1).values, torch.arange(16.0)[None, :, None].expand(2, 16, 3))
    assert not torch.equal(draws[:, :, 0].argsort(1), draws[:, :, 1].argsort(1))


def test_without_a_chance_a_model_with_outcomes_imagines_as_one_without_to_the_bit() -> None:
    plain, chancy = (model.imagine(Belief(LATENTS), ACTIONS) for model in (PLAIN, CHANCY))
    assert torch.equal(plain.latents, chancy.latents) and torch.equal(plain.disagreement, chancy.disagreement)
    assert plain.futures is None and chancy.futures is None
    own = CHANCY.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in PLAIN.state_dict().items())
    assert not any("outcomes" in name for name in PLAIN.state_dict())


def test_the_same_luck_gives_the_same_futures_alone_and_in_a_batch_and_to_every_candidate() -> None:
    together = CHANCY.imagine(Belief(LATENTS, chance=chance()), ACTIONS)
    assert together.futures is not None and together.futures.shape == (16, 2, 4, 3, DIM)
    again = CHANCY.imagine(Belief(LATENTS, chance=chance()), ACTIONS)
    assert again.futures is not None and torch.equal(together.futures, again.futures)
    for row in range(2):
        alone = CHANCY.imagine(Belief(LATENTS[row : row + 1], chance=chance(seeds=(row + 1,))), ACTIONS[row : row + 1])
        assert alone.futures is not None
        torch.testing.assert_close(alone.futures[:, 0], together.futures[:, row], rtol=1e-5, atol=1e-5)
    alike = CHANCY.imagine(Belief(LATENTS, chance=chance()), ACTIONS[:, :1].expand(-1, 4, -1, -1)).futures
    assert alike is not None
    torch.testing.assert_close(alike[:, :, 0], alike[:, :, 3], rtol=1e-5, atol=1e-5)


def test_at_temperature_zero_all_futures_are_the_likeliest_and_pieces_change_nothing() -> None:
    cold = CHANCY.imagine(Belief(LATENTS, chance=chance(temperature=0.0)), ACTIONS)
    assert cold.futures is not None
    torch.testing.assert_close(cold.futures, cold.latents.expand_as(cold.futures), rtol=1e-5, atol=1e-5)
    small = LatentVideoModel(CHANCY.spec, imagine_rows=7).eval()
    small.load_state_dict(CHANCY.state_dict())
    whole, pieces = (model.imagine(Belief(LATENTS, chance=chance()), ACTIONS) for model in (CHANCY, small))
    assert whole.futures is not None and pieces.futures is not None
    torch.testing.assert_close(pieces.futures, whole.futures, rtol=1e-5, atol=1e-5)


def test_what_was_gathered_and_what_is_remembered_go_along() -> None:
    gathered = Belief(LATENTS, torch.tensor([0.0, 2.0]), chance=chance())
    found, fresh = CHANCY.imagine(gathered, ACTIONS), CHANCY.imagine(replace(gathered, disagreement=None), ACTIONS)
    torch.testing.assert_close(
        found.disagreement.square() - fresh.disagreement.square(), torch.tensor([0.0, 4.0])[:, None, None].expand(2, 4, 3)
    )
    model = small_model(latent_dim=DIM, outcomes=3, memory=5)
    assert model.dynamics.remembered is not None
    model.dynamics.remembered.data += torch.randn(model.dynamics.remembered.shape, generator=torch.Generator().manual_seed(2))
    with_it = model.imagine(Belief(LATENTS, memory=torch.ones(2, 5), chance=chance()), ACTIONS)
    without = model.imagine(Belief(LATENTS, memory=torch.zeros(2, 5), chance=chance()), ACTIONS)
    assert not torch.allclose(with_it.latents, without.latents, atol=1e-3) and with_it.end().memory is not None


def test_a_chance_is_refused_by_who_learned_one_future_and_where_it_ends_too_soon() -> None:
    with pytest.raises(ContractError, match=r"one future only.*stage=futures"):
        PLAIN.imagine(Belief(LATENTS, chance=chance()), ACTIONS)
    with pytest.raises(ContractError, match="drawn for 2 imagined steps; these actions take 3"):
        CHANCY.imagine(Belief(LATENTS, chance=chance(horizon=2)), ACTIONS)


def test_a_checkpoint_keeps_its_outcomes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    loaded = checkpoint.load(checkpoint.save(CHANCY, tmp_path / "model.safetensors", half=False))
    one, other = (model.imagine(Belief(LATENTS, chance=chance()), ACTIONS) for model in (CHANCY, loaded))
    assert one.futures is not None and other.futures is not None and torch.equal(one.futures, other.futures)


ODDS = torch.tensor([0.2, 0.5, 0.8])


def tosses(count: int, seed: int) -> tuple[FutureBatch, torch.Tensor]:
    """One step in which a channel goes one way or the other, as often as another channel says; and which of `ODDS` it was."""
    g = torch.Generator().manual_seed(seed)
    which = torch.randint(3, (count,), generator=g)
    before = 0.3 * torch.randn(count, DIM, generator=g)
    before[:, 0] = which - 1.0
    after = before.clone()
    after[:, 1] = torch.where(torch.rand(count, generator=g) < ODDS[which], 1.0, -1.0)
    return FutureBatch(
        torch.stack([before, after], 1), torch.rand(count, 1, 25, generator=g), torch.randn(count, 1, DIM, generator=g)
    ), which


def test_odds_are_learned_and_samples_go_either_way_where_the_mean_goes_neither() -> None:
    model = small_model(latent_dim=DIM, outcomes=2)
    assert model.outcomes is not None
    model.outcomes.requires_grad_(True)
    config = TrainingConfig(model=ModelConfig(image_size=32, latent_dim=DIM, outcomes=2), futures=FuturesStage(odds_noise=0.05))
    optimiser = torch.optim.Adam(model.outcomes.parameters(), 4e-3)
    for step in range(200):
        losses = future_losses(model, tosses(256, step)[0], config)
        optimiser.zero_grad()
        (losses["odds"] + losses["latents"]).backward()
        optimiser.step()
    model.requires_grad_(False)
    batch, which = tosses(300, 10_000)
    drawn = FuturesConfig(count=50).chance(range(300), 1, batch.latents[:, 0])
    found = model.imagine(Belief(batch.latents[:, 0], chance=drawn), model.block_actions(batch.blocks[:, 0])[:, None]).futures
    assert found is not None
    side = found[:, :, 0, 0, 1]
    assert (side.abs() > 0.6).float().mean() > 0.95  # no draw is in the middle
    for number, odds in enumerate(ODDS.tolist()):
        assert (side[:, which == number] > 0).float().mean() == pytest.approx(odds, abs=0.07)
