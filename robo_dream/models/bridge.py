"""The bridge: a straight line from belief to goal through latent space, and the action blocks read off its neighbouring points."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.models.world_model import LatentVideoModel


def on_the_way(
    starts: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*batch channel"], fractions: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch channel"]:
    """The point at each fraction of the line from start (0) to goal (1)."""
    return torch.lerp(starts, goals, fractions[..., None].to(starts))


def bridge_points(
    starts: Float[Tensor, "batch channel"], goals: Float[Tensor, "batch channel"], num_blocks: int
) -> Float[Tensor, "batch point channel"]:
    """`num_blocks` + 1 evenly spaced points, both ends among them; the model's `decode` draws them like any rollout."""
    fractions = torch.linspace(0.0, 1.0, num_blocks + 1, device=starts.device).expand(len(starts), -1)
    shape = (len(starts), num_blocks + 1, starts.shape[-1])
    return on_the_way(starts[:, None].expand(shape), goals[:, None].expand(shape), fractions)


@dataclass(frozen=True)
class Bridge:
    """Actions off a bridge of any length, in physical units (RWM, arXiv 2609.29171).

    They are read by the model's `AdjacentInverse`, which is trained on points of bridges as on real neighbours: a bridge of one
    block is a pair of neighbours. Points and actions change smoothly with the number of blocks, which need not be whole.
    """

    model: LatentVideoModel

    def next_block(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], num_blocks: Float[Tensor, " row"]
    ) -> Float[Tensor, "row block_action"]:
        """The first block of a bridge that reaches the goal in `num_blocks` (at least 1) action blocks."""
        following = on_the_way(latents, goals, 1.0 / num_blocks)
        return self.model.block_actions(self.model.adjacent_inverse(latents, following)).flatten(1)

    def num_blocks(self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"]) -> Float[Tensor, " row"]:
        """How many action blocks away the model's temporal distance takes the goal to be, at least 1."""
        return (self.model.distance(latents, goals) / self.model.action_block).clamp(min=1.0)
