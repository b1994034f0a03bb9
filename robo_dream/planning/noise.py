"""White and power-law noise, one random stream for each problem: a problem draws the same numbers alone or in any batch."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

_SEED_MASK = (1 << 63) - 1


def generator_of(seed: int, stream: str) -> torch.Generator:
    """A generator of its own for (seed, stream), on the CPU so that every device draws the same numbers."""
    mixed = seed & _SEED_MASK
    for byte in stream.encode():  # FNV-1a over the stream's name, so that two uses of one seed are unrelated
        mixed = ((mixed ^ byte) * 0x100000001B3) & _SEED_MASK
    return torch.Generator(device="cpu").manual_seed(mixed)


class NoiseStreams:
    """The random streams of one call to a planner: problem b draws from `seeds[b]` and from nothing else."""

    def __init__(self, seeds: Sequence[int], stream: str, like: Tensor) -> None:
        self._generators = [generator_of(seed, stream) for seed in seeds]
        self._like = like

    def normal(
        self, num_samples: int, num_steps: int, num_actions: int, colour: float = 0.0
    ) -> Float[Tensor, "batch sample time action"]:
        """Unit-variance Gaussian noise whose power falls as frequency ** -colour along time (0 is white)."""
        return self._stack([_normal(g, num_samples, num_steps, num_actions, colour) for g in self._generators])

    def uniform(self, num_samples: int, num_steps: int, num_actions: int) -> Float[Tensor, "batch sample time action"]:
        """Uniform noise in [-1, 1)."""
        return self._stack([torch.rand(num_samples, num_steps, num_actions, generator=g) * 2 - 1 for g in self._generators])

    def _stack(self, draws: list[Tensor]) -> Tensor:
        return torch.stack(draws).to(device=self._like.device, dtype=self._like.dtype)


def _normal(
    generator: torch.Generator, num_samples: int, num_steps: int, num_actions: int, colour: float
) -> Float[Tensor, "sample time action"]:
    """Timmer and Koenig, On generating power law noise, 1995: Gaussian Fourier coefficients of amplitude f ** (-colour / 2)."""
    if colour == 0.0 or num_steps == 1:
        return torch.randn(num_samples, num_steps, num_actions, generator=generator)
    frequency = torch.fft.rfftfreq(num_steps)
    amplitude = frequency.clamp(min=1 / num_steps) ** (-colour / 2)  # the mean drifts as much as the slowest wave
    real, imaginary = torch.randn(2, num_samples, num_actions, len(frequency), generator=generator)
    is_real = torch.zeros(len(frequency), dtype=torch.bool)
    is_real[0] = True
    is_real[-1] = num_steps % 2 == 0  # the Nyquist wave has no phase
    real = torch.where(is_real, real * math.sqrt(2), real)
    imaginary = torch.where(is_real, 0.0, imaginary)
    waves = torch.fft.irfft(torch.complex(real, imaginary) * amplitude, n=num_steps)  # (sample, action, time)
    variance = (amplitude**2 * torch.where(is_real, 2.0, 4.0)).sum() / num_steps**2
    return (waves / variance.sqrt()).transpose(1, 2)
