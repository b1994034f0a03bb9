"""Places in a view that attention picks out, and what is there: what is learned at one place holds at others."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.models.config import ModelConfig

NUM_FEATURES = 24  # that are read at each place


class PointEncoder(nn.Module):
    """One view: space-to-depth to a square of `ModelConfig.places`, 3x3 convolutions, then spatial softmax.

    Spatial softmax (Levine et al. 2016, arXiv 1504.00702): expected places of `ModelConfig.points` heat maps, and features averaged under
    each. How a thing is turned is read off its own few pixels, wherever they are. A view that is flattened instead learns that place by
    place; and so is, within a square of space-to-depth, each of its pixels: a small thing looks different in each of the 64 ways in which
    it can lie in squares of 8 px (16 places along a view of 128 px), and there are 16 in squares of 4 px.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        w, factor = config.widths, config.image_size // config.places
        width = w.stem if config.places == 16 else w.fine
        self.unshuffle = nn.PixelUnshuffle(factor)
        self.stem = nn.Conv2d(3 * factor * factor, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(1 + w.body_layers))
        self.heat = nn.Conv2d(width, config.points, 1)
        self.features = nn.Conv2d(width, NUM_FEATURES, 1)
        self.out = nn.Linear(config.points * (2 + NUM_FEATURES), w.view)
        line = torch.linspace(-1.0, 1.0, config.places)
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
