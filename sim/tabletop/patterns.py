"""Patterns of tables and objects, drawn as textures; some of them are kept from training."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

Colour = tuple[float, float, float]
SIZE = 64  # px of a texture's side
TRAINED = ("plain", "checker", "stripes", "speckle")
HELD_OUT = ("dots", "wood", "zigzag")


@dataclass(frozen=True)
class Pattern:
    """Two colours, and where which of them is: `repeats` a side, or drawn by `seed`."""

    kind: str = "plain"
    second: Colour = (0.0, 0.0, 0.0)
    repeats: int = 4
    seed: int = 0


def texture(first: Colour, pattern: Pattern) -> UInt8[np.ndarray, "side side 3"]:
    """`pattern` on the colour `first`, which covers most of it."""
    share = _second(pattern)[..., None]
    return np.rint(255 * np.clip((1 - share) * first + share * np.asarray(pattern.second), 0, 1)).astype(np.uint8)


def _second(pattern: Pattern) -> Float[np.ndarray, "side side"]:
    """The share of the second colour at each place, in 0..1."""
    down, right = np.meshgrid(*(2 * [(np.arange(SIZE) + 0.5) / SIZE]), indexing="ij")
    rng, repeats = np.random.default_rng(pattern.seed), pattern.repeats
    match pattern.kind:
        case "plain":
            share = np.zeros((SIZE, SIZE))
        case "checker":
            share = (np.floor(down * 2 * repeats) + np.floor(right * 2 * repeats)) % 2
        case "stripes":
            share = (right * repeats % 1) > 0.6
        case "speckle":
            share = _smooth(rng, 64 / (12 * repeats)) > 0.8
        case "dots":
            share = np.hypot(down * repeats % 1 - 0.5, right * repeats % 1 - 0.5) < 0.28
        case "wood":
            share = 0.5 + 0.5 * np.sin(2 * np.pi * repeats * (right + 0.15 * _smooth(rng, 12.0)))
        case "zigzag":
            share = ((right + np.abs(down * repeats % 1 - 0.5) / repeats) * repeats % 1) > 0.6
        case _:
            raise AssertionError(f"no pattern {pattern.kind!r}")
    return share.astype(np.float64)


def _smooth(rng: np.random.Generator, width: float) -> Float[np.ndarray, "side side"]:
    """Noise `width` pixels wide, of variance 1, that goes on at the other edge."""
    noise = gaussian_filter(rng.standard_normal((SIZE, SIZE)), width, mode="wrap")
    return noise / noise.std()
