"""Suggestions that correct themselves: each block is chosen from the state that the blocks before it are imagined to lead to."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Imagination, Suggestions, WorldModel
from robo_dream.planning.bounds import bounds_of

# Of step h and the states there: the next block's actions, and what they lead to (each row a problem with one candidate).
NextStep = Callable[[int, Belief], tuple[Float[Tensor, "row time action"], Imagination]]


def followed(model: WorldModel, belief: Belief, num_samples: int, num_steps: int, next_step: NextStep) -> Suggestions:
    """`num_samples` sequences of each problem, with what was imagined on the way, so that nobody imagines it twice.

    Actions are clipped to the limits, which `next_step` keeps but for rounding. Raises `ContractError` for a `num_steps` that is no
    multiple of the model's action block.
    """
    num_blocks = whole_blocks(model, num_steps)
    bounds = bounds_of(model.action_spec, belief.latent)
    here = Belief(belief.latent.repeat_interleave(num_samples, dim=0))  # (B*K, D)
    blocks, imagined = [], []
    for h in range(num_blocks):
        actions, leads_to = next_step(h, here)
        blocks.append(bounds.clip(actions.to(bounds.low)))
        imagined.append(leads_to)
        here = leads_to.end()
    shape = (len(belief.latent), num_samples)
    return Suggestions(
        torch.cat(blocks, dim=1).unflatten(0, shape),
        Imagination(
            torch.cat([one.latents[:, 0] for one in imagined], dim=1).unflatten(0, shape),
            torch.cat([one.disagreement[:, 0] for one in imagined], dim=1).unflatten(0, shape),
        ),
    )


def whole_blocks(model: WorldModel, num_steps: int) -> int:
    """How many action blocks `num_steps` control steps are; raises `ContractError` for a part of one."""
    if num_steps % model.action_block:
        raise ContractError(f"{num_steps} control steps were asked for; give a multiple of the model's action block, {model.action_block}")
    return num_steps // model.action_block
