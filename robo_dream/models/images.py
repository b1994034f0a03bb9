"""Pictures into tensors and back; nothing else in the package converts."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_float(images: UInt8[Tensor, "*batch height width 3"]) -> Float[Tensor, "*batch 3 height width"]:
    """Float32 in [0, 1], channels before height, still laid out channels-last in memory."""
    return images.movedim(-1, -3).to(torch.float32).div_(255.0)


def to_uint8(images: Float[Tensor, "*batch 3 height width"]) -> UInt8[Tensor, "*batch height width 3"]:
    """RGB bytes, rounded; values outside [0, 1] are clipped."""
    return images.float().clamp(0.0, 1.0).mul(255.0).round_().to(torch.uint8).movedim(-3, -1).contiguous()
