"""The residual MLP that dynamics, policy and heads are made of."""

from jaxtyping import Float
from torch import Tensor, nn


class ResidualMlp(nn.Module):
    """A linear layer and then residual layers x + silu(W norm(x)), normalised at the end."""

    def __init__(self, num_in: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.first = nn.Linear(num_in, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_layers))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))
        self.last = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch width"]:
        return self.residual(self.first(x))

    def residual(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What follows the first layer; for callers that split its sum."""
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + nn.functional.silu(layer(norm(x)))
        return self.last(x)


def mlp(num_in: int, width: int, num_out: int, num_hidden: int = 2) -> nn.Sequential:
    """A plain MLP with SiLU between its layers."""
    layers: list[nn.Module] = [nn.Linear(num_in, width), nn.SiLU()]
    for _ in range(num_hidden - 1):
        layers += [nn.Linear(width, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, num_out))
