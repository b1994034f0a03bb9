"""What is remembered beside the latent of a frame: how much of a new look is believed, and what of the past is kept."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.models.config import ModelSpec
from robo_dream.models.layers import mlp

MAX_LATE = 3  # control steps: a picture that is older counts as one that did not come
NUM_SIZES = 3  # of what is apart, seen and expected: a sum of squares is no work for small layers
BELIEVING = 2.0  # logit of the gate before anything is learned: most of what is seen is believed
_LONG = 10.0  # control steps between two looks, as the unit of time


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
