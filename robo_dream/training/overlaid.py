"""Frames with a strip of commands below the pictures of the first camera: pictures as a model takes them, and strips as pixels."""

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from robo_dream.errors import DataError
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.overlay import parted, strip_height
from robo_dream.training.frames import Frames, pictures

Strips = UInt8[np.ndarray, "frame pixel"]
_ROWS = 1000  # pictures read at once


@dataclass(frozen=True)
class Upper:
    """The upper part of each picture of `images`, read as one of `Frames.images` is."""

    images: Any
    height: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.images.shape[0], self.height, *self.images.shape[2:])

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        return self.images[key] if isinstance(key, tuple) else self.images[key][..., : self.height, :, :]


def strips_apart(cache: Frames, model: LatentVideoModel) -> tuple[Frames, Strips]:
    """The frames as the model takes them, and the strips of commands that were below them.

    Raises `DataError` for pictures of another height than with a strip.
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
    return replace(cast(Any, cache), images={**cache.images, name: Upper(images, side)}), strips  # caches are dataclasses
