"""Candidate action sequences and where each came from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Imagination, Proposer

NOISE = "noise"  # random around a mean or around nothing
REFINED = "refined"  # random around what scored well one iteration earlier
MEAN = "mean"  # the mean of the search distribution
PREVIOUS = "previous"  # the last decision's plan, moved on by one block
HOLD = "hold"  # no motion
_OWN_ORIGINS = (NOISE, REFINED, MEAN, PREVIOUS, HOLD)


@dataclass(frozen=True)
class Candidates:
    """Action sequences to judge, and to imagine unless that was done; `origins` index `origin_names(proposers)`."""

    actions: Float[Tensor, "batch sample time action"]
    origins: Int[Tensor, "batch sample"]
    imagination: Imagination | None = None

    def between(self, start: int, end: int) -> "Candidates":
        """Those from `start` up to before `end` of each problem."""
        some = slice(start, end)
        done = self.imagination
        imagination = None if done is None else Imagination(done.latents[:, some], done.disagreement[:, some])
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
