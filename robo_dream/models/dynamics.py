"""Latent and action block to next latent: an ensemble of heads on a shared trunk, unrolled on its own mean."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.models.config import ModelSpec
from robo_dream.models.layers import ResidualMlp

PRIOR_WIDTH = 32


class Dynamics(nn.Module):
    """Each head predicts the change of the latent over one action block; all heads are one batched product.

    Heads differ by their start, by the data they are weighted on (the trainer's business) and by a fixed random prior
    function each (Osband et al. 2018, "Randomized Prior Functions for Deep Reinforcement Learning"), which training cancels
    where there is data and leaves where there is none.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        w, config = spec.config.widths, spec.config
        heads, latent, num_in = config.num_heads, config.latent, config.latent + spec.block_size
        self.num_heads = heads
        self.trunk = ResidualMlp(latent, w.dynamics, w.dynamics_layers)
        self.actions = nn.Linear(spec.block_size, w.dynamics)
        self.head_in = nn.Linear(w.dynamics, heads * w.head)
        self.head_out = nn.Parameter(torch.randn(heads, w.head, latent) * (0.3 / math.sqrt(w.head)))
        self.head_bias = nn.Parameter(torch.zeros(heads, 1, latent))
        self.remembered = nn.Parameter(torch.zeros(w.dynamics, config.memory)) if config.memory else None  # zeros: nothing changes yet
        self.prior_scale = config.prior_scale
        self.prior_in: Tensor
        self.prior_out: Tensor
        self.register_buffer("prior_in", torch.randn(num_in, heads * PRIOR_WIDTH) / math.sqrt(num_in))
        self.register_buffer("prior_out", torch.randn(heads, PRIOR_WIDTH, latent) / math.sqrt(PRIOR_WIDTH))

    def changes(
        self,
        latents: Float[Tensor, "row channel"],
        blocks: Float[Tensor, "row horizon block"],
        memory: Float[Tensor, "row memory"] | None = None,
    ) -> Iterator[tuple[Float[Tensor, "head row channel"], Float[Tensor, "row channel"]]]:
        """What every head says of the change over each block in turn, and their mean, on which the next step stands.

        What does not depend on the imagined state is computed once: the part of the actions of all steps and of what is remembered (how
        heavy a thing turned out to be does not change on the way), and joined weights.
        """
        inputs = torch.cat([self.trunk.first.weight, self.prior_in[: latents.shape[1]].T])
        outputs = torch.cat([self.head_out, self.prior_scale * self.prior_out], 1)
        given = self.actions(blocks) + self.trunk.first.bias
        if memory is not None and self.remembered is not None:
            given = given + nn.functional.linear(memory, self.remembered)[:, None]
        moves = torch.cat([given, blocks @ self.prior_in[latents.shape[1] :]], -1).transpose(0, 1).contiguous()  # (H, R, W + E*P)
        widths = [self.actions.out_features, self.num_heads * PRIOR_WIDTH]
        for step in range(blocks.shape[1]):
            hidden, prior = (nn.functional.linear(latents, inputs) + moves[step]).split(widths, -1)
            hidden = nn.functional.silu(self.head_in(self.trunk.residual(hidden)))
            heads = [part.unflatten(1, (self.num_heads, -1)) for part in (hidden, torch.tanh(prior))]
            change = torch.baddbmm(self.head_bias, torch.cat(heads, 2).transpose(0, 1), outputs)
            mean = change.mean(0)
            yield change, mean
            latents = latents + mean

    def unroll(
        self,
        latents: Float[Tensor, "row channel"],
        blocks: Float[Tensor, "row horizon block"],
        memory: Float[Tensor, "row memory"] | None = None,
    ) -> tuple[Float[Tensor, "row horizon channel"], Float[Tensor, "head row horizon channel"]]:
        """Imagined latents (the mean of the heads, on which the next step stands) and what each head said."""
        means, heads = [], []
        for change, mean in self.changes(latents, blocks, memory):
            heads.append(latents + change)
            latents = latents + mean
            means.append(latents)
        return torch.stack(means, 1), torch.stack(heads, 2)

    def rollout_per_member(
        self,
        latents: Float[Tensor, "row channel"],
        blocks: Float[Tensor, "row horizon block"],
        memory: Float[Tensor, "row memory"] | None = None,
    ) -> Float[Tensor, "head row horizon channel"]:
        """Each head's own future: it stands on what that head said before, not on the mean."""
        heads, rows = self.num_heads, len(latents)
        futures, own = [], latents.repeat(heads, 1)  # (E*R, D)
        memories = None if memory is None else memory.repeat(heads, 1)
        for step in range(blocks.shape[1]):
            change, _ = next(self.changes(own, blocks[:, step : step + 1].repeat(heads, 1, 1), memories))  # (E, E*R, D)
            own = own + torch.cat([change[head, head * rows : (head + 1) * rows] for head in range(heads)])
            futures.append(own.unflatten(0, (heads, rows)))
        return torch.stack(futures, 2)

    def imagine(
        self,
        latents: Float[Tensor, "row channel"],
        blocks: Float[Tensor, "row horizon block"],
        uncertainty: Float[Tensor, " row"] | None = None,
        memory: Float[Tensor, "row memory"] | None = None,
    ) -> tuple[Float[Tensor, "row horizon channel"], Float[Tensor, "row horizon"]]:
        """Imagined latents and disagreement, in latent units.

        A step's spread is the heads' standard deviation averaged over channels. Doubts add up on the way: disagreement at step h
        is the root of the sum of squared spreads up to h, as for errors of independent steps; `uncertainty` had gathered before.
        """
        means, spreads = [], []
        for change, mean in self.changes(latents, blocks, memory):
            latents = latents + mean
            means.append(latents)
            spreads.append((change - mean).square().mean(0).sqrt().mean(-1))
        variance = torch.stack(spreads, 1).square().cumsum(1)
        return torch.stack(means, 1), (variance if uncertainty is None else variance + uncertainty.square()[:, None]).sqrt()
