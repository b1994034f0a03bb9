"""Many small pictures as one: a column for each moment, a row for each camera, in a format that browsers show."""

import io
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from robo_dream.replay.canvas import blank

PictureFormat = Literal["JPEG", "WEBP"]
_QUALITY = {"JPEG": {"quality": 90}, "WEBP": {"quality": 72, "method": 1}}  # quick to make; small to keep


def sprite(
    views: Mapping[str, UInt8[np.ndarray, "moment height width 3"]], cameras: Sequence[str], columns: int
) -> UInt8[np.ndarray, "tall wide 3"]:
    """`columns` moments of `cameras`; a moment or a camera that is missing is left dark."""
    height, width = next(iter(views.values())).shape[1:3] if views else (64, 64)
    canvas = blank(height * max(1, len(cameras)), width * columns)
    for row, name in enumerate(cameras):
        for column, image in enumerate(views.get(name, ())[:columns]):
            tall, wide = min(height, image.shape[0]), min(width, image.shape[1])
            canvas[row * height : row * height + tall, column * width : column * width + wide] = image[:tall, :wide]
    return canvas


def encoded(image: UInt8[np.ndarray, "height width 3"], kind: PictureFormat = "JPEG") -> bytes:
    """`image` as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **_QUALITY[kind])
    return buffer.getvalue()
