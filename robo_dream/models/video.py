"""How the video goes on: latents of the next seconds from the present one and a goal, by flow matching; no action is asked or given."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from robo_dream.models.config import ModelSpec
from robo_dream.models.layers import mlp
from robo_dream.overlay import commands_in

LAST_TIME = 0.95  # of the flow, beyond which errors of the path are not blown up any further
_TIMES = 16  # waves that tell the time of the flow


@dataclass(frozen=True)
class VideoPrompt:
    """From where a video goes on, and whereto; a row that is not `led` has no goal."""

    latents: Float[Tensor, "row channel"]
    goals: Float[Tensor, "row channel"]
    led: Bool[Tensor, " row"]


class VideoFlow(nn.Module):
    """A transformer over the looks of a video, all at once: each of them an action block after the one before.

    Flow matching (Lipman et al. 2023, arXiv 2210.02747) from noise to how far the latent will have moved at each look, in units of how
    far it usually does (`scale`). The network tells the path itself, not the velocity: what is left of noise lies in all channels and
    paths in few of them, so that a narrow network can tell these (Li and He 2025, arXiv 2511.13720). Without a goal it tells how videos go
    on at all; with `guidance` above 1 what the goal changes counts more (Ho and Salimans 2022, arXiv 2207.12598).

    Where pictures have a strip of commands below (`robo_dream.overlay`), a look is a latent and then the pixels of the strip, as they are,
    told as how far they are from the mean strip along principal directions of their own. The strip of the present look is not shown.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        assert spec.video is not None
        self.size, latent = spec.video, spec.config.latent
        width, told = self.size.width, self.size.numbers + self.size.strip
        self.latent, self.steps, self.rows = latent, spec.config.action_block, (spec.action_spec.size, spec.config.image_size, 3)
        self.here, self.there = nn.Linear(latent, width), nn.Linear(latent, width)
        self.noisy = nn.Linear(told, width)
        self.time = mlp(2 * _TIMES, width, width, 1)
        self.nowhere = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(0.02 * torch.randn(self.size.steps + 2, width))
        self.blocks = nn.ModuleList(_Block(width, self.size.heads) for _ in range(self.size.layers))
        self.last = nn.LayerNorm(width)
        self.out = nn.Linear(width, told)
        self.ways: Tensor
        self.register_buffer("ways", torch.eye(latent)[:, : self.size.numbers].contiguous())
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(self.size.steps, told))
        if self.size.strip:
            self.strip_ways: Tensor
            self.register_buffer("strip_ways", torch.eye(math.prod(self.rows))[:, : self.size.strip].contiguous())
            self.strip_mean: Tensor
            self.register_buffer("strip_mean", torch.zeros(math.prod(self.rows)))
        self.usual: Tensor  # how far a video usually is from what its own actions are imagined to lead to; see `VideoPrior.apart`
        self.register_buffer("usual", torch.full((self.size.steps,), torch.inf))

    def forward(
        self, noisy: Float[Tensor, "row look number"], time: Float[Tensor, " row"], prompt: VideoPrompt
    ) -> Float[Tensor, "row look number"]:
        """The path, in units of `scale`, that `noisy` is believed to come from; `time` is 0 where that is noise alone and 1 at its end."""
        goals = torch.where(prompt.led[:, None], self.there(prompt.goals), self.nowhere)
        waves = time[:, None] * (math.pi * 2.0 ** torch.linspace(0, 6, _TIMES, device=time.device, dtype=time.dtype))
        tokens = torch.cat([self.here(prompt.latents)[:, None], goals[:, None], self.noisy(noisy)], 1) + self.positions
        tokens = tokens + self.time(torch.cat([waves.sin(), waves.cos()], -1))[:, None]
        for block in self.blocks:
            tokens = block(tokens)
        return self.out(self.last(tokens[:, 2:])).float()

    def path(
        self, noise: Float[Tensor, "row look number"], prompt: VideoPrompt, num_steps: int, guidance: float
    ) -> Float[Tensor, "row look seen"]:
        """The looks of a video, the flow followed from `noise` in `num_steps` steps (Euler)."""
        moved, nowhere = noise, VideoPrompt(prompt.latents, prompt.goals, torch.zeros_like(prompt.led))
        for step in range(num_steps):
            time = moved.new_full((len(moved),), step / num_steps)
            told = self(moved, time, prompt)
            if guidance != 1.0:
                alone = self(moved, time, nowhere)
                told = alone + guidance * (told - alone)
            moved = moved + (told - moved) / (num_steps - step)
        moved = moved * self.scale
        latents = prompt.latents[:, None] + moved[..., : self.size.numbers] @ self.ways.T
        if not self.size.strip:
            return latents
        return torch.cat([latents, self.strip_mean + moved[..., self.size.numbers :] @ self.strip_ways.T], -1)

    def moved(self, looks: Float[Tensor, "row look seen"], here: Float[Tensor, "row channel"]) -> Float[Tensor, "row look number"]:
        """How far looks are from `here`, along `ways`; and strips from the mean one."""
        moved = (looks[..., : self.latent] - here[:, None]) @ self.ways
        if not self.size.strip:
            return moved
        return torch.cat([moved, (looks[..., self.latent :] - self.strip_mean) @ self.strip_ways], -1)

    def strips(self, looks: Float[Tensor, "row look seen"]) -> UInt8[Tensor, "row look number width 3"]:
        """The pixels of strips, drawn: a row for each number of a command."""
        return looks[..., self.latent :].clamp(0.0, 1.0).mul(255.0).round_().to(torch.uint8).unflatten(-1, self.rows)

    def commands(self, looks: Float[Tensor, "row look seen"]) -> Float[Tensor, "row look block"]:
        """Normalised action blocks, read off the strips that are drawn."""
        return commands_in(self.strips(looks), self.steps).flatten(-2)

    def loss(
        self,
        looks: Float[Tensor, "row look seen"],
        prompt: VideoPrompt,
        noise: Float[Tensor, "row look number"],
        time: Float[Tensor, " row"],
    ) -> Float[Tensor, ""]:
        """Mean square error of the velocity at `time` of the flow to the `looks` that came."""
        moved = self.moved(looks, prompt.latents) / self.scale
        at = time[:, None, None]
        told = self((1 - at) * noise + at * moved, time, prompt)
        return ((told - moved) / (1 - at).clamp(min=1 - LAST_TIME)).square().mean()


class _Block(nn.Module):
    """Attention among all tokens of a row, and an MLP on each."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked, self.answered = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.body = mlp(width, 4 * width, width, 1)

    def forward(self, tokens: Float[Tensor, "row token width"]) -> Float[Tensor, "row token width"]:
        parts = self.asked(self.before(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, R, heads, T, C)
        found = nn.functional.scaled_dot_product_attention(*parts)
        tokens = tokens + self.answered(found.transpose(1, 2).flatten(2))
        return tokens + self.body(self.between(tokens))
