"""What the numbers of a search may be, and the candidates that it imagines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int, Shaped
from pydantic import Field
from torch import Tensor

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Imagination, Plan, Proposer
from robo_dream.renamed import STREAMS
from robo_dream.schema import OR_INF, Unit
from robo_dream.upload import uploaded

Horizon = Annotated[int, Field(ge=1, le=1000), Unit("imagined steps")]
NumSamples = Annotated[int, Field(ge=4, le=1_000_000)]
NumIterations = Annotated[int, Field(ge=1, le=1000)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
NumProposals = Annotated[int, Field(ge=0, le=1_000_000)]
Std = Annotated[float, Field(ge=0, le=10)]  # in halves of an action's range
NoiseBeta = Annotated[float, Field(ge=0, le=10)]
SampleBudget = Annotated[int, Field(ge=1, le=100_000_000)]
Disagreement = Annotated[float, Field(ge=0), OR_INF]


def require_at_most(config: object, most: float, name: str) -> None:
    """Raises `ConfigError` where the field `name` of `config` is larger than its other fields allow."""
    if getattr(config, name) > most:
        raise ConfigError(
            f"{type(config).__name__}.{name} is {getattr(config, name)}; with the other numbers of samples allowed is at most {most:g}"
        )


@dataclass(frozen=True)
class Bounds:
    """Limits of one action, in its own units, on the device and in the dtype of the search."""

    low: Float[Tensor, " action"]
    high: Float[Tensor, " action"]

    @property
    def half_range(self) -> Float[Tensor, " action"]:
        return (self.high - self.low) / 2

    @property
    def hold(self) -> Float[Tensor, " action"]:
        """The action nearest to zero: moves of tool or joints hold still. For `joint_target` it is only a legal placeholder."""
        return self.clip(torch.zeros_like(self.low))

    def clip(self, actions: Float[Tensor, "*batch action"]) -> Float[Tensor, "*batch action"]:
        """`actions` within the limits; NaN stays NaN, so that it is counted and not hidden."""
        return torch.clamp(actions, self.low, self.high)

    def held(self, num_problems: int, num_samples: int, num_steps: int) -> Float[Tensor, "batch sample time action"]:
        return self.hold.expand(num_problems, num_samples, num_steps, -1).clone()


def bounds_of(spec: ActionSpec, latent: Float[Tensor, "batch channel"]) -> Bounds:
    """Limits of `spec` on the device of `latent`, in float32 (float64 when `latent` is).

    Raises `ContractError` for a game's choices: between left and right there is nothing to search among.
    """
    if spec.kind == "choice":
        raise ContractError(f"actions are a choice of {spec.names}, and planners search among numbers; use robo-dream dream-train")
    dtype = torch.promote_types(latent.dtype, torch.float32)
    return Bounds(
        uploaded(torch.as_tensor(spec.low).to(dtype), latent.device), uploaded(torch.as_tensor(spec.high).to(dtype), latent.device)
    )


NOISE = "noise"  # random around a mean or around nothing
REFINED = "refined"  # random around what scored well one iteration earlier
MEAN = "mean"  # the mean of the search distribution
PREVIOUS = "previous"  # the last decision's plan, moved on by one block
HOLD = "hold"  # no motion
_OWN_ORIGINS = (NOISE, REFINED, MEAN, PREVIOUS, HOLD)


@dataclass(frozen=True)
class Candidates:
    """Action sequences to score, and to imagine unless that was done; `origins` index `origin_names(proposers)`."""

    actions: Float[Tensor, "batch sample time action"]
    origins: Int[Tensor, "batch sample"]
    imagination: Imagination | None = None

    def between(self, start: int, end: int) -> "Candidates":
        """Those from `start` up to before `end` of each problem."""
        some = slice(start, end)
        done = self.imagination
        imagination = None
        if done is not None:
            futures = None if done.futures is None else done.futures[:, :, some]
            imagination = Imagination(done.latents[:, some], done.disagreement[:, some], futures=futures)
        return Candidates(self.actions[:, some], self.origins[:, some], imagination)


def origin_names(proposers: Sequence[Proposer]) -> tuple[str, ...]:
    """Kinds of candidate of a search with `proposers`; raises `ContractError` when two share a name."""
    names = (*_OWN_ORIGINS, *(proposer.name for proposer in proposers))
    if len(set(names)) != len(names):
        raise ContractError(f"proposers are named {names[len(_OWN_ORIGINS) :]}; give each its own name, none of {_OWN_ORIGINS}")
    return names


def of_origin(actions: Float[Tensor, "batch sample time action"], origin: str, names: tuple[str, ...]) -> Candidates:
    index = torch.full(actions.shape[:2], names.index(origin), dtype=torch.int64, device=actions.device)
    return Candidates(actions, index)


def gather_samples(
    values: Shaped[Tensor, "batch sample *rest"], index: Int[Tensor, "batch chosen"]
) -> Shaped[Tensor, "batch chosen *rest"]:
    """Row b of the result is `values[b, index[b]]`."""
    return values[torch.arange(len(values), device=values.device)[:, None], index]


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """All of them in one, to be imagined anew."""
    return Candidates(join([part.actions for part in parts]), join([part.origins for part in parts]))


def join(parts: Sequence[Shaped[Tensor, "batch _ *rest"]]) -> Shaped[Tensor, "batch sample *rest"]:
    """Side by side along `sample`; what is alone is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def num_candidates(parts: Sequence[Candidates]) -> int:
    """How many there are of each problem."""
    return sum(part.origins.shape[1] for part in parts)


_SEED_MASK = (1 << 63) - 1


def generator_of(seed: int, stream: str) -> torch.Generator:
    """A generator of its own for (seed, stream), on the CPU so that every device draws the same numbers."""
    mixed = seed & _SEED_MASK
    for byte in STREAMS.get(stream, stream).encode():  # FNV-1a over the stream's name, so that two uses of one seed are unrelated
        mixed = ((mixed ^ byte) * 0x100000001B3) & _SEED_MASK
    return torch.Generator(device="cpu").manual_seed(mixed)


class NoiseStreams:
    """The random streams of one call to a planner: problem b draws from `seeds[b]` and from nothing else."""

    def __init__(self, seeds: Sequence[int], stream: str, like: Tensor) -> None:
        self._generators = [generator_of(seed, stream) for seed in seeds]
        self._like = like

    def normal(
        self, num_samples: int, num_steps: int, num_actions: int, noise_beta: float = 0.0
    ) -> Float[Tensor, "batch sample time action"]:
        """Unit-variance Gaussian noise whose power falls as frequency ** -noise_beta along time (0 is white)."""
        return self._stack([_normal(g, num_samples, num_steps, num_actions, noise_beta) for g in self._generators])

    def uniform(self, num_samples: int, num_steps: int, num_actions: int) -> Float[Tensor, "batch sample time action"]:
        """Uniform noise in [-1, 1)."""
        return self._stack([torch.rand(num_samples, num_steps, num_actions, generator=g) * 2 - 1 for g in self._generators])

    def _stack(self, draws: list[Tensor]) -> Tensor:
        return uploaded(torch.stack(draws).to(self._like.dtype), self._like.device)


def _normal(
    generator: torch.Generator, num_samples: int, num_steps: int, num_actions: int, noise_beta: float
) -> Float[Tensor, "sample time action"]:
    """Timmer and Koenig, On generating power law noise, 1995: Gaussian Fourier coefficients of amplitude f ** (-noise_beta / 2)."""
    if noise_beta == 0.0 or num_steps == 1:
        return torch.randn(num_samples, num_steps, num_actions, generator=generator)
    frequency = torch.fft.rfftfreq(num_steps)
    amplitude = frequency.clamp(min=1 / num_steps) ** (-noise_beta / 2)  # the mean drifts as much as the slowest wave
    real, imaginary = torch.randn(2, num_samples, num_actions, len(frequency), generator=generator)
    is_real = torch.zeros(len(frequency), dtype=torch.bool)
    is_real[0] = True
    is_real[-1] = num_steps % 2 == 0  # the Nyquist wave has no phase
    real = torch.where(is_real, real * math.sqrt(2), real)
    imaginary = torch.where(is_real, 0.0, imaginary)
    waves = torch.fft.irfft(torch.complex(real, imaginary) * amplitude, n=num_steps)  # (sample, action, time)
    variance = (amplitude**2 * torch.where(is_real, 2.0, 4.0)).sum() / num_steps**2
    return (waves / variance.sqrt()).transpose(1, 2)


def draws(
    seeds: Sequence[int], num_samples: int, block_size: int, temperature: float, spread: bool, sampled_only: bool, like: Tensor
) -> tuple[Float[Tensor, " row"], Float[Tensor, "row block"]]:
    """Chances in [0, 1) and `temperature` times standard normal noise of `num_samples` rows for each seed.

    The first row of each problem has 0 for both, which is the likeliest proposal, unless `sampled_only`. `spread` shares a problem's
    rows among the ways by systematic sampling: where they see one state, every way with more than one row's share of the weight gets a
    row, the heaviest the first.
    """
    chance, noise = [], []
    for seed in seeds:
        generator = generator_of(seed, "inverse")  # this stream's name of ever: the same seeds give the same draws
        chance.append(_even_chances(num_samples, generator) if spread else torch.rand(num_samples, generator=generator))
        noise.append(temperature * torch.randn(num_samples, block_size, generator=generator))
    chances, noises = torch.stack(chance), torch.stack(noise)
    if not sampled_only:
        chances[:, 0] = 0.0
        noises[:, 0] = 0.0
    given = chances.flatten(), noises.flatten(0, 1)
    return uploaded(given[0].to(like.dtype), like.device), uploaded(given[1].to(like.dtype), like.device)


def _even_chances(num_rows: int, generator: torch.Generator) -> Float[Tensor, " row"]:
    """One in each of `num_rows` equal parts of [0, 1): in the first part for the first row, for the others in random order."""
    parts = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(num_rows - 1, generator=generator)])
    return (parts + torch.rand(1, generator=generator)) / num_rows


def shift(
    actions: Float[Tensor, "*batch time action"], num_steps: int, tail: Float[Tensor, " action"]
) -> Float[Tensor, "*batch time action"]:
    """`actions` without their first `num_steps`, filled up at the end with `tail`."""
    kept = actions[..., num_steps:, :]
    filling = tail.expand(*actions.shape[:-2], actions.shape[-2] - kept.shape[-2], -1)
    return torch.cat([kept, filling], dim=-2)


def check_previous(previous: Plan, num_problems: int, num_steps: int, num_actions: int) -> None:
    """Raises `ContractError` when `previous` is a plan for other problems, of another length or for another body."""
    expected = (num_problems, num_steps, num_actions)
    if tuple(previous.actions.shape) != expected:
        raise ContractError(
            f"previous plan by {previous.planner!r} has actions of shape {tuple(previous.actions.shape)}; "
            f"expected (problems, control steps, actions) = {expected}. Pass previous=None when the planner or the problems change."
        )


def shifted_plan(previous: Plan, action_block: int, bounds: Bounds) -> Float[Tensor, "batch 1 time action"]:
    """The previous plan after one action block was executed: one candidate for each problem."""
    actions = previous.actions.to(bounds.low)
    return bounds.clip(shift(actions, action_block, bounds.hold))[:, None]


def shifted_elites(previous: Plan, action_block: int, bounds: Bounds, num_elites: int) -> Float[Tensor, "batch sample time action"]:
    """The first `num_elites` elites of the previous decision after one action block was executed, best first."""
    elites = previous.trace.elites[:, :num_elites]
    candidates = previous.trace.candidates
    chosen = candidates.gather(1, elites[:, :, None, None].expand(-1, -1, *candidates.shape[2:]))
    return bounds.clip(shift(chosen.to(bounds.low), action_block, bounds.hold))
