"""Statistics of pictures and latents over a whole cache."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from robo_dream.models.encoder import to_float
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.frames import Frames, frame_index, pictures, splits_of
from robo_dream.training.processes import ALONE, Processes
from robo_dream.training.stage import OnProgress
from robo_dream.upload import uploaded

MAX_PICTURES = 2000  # for the mean picture
MAX_SCALE_FRAMES = 8000  # for the latents' mean and variance
ENCODE_ROWS = 256


def mean_images(cache: Frames) -> tuple[list[Float[np.ndarray, "3 height width"]], list[float]]:
    """For each camera the mean training picture in [0, 1] and the variance of the pictures around it."""
    frames = frame_index(cache, 1).frames
    chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), MAX_PICTURES)).astype(np.int64)]
    means, variances = [], []
    for name in cache.cameras:
        pixels = pictures(cache.images[name], chosen).astype(np.float32) / 255.0
        mean = pixels.mean(0)
        means.append(np.ascontiguousarray(mean.transpose(2, 0, 1)))
        variances.append(max(float(np.square(pixels - mean).mean()), 1e-6))
    return means, variances


@torch.no_grad()
def measure_scale(model: LatentVideoModel, cache: Frames, seed: int) -> None:
    """Stores in the encoder the mean and variance of its latents over training frames."""
    frames = frame_index(cache, 1).frames
    frames = np.sort(np.random.default_rng((seed, 3)).permutation(frames)[:MAX_SCALE_FRAMES])
    chunks = np.array_split(frames, -(-len(frames) // ENCODE_ROWS))
    raw = torch.cat([model.encoder.raw(*_inputs(model, cache, some)).double() for some in chunks])
    model.encoder.set_scale(raw.mean(0).float(), raw.var(0, correction=0).float())


@torch.no_grad()
def encode_frames(
    model: LatentVideoModel,
    cache: Frames,
    frames: np.ndarray | None = None,
    progress: OnProgress | None = None,
    processes: Processes = ALONE,
) -> Float[Tensor, "frame channel"]:
    """Latents of the given frames (default: all of the cache, NaN where there is no new picture), on the model's device.

    Each of `processes` encodes a part of them, and tells the others.
    """
    if frames is None and cache.picture_every > 1:
        num_frames = int(cache.episode_starts[-1])
        fresh = np.sort(np.concatenate([frame_index(cache, 1, split).frames for split in splits_of(cache)]))
        latents = torch.full((num_frames, model.spec.config.latent), torch.nan, device=model.device)
        latents[uploaded(fresh, model.device)] = encode_frames(model, cache, fresh, progress, processes)
        return latents
    frames = np.arange(int(cache.episode_starts[-1])) if frames is None else frames
    parts, done = [], 0
    for number, some in enumerate(np.array_split(frames, max(1, -(-len(frames) // ENCODE_ROWS)))):
        is_mine = number % processes.count == processes.rank
        latents = model.encoder.evaluated(*_inputs(model, cache, some)) if is_mine else None
        parts.append(torch.zeros(len(some), model.spec.config.latent, device=model.device) if latents is None else latents)
        done += len(some)
        if progress is not None:
            progress(done, len(frames))
    return processes.total(torch.cat(parts))


@torch.no_grad()
def encode_video(
    model: LatentVideoModel, images: Mapping[str, Any], frames: Int[np.ndarray, " frame"], progress: OnProgress | None = None
) -> Float[Tensor, "frame channel"]:
    """Latents of the given frames of each camera's pictures, and of nothing else: where the arm is, a video does not say."""
    parts, done = [], 0
    for some in np.array_split(frames, max(1, -(-len(frames) // ENCODE_ROWS))):
        views = [to_float(torch.from_numpy(pictures(images[name], some)).to(model.device)) for name in model.cameras]
        parts.append(model.encoder.evaluated(views, torch.full((len(some), len(model.spec.proprio.mean)), torch.nan, device=model.device)))
        done += len(some)
        if progress is not None:
            progress(done, len(frames))
    return torch.cat(parts)


def _inputs(model: LatentVideoModel, cache: Frames, frames: np.ndarray) -> tuple[list[Tensor], Tensor]:
    views = [to_float(uploaded(pictures(cache.images[name], frames), model.device)) for name in model.cameras]
    return views, uploaded(np.asarray(cache.proprio[frames], np.float32), model.device)
