"""A latent into the pictures of all views: it draws what was imagined and never sits in the planning loop."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.models.config import ModelConfig, ModelSpec


class ViewDecoder(nn.Module):
    """One view: 8 x 8 cells, 3x3 convolutions and pixel shuffles, added to the mean picture of the training data."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        w, factor = config.widths, config.image_size // 16
        self.places = nn.Linear(config.latent, 64 * w.decoder)
        self.up = nn.Conv2d(w.decoder, 4 * w.decoder, 3, padding=1)
        self.shuffle_up = nn.PixelShuffle(2)
        self.body = nn.ModuleList(nn.Conv2d(w.decoder, w.decoder, 3, padding=1) for _ in range(w.decoder_layers))
        self.pixels = nn.Conv2d(w.decoder, 3 * factor * factor, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)
        self.mean_image: Tensor
        self.register_buffer("mean_image", torch.full((3, config.image_size, config.image_size), 0.5))

    def forward(self, latents: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch 3 height width"]:
        silu = nn.functional.silu
        x = silu(self.places(latents)).unflatten(1, (8, 8, -1)).movedim(-1, 1)  # (B, C, 8, 8), channels last in memory
        x = silu(self.shuffle_up(self.up(x))).contiguous(memory_format=torch.channels_last)
        for layer in self.body:
            x = x + silu(layer(x))
        return self.mean_image + self.shuffle(self.pixels(x))


class Decoder(nn.Module):
    """All views, each with its own weights, in the order of the spec's cameras."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.views = nn.ModuleList(ViewDecoder(spec.config) for _ in spec.cameras)

    def forward(self, latents: Float[Tensor, "batch channel"]) -> list[Float[Tensor, "batch 3 height width"]]:
        return [view(latents) for view in self.views]
