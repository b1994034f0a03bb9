"""Frames with a strip of commands below the pictures of the first camera: pictures as a model takes them, and strips as pixels."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from robo_dream.data.cache import HeldPictures
from robo_dream.data.streamed import StreamedPictures
from robo_dream.errors import DataError
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.overlay import parted, strip_height
from robo_dream.training.frames import Frames, pictures

Strips = UInt8[np.ndarray, "frame pixel"]
_ROWS = 1000  # pictures read at once


def strips_apart(cache: Frames, model: LatentVideoModel) -> tuple[Frames, Strips]:
    """The frames as the model takes them, and the strips of commands that were below them.

    Raises `DataError` for pictures of another height than with a strip, and for those that are decoded when they are looked at.
    """
    name, side, size = model.cameras[0], model.spec.config.image_size, model.action_spec.size
    images = cache.images[name] if name in cache.cameras else None
    taller = (side + strip_height(size), side, 3)
    if images is None or tuple(images.shape[1:]) != taller:
        raise DataError(
            f"training.video.strip asks for a strip of commands, and pictures of camera {name!r} of {cache.dataset_id[:16]} are "
            f"{None if images is None else tuple(images.shape[1:])}; with a strip they are {taller}: collect with overlay={{}}, or set "
            "training.video.strip to 0"
        )
    some = np.array_split(np.arange(int(cache.episode_starts[-1])), 1 + int(cache.episode_starts[-1]) // _ROWS)
    strips = np.concatenate([parted(pictures(images, frames), size)[1].reshape(len(frames), -1) for frames in some])
    return replace(cast(Any, cache), images={**cache.images, name: _upper(images, side)}), strips  # caches are dataclasses


def _upper(images: Any, height: int) -> Any:
    """The upper part of each picture of one of `Frames.images`; nothing is copied."""
    if isinstance(images, StreamedPictures):
        raise DataError("strips of commands are read off decoded pictures that are all kept; leave out cache_gib, or name fewer datasets")
    if isinstance(images, HeldPictures):
        return replace(images, kept=images.kept[:, :height])
    return images[:, :height]
