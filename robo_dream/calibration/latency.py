"""How late one record of a motion is behind another: the command behind the joints, the joints behind the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.errors import ContractError

_STEP = 0.002  # s between the shifts that are tried
_COARSE = 24  # px of the pictures that motion is read from
_MIN_CORRELATION = 0.6  # below, the two do not show the same motion


@dataclass(frozen=True)
class Lag:
    """`seconds` by which the second record is later than the first, and how well they agree there (1 is perfectly)."""

    seconds: float
    correlation: float


def lag(
    first_times: Float[np.ndarray, " first"],
    first: Float[np.ndarray, " first"],
    second_times: Float[np.ndarray, " second"],
    second: Float[np.ndarray, " second"],
    max_lag: float = 0.6,
    either_sign: bool = False,
) -> Lag:
    """The shift at which the two correlate best, to a fraction of a sample (parabola through the peak).

    Negative when the second is earlier. `either_sign` lets the second go down while the first goes up, as pictures may. Raises
    `ContractError` when the records overlap too little, or show different motions.
    """
    if len(second_times) < len(first_times):  # the denser one is interpolated, at the times of the other
        mirrored = lag(second_times, second, first_times, first, max_lag, either_sign)
        return Lag(-mirrored.seconds, mirrored.correlation)
    inside = (first_times >= second_times[0] + max_lag) & (first_times <= second_times[-1] - max_lag)
    times = first_times[inside]
    if len(times) < 8 or times[-1] - times[0] < 2 * max_lag:
        raise ContractError(
            f"{len(times)} samples of the records overlap; at least 8 over {2 * max_lag:.1f} s are needed: move longer, or faster pictures"
        )
    reference = _normal(first[inside])
    shifts = np.arange(-max_lag, max_lag + _STEP / 2, _STEP)
    scores = np.array([reference @ _normal(np.interp(times + shift, second_times, second)) for shift in shifts]) / len(times)
    if either_sign:
        scores = np.abs(scores)
    peak = int(np.argmax(scores))
    if scores[peak] < _MIN_CORRELATION:
        raise ContractError(
            f"the two records agree by {scores[peak]:.2f} at best (at least {_MIN_CORRELATION} is needed): nothing moved, the wrong thing "
            "moved, or the picture hardly shows it"
        )
    if 0 < peak < len(shifts) - 1:
        below, at, above = scores[peak - 1 : peak + 2]
        bend = below - 2 * at + above
        return Lag(float(shifts[peak] + (_STEP * (below - above) / (2 * bend) if bend < 0 else 0.0)), float(at))
    raise ContractError(f"the records agree best at the end of the range, {shifts[peak]:.2f} s; look for a longer lag")


def motion_of_points(points: Float[np.ndarray, "image 3"]) -> Float[np.ndarray, " image"]:
    """How far a point has moved along the line on which it moves most."""
    centred = points - points.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][0]


def motion(images: Sequence[UInt8[np.ndarray, "height width 3"]]) -> Float[np.ndarray, " image"]:
    """One number for each picture, that goes up and down with whatever moves most in them (their first principal component).

    Its sign and scale are arbitrary. Raises `ContractError` for fewer than 8 pictures.
    """
    if len(images) < 8:
        raise ContractError(f"{len(images)} pictures were taken during the motion; at least 8 are needed: move longer, or raise the rate")
    small = np.stack([_coarse(image) for image in images])
    small -= small.mean(axis=0)
    return np.linalg.svd(small, full_matrices=False)[0][:, 0]


def sweep(seconds: float, slow: float = 0.3, fast: float = 0.9, dt: float = 0.02) -> Float[np.ndarray, " time"]:
    """A motion between -1 and 1 that fits itself at one lag only: a sine that quickens from `slow` to `fast` Hz, and fades in and out."""
    time = np.arange(0, seconds, dt)
    phase = 2 * np.pi * (slow * time + (fast - slow) * time**2 / (2 * seconds))
    return np.sin(phase) * np.clip(np.minimum(time, seconds - time) / (0.15 * seconds), 0, 1)


def _coarse(image: np.ndarray) -> np.ndarray:
    height, width = (side // _COARSE * _COARSE for side in image.shape[:2])
    if not (height and width):
        return image.astype(np.float32).mean(axis=2).ravel()
    blocks = image[:height, :width].astype(np.float32).mean(axis=2)
    return blocks.reshape(_COARSE, height // _COARSE, _COARSE, width // _COARSE).mean(axis=(1, 3)).ravel()


def _normal(signal: np.ndarray) -> np.ndarray:
    signal = signal - signal.mean()
    return signal / max(float(signal.std()), 1e-12)
