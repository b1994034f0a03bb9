"""Candidate action sequences and where each came from; the ones every search opens with."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Plan, Proposer
from robo_dream.planning.bounds import Bounds
from robo_dream.planning.warm_start import shifted_plan

NOISE = "noise"  # random around a mean or around nothing
REFINED = "refined"  # random around what scored well one iteration earlier
MEAN = "mean"  # the mean of the search distribution
PREVIOUS = "previous"  # the last decision's plan, moved on by one block
HOLD = "hold"  # no motion
_OWN_ORIGINS = (NOISE, REFINED, MEAN, PREVIOUS, HOLD)


@dataclass(frozen=True)
class Candidates:
    """Action sequences to imagine; `origins` index `origin_names(proposers)`."""

    actions: Float[Tensor, "batch sample time action"]
    origins: Int[Tensor, "batch sample"]


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
    return Candidates(torch.cat([p.actions for p in parts], dim=1), torch.cat([p.origins for p in parts], dim=1))


def opening(
    bounds: Bounds,
    belief: Belief,
    goal: Goal,
    seeds: Sequence[int],
    previous: Plan | None,
    proposers: Sequence[Proposer],
    num_proposals: int,
    num_steps: int,
    action_block: int,
) -> Candidates:
    """Holding still, the previous plan moved on, and `num_proposals` suggestions shared among the proposers."""
    names = origin_names(proposers)
    num_problems = len(belief.latent)
    parts = [of_origin(bounds.held(num_problems, 1, num_steps), HOLD, names)]
    if previous is not None:
        parts.append(of_origin(shifted_plan(previous, action_block, bounds), PREVIOUS, names))
    for i, proposer in enumerate(proposers):
        share = num_proposals // len(proposers) + (i < num_proposals % len(proposers))
        if share:
            actions = proposer.propose(belief, goal, share, num_steps, seeds)
            parts.append(of_origin(bounds.clip(actions.to(bounds.low)), proposer.name, names))
    return join_candidates(parts)
