"""Noise against closed forms, and one stream for each problem."""

import pytest
import torch

from robo_dream.planning.candidates import NoiseStreams

NUM_SAMPLES = 20_000
MONTE_CARLO = 0.05  # five standard errors of a variance from 20,000 draws


def streams(*seeds: int, stream: str = "test") -> NoiseStreams:
    return NoiseStreams(seeds, stream, torch.zeros(()))


@pytest.mark.parametrize("noise_beta", [0.0, 2.0])
def test_a_problem_draws_the_same_noise_alone_or_in_any_batch(noise_beta: float) -> None:
    together = streams(1, 2, 3).normal(4, 25, 5, noise_beta)
    assert torch.equal(together[1], streams(2).normal(4, 25, 5, noise_beta)[0])
    assert torch.equal(together[2], streams(3, 1).normal(4, 25, 5, noise_beta)[0])


def test_later_draws_of_a_stream_are_new() -> None:
    source = streams(1)
    assert not torch.equal(source.normal(4, 25, 5), source.normal(4, 25, 5))


def test_two_uses_of_one_seed_are_unrelated() -> None:
    one, other = streams(1, stream="cem").normal(NUM_SAMPLES, 1, 1), streams(1, stream="icem").normal(NUM_SAMPLES, 1, 1)
    assert abs((one * other).mean()) < MONTE_CARLO


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    streams(1).normal(4, 25, 5, 2.0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("noise_beta", [0.0, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("num_steps", [9, 10])
def test_noise_has_unit_variance_at_every_step(noise_beta: float, num_steps: int) -> None:
    noise = streams(5).normal(NUM_SAMPLES, num_steps, 1, noise_beta)[0, :, :, 0]
    torch.testing.assert_close(noise.var(dim=0), torch.ones(num_steps), atol=MONTE_CARLO, rtol=0)


@pytest.mark.parametrize("noise_beta", [1.0, 2.0, 3.0])
def test_power_falls_with_frequency_as_the_colour_says(noise_beta: float) -> None:
    noise = streams(5).normal(NUM_SAMPLES, 32, 1, noise_beta)[0, :, :, 0]
    power = torch.fft.rfft(noise).abs().square().mean(dim=0)[1:-1]
    frequency = torch.fft.rfftfreq(32)[1:-1]
    slope = torch.linalg.lstsq(torch.stack([frequency.log(), torch.ones(15)], dim=1), power.log()[:, None]).solution[0, 0]
    assert slope == pytest.approx(-noise_beta, abs=MONTE_CARLO)


def test_uniform_noise_fills_the_range() -> None:
    noise = streams(5).uniform(NUM_SAMPLES, 1, 1)
    assert noise.min() >= -1 and noise.max() < 1
    assert noise.square().mean() == pytest.approx(1 / 3, abs=MONTE_CARLO)
