"""What a camera does to a picture: exposure, blur, noise and JPEG. Simulated cameras have them, and recordings can be given them."""

import io
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field
from scipy.ndimage import gaussian_filter

from robo_dream.schema import Fraction, Unit, configuration

BEYOND = 1.5  # held-out strengths lie between 1 and this many times the largest that training has
_UNTOUCHED = 100  # JPEG quality at which nothing is compressed
_WORST = 5


@dataclass(frozen=True)
class CameraEffects:
    """One camera's: a gain of brightness, blur (standard deviation, px), noise (of full scale), and JPEG's quality, 100 for none."""

    exposure: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = _UNTOUCHED

    def on(self, picture: UInt8[np.ndarray, "height width 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "height width 3"]:
        """`picture` as that camera delivers it; `rng` is the noise's alone."""
        if self.exposure != 1 or self.blur or self.noise:
            seen = picture.astype(np.float32)
            if self.blur:
                seen = gaussian_filter(seen, (self.blur, self.blur, 0))
            seen *= np.float32(self.exposure)
            if self.noise:
                seen += np.float32(255 * self.noise) * rng.standard_normal(seen.shape, np.float32)
            picture = np.rint(np.clip(seen, 0, 255)).astype(np.uint8)
        return picture if self.jpeg == _UNTOUCHED else _through_jpeg(picture, self.jpeg)


@configuration
class CameraEffectRanges:
    """How strong the effects are at most; each is drawn up to that, uniformly. As built: none.

    `exposure` 0.4 is a gain between 1 / 1.4 and 1.4; `noise` and `blur` are standard deviations; `jpeg` is the lowest quality.
    """

    exposure: Fraction = 0.0
    noise: Fraction = 0.0  # of full scale
    blur: Annotated[float, Field(ge=0, le=10), Unit("px")] = 0.0
    jpeg: Annotated[int, Field(ge=_WORST, le=_UNTOUCHED)] = _UNTOUCHED

    @property
    def is_on(self) -> bool:
        return self != CameraEffectRanges()

    def draw(self, rng: np.random.Generator, is_held_out: bool = False) -> CameraEffects:
        """Effects within these ranges; where they `is_held_out`, each is stronger than any within them."""
        strength = drawn_strength(rng, is_held_out, 4)
        sign = rng.choice([-1.0, 1.0])
        quality = _UNTOUCHED - round(float(strength[3]) * (_UNTOUCHED - self.jpeg))
        if is_held_out and self.jpeg < _UNTOUCHED:
            quality = min(quality, self.jpeg - 1)
        return CameraEffects(
            exposure=float((1 + self.exposure) ** (sign * strength[0])),
            noise=float(strength[1] * self.noise),
            blur=float(strength[2] * self.blur),
            jpeg=max(quality, 1),
        )


def drawn_strength(rng: np.random.Generator, is_held_out: bool, count: int) -> np.ndarray:
    """Uniform within 0 to 1, as training has them; held out, above 1 and at most `BEYOND`."""
    drawn = rng.uniform(0, 1, count)
    return BEYOND - (BEYOND - 1) * drawn if is_held_out else drawn


def _through_jpeg(picture: UInt8[np.ndarray, "height width 3"], quality: int) -> UInt8[np.ndarray, "height width 3"]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB")).copy()
