"""The random numbers of learned suggestions: which of several ways, and how far off it; each problem's from its own stream."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.planning.noise import generator_of


def draws(
    seeds: Sequence[int], num_samples: int, block_size: int, temperature: float, spread: bool, sampled_only: bool, like: Tensor
) -> tuple[Float[Tensor, " row"], Float[Tensor, "row block"]]:
    """Chances in [0, 1) and `temperature` times standard normal noise of `num_samples` rows for each seed.

    The first row of each problem has 0 for both, which is the likeliest suggestion, unless `sampled_only`. `spread` shares a problem's
    rows among the ways by systematic sampling: where they see one state, every way with more than one row's share of the weight gets a
    row, the heaviest the first.
    """
    chance, noise = [], []
    for seed in seeds:
        generator = generator_of(seed, "inverse")
        chance.append(_even_chances(num_samples, generator) if spread else torch.rand(num_samples, generator=generator))
        noise.append(temperature * torch.randn(num_samples, block_size, generator=generator))
    chances, noises = torch.stack(chance), torch.stack(noise)
    if not sampled_only:
        chances[:, 0] = 0.0
        noises[:, 0] = 0.0
    return chances.flatten().to(like), noises.flatten(0, 1).to(like)


def _even_chances(num_rows: int, generator: torch.Generator) -> Float[Tensor, " row"]:
    """One in each of `num_rows` equal parts of [0, 1): in the first part for the first row, for the others in random order."""
    parts = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(num_rows - 1, generator=generator)])
    return (parts + torch.rand(1, generator=generator)) / num_rows
