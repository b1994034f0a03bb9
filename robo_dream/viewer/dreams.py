"""A checkpoint's model at the service of a page: it draws latents and imagines one block of actions at a time."""

import threading
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import DataError
from robo_dream.imagination import Belief
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.viewer.routes import Dream


class ModelDreams:
    """A `Dreamer` on one model, which one caller uses at a time."""

    def __init__(self, model: LatentVideoModel) -> None:
        self._model, self._lock = model, threading.Lock()

    @property
    def action_spec(self) -> ActionSpec:
        return self._model.action_spec

    @property
    def action_block(self) -> int:
        return self._model.action_block

    def draw(self, latents: Float[np.ndarray, "row channel"]) -> Mapping[str, UInt8[np.ndarray, "row height width 3"]]:
        with self._lock:
            views = self._model.decode(torch.from_numpy(np.ascontiguousarray(latents, np.float32)).to(self._model.device))
        return {name: view.cpu().numpy() for name, view in views.items()}

    def paths(self, latents: Float[np.ndarray, "row channel"]) -> Mapping[str, Float[np.ndarray, "row 3"]]:
        """Where the pose head sees the `tool` and every `object`, metres."""
        with self._lock, torch.no_grad():
            poses = self._model.poses(torch.from_numpy(np.ascontiguousarray(latents, np.float32)).to(self._model.device))
        things = poses.object_pos.cpu().numpy()
        return {"tool": poses.tool_pos.cpu().numpy(), **{f"object_{i + 1}": things[:, i] for i in range(things.shape[1])}}

    def imagine(self, dream: Dream, actions: Float[np.ndarray, "time action"]) -> Dream:
        """Raises `DataError` for what was remembered of another model."""
        device, size = self._model.device, self._model.spec.config.memory
        if dream.memory is not None and dream.memory.shape != (size,):
            raise DataError(f"memory has shape {dream.memory.shape}; expected ({size},) as this model remembers, or none")
        memory = None if dream.memory is None else torch.from_numpy(dream.memory)[None].to(device)
        belief = Belief(torch.from_numpy(dream.latent)[None].to(device), torch.tensor([dream.disagreement], device=device), memory)
        with self._lock, torch.no_grad():
            imagined = self._model.imagine(belief, torch.from_numpy(actions)[None, None].to(device))
        return Dream(imagined.latents[0, 0, -1].cpu().numpy(), float(imagined.disagreement[0, 0, -1]), dream.memory)
