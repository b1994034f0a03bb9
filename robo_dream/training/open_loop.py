"""How well the model imagines held-out futures: pixels and latents against horizon, disagreement against error, strips to look at."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from robo_dream.imagination import Belief
from robo_dream.models.policy_prior import bridge_points
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.frames import Frames, Split, blocks_after, frame_index, pictures
from robo_dream.training.latents import encode_frames
from robo_dream.training.probes import spearman


@dataclass(frozen=True)
class OpenLoop:
    """Errors of held-out windows, imagined from their first frame; step h is h action blocks later. Pixels in [0, 1]."""

    windows: np.ndarray  # first frames
    imagined_mse: Float[np.ndarray, "window horizon"]
    copy_mse: Float[np.ndarray, "window horizon"]  # the first frame, copied
    floor_mse: Float[np.ndarray, "window horizon"]  # the decoder on the true frame's latent
    latent_error: Float[np.ndarray, "window horizon"]  # root mean square over channels
    copy_latent_error: Float[np.ndarray, "window horizon"]
    disagreement: Float[np.ndarray, "window horizon"]

    @property
    def ratio(self) -> Float[np.ndarray, " horizon"]:
        """How many times smaller the imagined error is than that of copying the first frame."""
        return self.copy_mse.mean(0) / self.imagined_mse.mean(0)

    @property
    def spearman(self) -> float:
        """Of disagreement with latent error, all horizons pooled."""
        return spearman(self.disagreement.ravel(), self.latent_error.ravel())

    @property
    def spearman_by_step(self) -> list[float]:
        return [spearman(self.disagreement[:, h], self.latent_error[:, h]) for h in range(self.disagreement.shape[1])]


def held_out_windows(cache: Frames, action_block: int, num_windows: int, horizon: int, seed: int, split: Split = "test") -> np.ndarray:
    """First frames of up to `num_windows` windows, as the seed chooses."""
    starts = frame_index(cache, horizon * action_block + 1, split).starts
    return np.sort(np.random.default_rng((seed, 5)).permutation(starts)[:num_windows])


@torch.no_grad()
def open_loop(model: LatentVideoModel, cache: Frames, windows: np.ndarray, horizon: int = 10, rows: int = 50) -> OpenLoop:
    """Imagines `horizon` steps from the first frame of every window with the actions that were really taken."""
    parts = [_part(model, cache, some, horizon) for some in np.array_split(windows, -(-len(windows) // rows))]
    return OpenLoop(windows, *(np.concatenate(column) for column in zip(*parts, strict=True)))


@torch.no_grad()
def strips(model: LatentVideoModel, cache: Frames, window: int, horizon: int = 10) -> dict[str, UInt8[np.ndarray, "two_heights widths 3"]]:
    """For each camera a picture: above what happened after every action block, below what was imagined (first column: the start)."""
    frames = window + model.action_block * np.arange(horizon + 1)
    start = encode_frames(model, cache, frames[:1])
    actions = torch.from_numpy(blocks_after(cache.actions, frames[:1], horizon, model.action_block)).to(model.device).flatten(1, 2)
    imagined = model.imagine(Belief(start), actions[:, None]).latents[0, 0]
    return _real_above(model, cache, frames, torch.cat([start, imagined]))


@torch.no_grad()
def bridge_strips(
    model: LatentVideoModel, cache: Frames, window: int, horizon: int = 6
) -> dict[str, UInt8[np.ndarray, "two_heights widths 3"]]:
    """For each camera a picture: above what happened after every action block, below the bridge from the first frame to the last."""
    frames = window + model.action_block * np.arange(horizon + 1)
    start, goal = encode_frames(model, cache, frames[[0, -1]]).split(1)
    return _real_above(model, cache, frames, bridge_points(start, goal, horizon)[0])


def _real_above(
    model: LatentVideoModel, cache: Frames, frames: np.ndarray, latents: Float[Tensor, "frame channel"]
) -> dict[str, UInt8[np.ndarray, "two_heights widths 3"]]:
    drawn = model.decode(latents)
    return {
        name: np.concatenate([np.concatenate(list(row), 1) for row in (pictures(cache.images[name], frames), drawn[name].cpu().numpy())], 0)
        for name in model.cameras
    }


def _part(model: LatentVideoModel, cache: Frames, windows: np.ndarray, horizon: int) -> tuple[np.ndarray, ...]:
    block = model.action_block
    frames = windows[:, None] + block * np.arange(horizon + 1)
    true = encode_frames(model, cache, frames.ravel()).unflatten(0, frames.shape)
    actions = torch.from_numpy(blocks_after(cache.actions, windows, horizon, block)).to(model.device).flatten(1, 2)
    imagination = model.imagine(Belief(true[:, 0]), actions[:, None])
    imagined = imagination.latents[:, 0]
    pixel_errors: list[list[np.ndarray]] = [[], [], []]
    drawn, redrawn = model.decode(imagined), model.decode(true[:, 1:])
    for name in model.cameras:
        real = pictures(cache.images[name], frames)
        for errors, guess in zip(pixel_errors, (drawn[name].cpu().numpy(), real[:, :1], redrawn[name].cpu().numpy()), strict=True):
            errors.append(np.square((guess.astype(np.float32) - real[:, 1:]) / 255.0).mean((2, 3, 4)))
    latent_errors = [(guess - true[:, 1:]).square().mean(-1).sqrt().cpu().numpy() for guess in (imagined, true[:, :1])]
    return (*(np.mean(errors, 0) for errors in pixel_errors), *latent_errors, imagination.disagreement[:, 0].cpu().numpy())
