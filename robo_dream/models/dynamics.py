"""Latent and action block to next latent: an ensemble of heads on a shared trunk, unrolled on its own mean.

Also what chance makes of it, and what is remembered beside the latent of a frame as looks come in.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robo_dream.models.config import ModelSpec
from robo_dream.models.layers import ResidualMlp, mlp

PRIOR_WIDTH = 32
ODDS_WIDTH = 64  # of the hidden layer that tells odds: a large one learns single tosses by heart
MAX_LATE = 3  # control steps: a picture that is older counts as one that did not come
NUM_SIZES = 3  # of what is apart, seen and expected: a sum of squares is no work for small layers
BELIEVING = 2.0  # logit of the gate before anything is learned: most of what is seen is believed
_LONG = 10.0  # control steps between two looks, as the unit of time


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


class Outcomes(nn.Module):
    """A mixture around what the ensemble expects: every outcome has its odds and its own shift of the latent.

    Mixture density networks (Bishop 1994, NCRG/94/004, equations 22 to 24), the discrete latent of a step that DreamerV2 draws (Hafner et
    al. 2020, arXiv 2010.02193) with so few values that all of them are looked at. What the heads of the ensemble disagree about is what the
    model does not know; what outcomes are about is what nobody can.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        latent, self.num_outcomes = spec.config.latent, spec.config.outcomes
        given = latent + spec.block_size
        self.odds = mlp(given, ODDS_WIDTH, self.num_outcomes, 1)
        self.shift = mlp(given, spec.config.widths.mlp, self.num_outcomes * latent)
        self.log_std = nn.Parameter(torch.full((latent,), math.log(0.3)))  # of a channel around its outcome

    def told(
        self, latents: Float[Tensor, "row channel"], blocks: Float[Tensor, "row block"]
    ) -> tuple[Float[Tensor, "row outcome"], Float[Tensor, "row outcome channel"]]:
        """The logits of all outcomes of a step, and their shifts."""
        given = torch.cat([latents, blocks], -1)
        return self.odds(given).float(), self.shift(given).float().unflatten(-1, (self.num_outcomes, -1))

    def log_likelihood(
        self, following: Float[Tensor, "row channel"], means: Float[Tensor, "row outcome channel"]
    ) -> Float[Tensor, "row outcome"]:
        """Of the latent that came, under each outcome; constants left out."""
        off = (following[:, None] - means) * torch.exp(-self.log_std)
        return -(0.5 * off.square() + self.log_std).sum(-1)

    def imagine(
        self,
        dynamics: Dynamics,
        latents: Float[Tensor, "row channel"],
        blocks: Float[Tensor, "row horizon block"],
        draws: Float[Tensor, "row horizon"],
        temperature: Float[Tensor, " row"],
        memory: Float[Tensor, "row memory"] | None = None,
    ) -> tuple[Float[Tensor, "row horizon channel"], Float[Tensor, "row horizon"]]:
        """One future a row: each step stands on the outcome that was drawn before. And the spread of the heads at each step.

        A draw lies in the part of [0, 1) that belongs to its outcome, so that candidates for which the same things are likely have the same
        luck with it.
        """
        found, spreads, rows = [], [], torch.arange(len(latents), device=latents.device)
        for step in range(blocks.shape[1]):
            change, mean = next(dynamics.changes(latents, blocks[:, step : step + 1], memory))
            logits, shifts = self.told(latents, blocks[:, step])
            latents = latents + mean + shifts[rows, chosen(logits, draws[:, step], temperature)]
            found.append(latents)
            spreads.append((change - mean).square().mean(0).sqrt().mean(-1))
        return torch.stack(found, 1), torch.stack(spreads, 1)


def chosen(logits: Float[Tensor, "row outcome"], draws: Float[Tensor, " row"], temperature: Float[Tensor, " row"]) -> Int[Tensor, " row"]:
    """The outcome in whose part of [0, 1) each draw lies, parts as large as odds to the power of 1 / temperature; at 0 the likeliest."""
    odds = torch.softmax(torch.log_softmax(logits, -1) / temperature.clamp(min=1e-6)[:, None], -1)
    drawn = (odds.cumsum(-1) <= draws[:, None]).sum(-1).clamp(max=logits.shape[-1] - 1)
    return torch.where(temperature > 0, drawn, logits.argmax(-1))


class Memory(nn.Module):
    """A recurrent filter. What was expected and what is seen meet channel by channel, and a gated recurrent unit keeps what follows.

    It reads the poses that the model reads of both, the arm's own word, which no screen hides, and how late each picture is. `now` adds
    a correction to what the gate lets through: where a thing is hidden from one camera, no channel is right as it is.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        size, latent, width = spec.config.memory, spec.config.latent, spec.config.widths.mlp
        given = 3 * len(spec.pose.mean) + len(spec.proprio.mean) + num_times(len(spec.cameras)) + NUM_SIZES
        self.judge = mlp(size + 3 * latent + given, width, 2 * latent)
        self.tell = mlp(3 * latent + given, width, size)
        self.keep = nn.GRUCell(size, size)
        last = self.judge[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.cat([torch.full((latent,), BELIEVING), torch.zeros(latent)]))

    def now(
        self,
        memory: Float[Tensor, "row memory"],
        expected: Float[Tensor, "row channel"],
        seen: Float[Tensor, "row channel"],
        given: Float[Tensor, "row given"],
    ) -> tuple[Float[Tensor, "row channel"], Float[Tensor, "row memory"]]:
        """What is believed now, and what is kept. `given`: poses of both, normalised; the arm, normalised; `times_of`."""
        apart = seen - expected
        given = torch.cat([given, *(_size(values) for values in (apart, seen, expected))], -1)
        gate, correction = self.judge(torch.cat([memory, expected, seen, apart, given], -1)).float().chunk(2, -1)
        latent = expected + gate.sigmoid() * apart + correction
        told = self.tell(torch.cat([latent, apart, latent - expected, given], -1))
        return latent, self.keep(nn.functional.silu(told), memory).float()


def _size(values: Float[Tensor, "row channel"]) -> Float[Tensor, "row 1"]:
    """The logarithm of the root mean square."""
    return 0.5 * torch.log(values.float().square().mean(-1, keepdim=True) + 1e-4)


def num_times(num_cameras: int) -> int:
    """How many numbers `times_of` gives."""
    return 1 + 2 * num_cameras


def times_of(since: Float[Tensor, " row"], late: Float[Tensor, "row view"]) -> Float[Tensor, "row number"]:
    """Control steps `since` the last belief, and by which each picture is `late` (NaN where none came), as numbers about 1."""
    is_missing = late.isnan()
    return torch.cat([since[:, None] / _LONG, torch.where(is_missing, 0.0, late / MAX_LATE), is_missing.to(late)], -1)
