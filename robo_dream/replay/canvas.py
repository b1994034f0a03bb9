"""Small pictures made large, labelled and put side by side."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from robo_dream.data.layout import replace_file

INK, FAINT, PAPER = (240, 240, 240), (150, 155, 165), (24, 26, 32)
Colour = tuple[int, int, int]


def enlarge(image: UInt8[np.ndarray, "height width 3"], factor: int) -> UInt8[np.ndarray, "tall wide 3"]:
    """Every pixel as a square of `factor` pixels."""
    return image.repeat(factor, 0).repeat(factor, 1)


def blank(height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    return np.full((height, width, 3), PAPER, np.uint8)


def banner(text: str, width: int, size: int = 16, colour: Colour = INK) -> UInt8[np.ndarray, "height width 3"]:
    """A line of text on dark ground, cut off at `width`."""
    image = Image.new("RGB", (width, round(size * 1.5)), PAPER)
    ImageDraw.Draw(image).text((size // 2, round(size * 0.2)), text, fill=colour, font=ImageFont.load_default(size))
    return np.asarray(image)


def beside(parts: list[np.ndarray], gap: int) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures of equal height from left to right."""
    space = blank(parts[0].shape[0], gap)
    return np.concatenate([piece for image in parts for piece in (space, image)][1:], 1)


def stacked(parts: list[np.ndarray], gap: int = 0) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures from top to bottom, widened on the right to the widest."""
    width = max(image.shape[1] for image in parts)
    wide = [np.concatenate([image, blank(image.shape[0], width - image.shape[1])], 1) for image in parts]
    return np.concatenate([piece for image in wide for piece in (blank(gap, width), image)][1:], 0)


def write_png(path: Path, image: UInt8[np.ndarray, "height width 3"]) -> Path:
    """`path`, with the picture in it, there whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    replace_file(path, buffer.getvalue())
    return path
