"""Suggestions that correct themselves: each block is chosen from the state that the blocks before it are imagined to lead to."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Imagination, Suggestions, WorldModel

NextBlock = Callable[[int, Float[Tensor, "row channel"]], Float[Tensor, "row time action"]]  # of step h and the states there


def followed(model: WorldModel, belief: Belief, num_samples: int, num_steps: int, next_block: NextBlock) -> Suggestions:
    """`num_samples` sequences of each problem, with what was imagined on the way, so that nobody imagines it twice.

    `next_block` gets rows of problems times samples and gives actions within the limits. Raises `ContractError` for a `num_steps`
    that is no multiple of the model's action block.
    """
    num_blocks = whole_blocks(model, num_steps)
    here = Belief(belief.latent.repeat_interleave(num_samples, dim=0))  # (B*K, D)
    blocks, imagined = [], []
    for h in range(num_blocks):
        blocks.append(next_block(h, here.latent))
        imagined.append(model.imagine(here, blocks[-1][:, None]))  # (B*K, 1, 1, ...)
        here = imagined[-1].end()
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
