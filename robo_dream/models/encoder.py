"""Pictures into latents, and latents into pictures; no other file converts.

The decoder draws what was imagined and never sits in the planning loop.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from robo_dream.models.config import ModelConfig, ModelSpec


def to_float(images: UInt8[Tensor, "*batch height width 3"]) -> Float[Tensor, "*batch 3 height width"]:
    """Float32 in [0, 1], channels before height, still laid out channels-last in memory."""
    return images.movedim(-1, -3).to(torch.float32).div_(255.0)


def to_uint8(images: Float[Tensor, "*batch 3 height width"]) -> UInt8[Tensor, "*batch height width 3"]:
    """RGB bytes, rounded; values outside [0, 1] are clipped."""
    return images.float().clamp(0.0, 1.0).mul(255.0).round_().to(torch.uint8).movedim(-3, -1).contiguous()


NUM_FEATURES = 24  # that are read at each place


class KeypointEncoder(nn.Module):
    """One view: space-to-depth to a square of `ModelConfig.feature_grid`, 3x3 convolutions, then spatial softmax.

    Spatial softmax (Levine et al. 2016, arXiv 1504.00702): positions of `ModelConfig.num_keypoints` heat maps, and features averaged
    under each. How a thing is turned is read off its own few pixels, wherever they are. A view that is flattened instead
    learns that place by place; and so is, within a square of space-to-depth, each of its pixels: a small thing looks different in each
    of the 64 ways in which
    it can lie in squares of 8 px (16 cells along a view of 128 px), and there are 16 in squares of 4 px.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        w, factor = config.widths, config.image_size // config.feature_grid
        width = w.stem if config.feature_grid == 16 else w.fine
        self.unshuffle = nn.PixelUnshuffle(factor)
        self.stem = nn.Conv2d(3 * factor * factor, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(1 + w.body_layers))
        self.heat = nn.Conv2d(width, config.num_keypoints, 1)
        self.features = nn.Conv2d(width, NUM_FEATURES, 1)
        self.out = nn.Linear(config.num_keypoints * (2 + NUM_FEATURES), w.view)
        line = torch.linspace(-1.0, 1.0, config.feature_grid)
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        self.grid: Tensor
        self.register_buffer("grid", torch.stack([columns.flatten(), rows.flatten()], -1), persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel"]:
        x = self.unshuffle(2.0 * images - 1.0).contiguous(memory_format=torch.channels_last)
        x = nn.functional.silu(self.stem(x))
        for layer in self.body:
            x = x + nn.functional.silu(layer(x))
        return self.out(self.found(x).flatten(1))

    def found(self, x: Float[Tensor, "batch width side side"]) -> Float[Tensor, "batch point number"]:
        """Of each point where it is (x, y from -1 to 1) and its features."""
        heat = self.heat(x).flatten(2).softmax(-1)
        return torch.cat([heat @ self.grid, heat @ self.features(x).flatten(2).transpose(1, 2)], -1)


PROPRIO_WIDTH = 64
SIDE = 16  # squares along the side of a view that is flattened


class ViewEncoder(nn.Module):
    """One view: space-to-depth to 16 x 16, 3x3 convolutions, 8 x 8 cells flattened (never pooled: where things are is what counts)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        w, factor = config.widths, config.image_size // SIDE
        self.unshuffle = nn.PixelUnshuffle(factor)
        self.stem = nn.Conv2d(3 * factor * factor, w.stem, 3, padding=1)
        self.down = nn.Conv2d(w.stem, w.body, 3, stride=2, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(w.body, w.body, 3, padding=1) for _ in range(w.body_layers))
        self.narrow = nn.Conv2d(w.body, w.body // 3, 1)
        self.out = nn.Linear(w.body // 3 * 64, w.view)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel"]:
        silu = nn.functional.silu
        x = self.unshuffle(2.0 * images - 1.0).contiguous(memory_format=torch.channels_last)
        x = silu(self.down(silu(self.stem(x))))
        for layer in self.body:
            x = x + silu(layer(x))
        return self.out(self.narrow(x).flatten(1))


class Encoder(nn.Module):
    """All views, each with its own weights, in the order of the spec's cameras, and proprioception.

    The last layer is a batch normalisation without parameters: batch statistics while the representation is learned,
    stored statistics of the data afterwards, so that later stages see latents of unit scale and collapse is impossible.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        w = spec.config.widths
        kind = KeypointEncoder if spec.config.num_keypoints else ViewEncoder
        self.views = nn.ModuleList(kind(spec.config) for _ in spec.cameras)
        self.proprio = nn.Linear(len(spec.proprio.mean), PROPRIO_WIDTH)
        self.norm = nn.LayerNorm(w.view * len(spec.cameras) + PROPRIO_WIDTH)
        self.hidden = nn.Linear(w.view * len(spec.cameras) + PROPRIO_WIDTH, w.fuse)
        self.out = nn.Linear(w.fuse, spec.config.latent)
        self.scale = nn.BatchNorm1d(spec.config.latent, eps=1e-4, momentum=0.02, affine=False)
        self.proprio_mean: Tensor
        self.proprio_std: Tensor
        self.register_buffer("proprio_mean", torch.tensor(spec.proprio.mean), persistent=False)
        self.register_buffer("proprio_std", torch.tensor(spec.proprio.std), persistent=False)

    def raw(
        self, views: Sequence[Float[Tensor, "batch 3 height width"]], proprio: Float[Tensor, "batch proprio"]
    ) -> Float[Tensor, "batch channel"]:
        """The latent before normalisation. Rows of `proprio` that are NaN are not known: the pictures alone."""
        return self.join(self.look(views), proprio)

    def look(self, views: Sequence[Float[Tensor, "batch 3 height width"]]) -> Float[Tensor, "batch feature"]:
        """What the views contribute."""
        return torch.cat([view(images) for view, images in zip(self.views, views, strict=True)], -1)

    def join(self, seen: Float[Tensor, "batch feature"], proprio: Float[Tensor, "batch proprio"]) -> Float[Tensor, "batch channel"]:
        """What the views contribute, and proprioception."""
        silu = nn.functional.silu
        normal = ((proprio - self.proprio_mean) / self.proprio_std).clamp(-5.0, 5.0)
        normal = torch.where(proprio.isnan(), 0.0, normal)
        joined = self.norm(torch.cat([seen, silu(self.proprio(normal))], -1))
        return self.out(silu(self.hidden(joined)))

    def forward(
        self, views: Sequence[Float[Tensor, "batch 3 height width"]], proprio: Float[Tensor, "batch proprio"]
    ) -> Float[Tensor, "batch channel"]:
        return self.scale(self.raw(views, proprio).float())

    def evaluated(
        self, views: Sequence[Float[Tensor, "batch 3 height width"]], proprio: Float[Tensor, "batch proprio"]
    ) -> Float[Tensor, "batch channel"]:
        """The latent by the statistics that are stored, in training too: what else is in the batch changes nothing, nor do they."""
        return self.scaled(self.raw(views, proprio).float())

    def scaled(self, raw: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """What `raw` gives, normalised by the statistics that are stored."""
        return nn.functional.batch_norm(raw, self.scale.running_mean, self.scale.running_var, eps=self.scale.eps)

    @torch.no_grad()
    def set_scale(self, mean: Float[Tensor, " channel"], variance: Float[Tensor, " channel"]) -> None:
        """Stores the statistics with which latents are normalised from now on."""
        assert self.scale.running_mean is not None and self.scale.running_var is not None
        self.scale.running_mean.copy_(mean)
        self.scale.running_var.copy_(variance)


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
