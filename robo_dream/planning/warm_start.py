"""The previous plan moved on in time, to start the next search from."""

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Plan
from robo_dream.planning.bounds import Bounds


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
