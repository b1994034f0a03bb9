"""The action limits as tensors, and what holding still is; every candidate passes through `Bounds.clip`."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.embodiment import ActionSpec


@dataclass(frozen=True)
class Bounds:
    """Limits of one action, in its own units, on the device and in the dtype of the search."""

    low: Float[Tensor, " action"]
    high: Float[Tensor, " action"]

    @property
    def half_range(self) -> Float[Tensor, " action"]:
        return (self.high - self.low) / 2

    @property
    def hold(self) -> Float[Tensor, " action"]:
        """The action nearest to zero: for `tool_move` it holds still. For `joint_target` it is only a legal placeholder."""
        return self.clip(torch.zeros_like(self.low))

    def clip(self, actions: Float[Tensor, "*batch action"]) -> Float[Tensor, "*batch action"]:
        """`actions` within the limits; NaN stays NaN, so that it is counted and not hidden."""
        return torch.clamp(actions, self.low, self.high)

    def held(self, num_problems: int, num_samples: int, num_steps: int) -> Float[Tensor, "batch sample time action"]:
        return self.hold.expand(num_problems, num_samples, num_steps, -1).clone()


def bounds_of(spec: ActionSpec, latent: Float[Tensor, "batch channel"]) -> Bounds:
    """Limits of `spec` on the device of `latent`, in float32 (float64 when `latent` is)."""
    dtype = torch.promote_types(latent.dtype, torch.float32)
    return Bounds(
        torch.as_tensor(spec.low).to(device=latent.device, dtype=dtype),
        torch.as_tensor(spec.high).to(device=latent.device, dtype=dtype),
    )
