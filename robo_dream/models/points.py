"""Places in a view that attention picks out, and what is there: coordinates generalise where a flattened picture learns place by place."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

NUM_FEATURES = 24  # that are read at each place


class FeaturePoints(nn.Module):
    """Spatial softmax (Levine et al. 2016, arXiv 1504.00702): expected places of `num_points` heat maps, and features averaged under each.

    How a thing is turned is read off its own few pixels, wherever they are.
    """

    def __init__(self, width: int, side: int, num_points: int, num_out: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.heat = nn.Conv2d(width, num_points, 1)
        self.features = nn.Conv2d(width, NUM_FEATURES, 1)
        self.out = nn.Linear(num_points * (2 + NUM_FEATURES), num_out)
        line = torch.linspace(-1.0, 1.0, side)
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        self.grid: Tensor
        self.register_buffer("grid", torch.stack([columns.flatten(), rows.flatten()], -1), persistent=False)

    def forward(self, x: Float[Tensor, "batch width side side"]) -> Float[Tensor, "batch channel"]:
        x = x + nn.functional.silu(self.mix(x))
        heat = self.heat(x).flatten(2).softmax(-1)  # (B, K, places)
        found = torch.cat([heat @ self.grid, heat @ self.features(x).flatten(2).transpose(1, 2)], -1)
        return self.out(found.flatten(1))
