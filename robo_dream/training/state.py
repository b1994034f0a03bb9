"""The state of an unfinished training stage on disk: weights, optimiser moments and step, from which it continues exactly."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from robo_dream.errors import CheckpointError


def save_state(path: Path, module: nn.Module, optimisers: Sequence[torch.optim.Optimizer], about: Mapping[str, Any]) -> None:
    """Writes beside and replaces, so a killed training leaves the previous state whole."""
    tensors = {f"module.{name}": _stored(value) for name, value in module.state_dict().items()}
    for number, optimiser in enumerate(optimisers):
        for index, moments in optimiser.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimiser.{number}.{index}.{key}"] = _stored(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp{os.getpid()}")
    save_file(tensors, beside, metadata={"state": json.dumps(dict(about))})
    with open(beside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)


def load_state(path: Path, module: nn.Module, optimisers: Sequence[torch.optim.Optimizer], about: Mapping[str, Any]) -> int | None:
    """Puts a saved state back and gives its step; None when there is none.

    Raises `CheckpointError` when the file is damaged or was written with another configuration or dataset than `about`.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            saved = json.loads((file.metadata() or {}).get("state", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise CheckpointError(f"training state {path} is damaged ({error}); delete it to begin the stage again") from error
    wanted = json.loads(json.dumps(dict(about)))
    odd = sorted(key for key in {*saved, *wanted} - {"step"} if saved.get(key) != wanted.get(key))
    if odd:
        raise CheckpointError(
            f"training state {path} was written with another {', '.join(odd)}; continue with the same, delete it, or train elsewhere"
        )
    module.load_state_dict({name.removeprefix("module."): value for name, value in tensors.items() if name.startswith("module.")})
    for number, optimiser in enumerate(optimisers):
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimiser.{number}."):
                index, key = name.split(".", 3)[2:]
                like = parameters[int(index)]
                # moments must lie in memory as their parameter does: the fused optimiser walks both side by side
                state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(saved["step"])


def _stored(value: torch.Tensor) -> torch.Tensor:
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)
