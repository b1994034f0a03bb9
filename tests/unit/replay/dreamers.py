"""A made-up model for the page: what it draws and imagines is known."""

from concurrent.futures import Future
from pathlib import Path

import numpy as np
from recorded_runs import BLOCK, CAMERAS, SIDE

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import CheckpointError
from robo_dream.viewer.questions import Asker
from robo_dream.viewer.routes import Dream, Dreamer, Routes
from robo_dream.viewer.watch import RunWatch

LIMIT = np.full(5, 0.1, np.float32)
SPEC = ActionSpec("tool_move", ("x", "y", "z", "yaw", "gripper"), ("m", "m", "m", "rad", ""), -LIMIT, LIMIT, 0.1)


class Plain:
    """Draws the first channel as brightness; a block of actions adds its sum of x to every channel, and 1 to disagreement."""

    action_spec, action_block = SPEC, BLOCK

    def __init__(self) -> None:
        self.num_drawn = 0

    def draw(self, latents: np.ndarray) -> dict[str, np.ndarray]:
        self.num_drawn += len(latents)
        shades = np.clip(128 + 40 * latents[:, 0], 0, 255).astype(np.uint8)
        return {name: np.broadcast_to(shades[:, None, None, None], (len(latents), SIDE, SIDE, 3)).copy() for name in CAMERAS}

    def imagine(self, dream: Dream, actions: np.ndarray) -> Dream:
        return Dream((dream.latent + actions[:, 0].sum()).astype(np.float32), dream.disagreement + 1)


def ready(dreamer: Dreamer | None = None) -> "Future[Dreamer]":
    future: Future[Dreamer] = Future()
    future.set_result(dreamer or Plain())
    return future


def missing() -> "Future[Dreamer]":
    future: Future[Dreamer] = Future()
    future.set_exception(CheckpointError("no checkpoint here"))
    return future


def routes_of(root: Path, dreamer: "Future[Dreamer] | None" = None, asker: "Future[Asker] | None" = None) -> Routes:
    return Routes(RunWatch(root), dreamer or ready(), asker=asker)
