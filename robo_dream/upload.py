"""Numbers on their way to the device that computes with them."""

import numpy as np
import torch
from torch import Tensor


def uploaded(values: np.ndarray | Tensor, device: torch.device | str) -> Tensor:
    """`values` on `device`, without waiting for what it has still to do.

    To a GPU they go through page-locked memory: from any other the driver may stand still until the queue is empty.
    """
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
