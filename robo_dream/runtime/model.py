"""The model of a checkpoint, ready to imagine on a device of this machine."""

from pathlib import Path

import torch

from robo_dream.errors import ConfigError
from robo_dream.models import checkpoint
from robo_dream.models.compiled import precision_here, row_runner
from robo_dream.models.config import PrecisionChoice
from robo_dream.models.world_model import LatentVideoModel


def load_checkpoint_model(
    path: Path | str, device: str | torch.device = "cpu", compiled: bool = False, precision: PrecisionChoice = "float32"
) -> LatentVideoModel:
    """The model in a checkpoint, ready to use; raises `CheckpointError`, or `ConfigError` for a device or a compiler that is not here.

    `compiled` imagines with code made for this machine: about a minute at the first decision ever, some seconds at later starts. A
    `precision` of bfloat16 halves the time of matrix products where the processor has them, and rounds what is imagined; auto takes it
    where it is seen to be faster.
    """
    found = device_named(device)
    return checkpoint.load(path, found).running(row_runner(compiled, precision_here(precision, found)))


def device_named(device: str | torch.device, key: str = "device") -> torch.device:
    """`device`, which this machine has; raises `ConfigError` for one that is none or not here. `key` is what a file calls it."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"{key} is {device!r}; allowed are cpu, cuda and cuda:N") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"{key} is {device}, but this PyTorch sees no CUDA device; set {key}=cpu, or see `robo-dream doctor`")
    return found
