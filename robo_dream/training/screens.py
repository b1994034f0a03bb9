"""What comes between a camera and the world for a while: screens drawn into pictures, and pictures that come late or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import Field

from robo_dream.errors import ConfigError
from robo_dream.models.dynamics import MAX_LATE
from robo_dream.models.world_model import NOT_SEEN
from robo_dream.schema import Fraction, Unit, configuration

Duration = Annotated[float, Field(gt=0, le=60), Unit("s")]


@configuration
class ScreenConfig:
    """How often and for how long. Screens are flat patches of any colour, or of what the picture shows beside."""

    apart: Duration = 1.5  # mean time without one
    shortest: Duration = 0.3
    longest: Duration = 3.5
    side: tuple[Fraction, Fraction] = (0.2, 0.9)  # of the picture's, level and upright
    whole: Fraction = 0.1  # of the screens hide the whole picture
    one_camera: Fraction = 0.25  # of the screens stand before one camera alone
    aimed: Fraction = 0.0  # of the screens cover a thing wherever it goes meanwhile; where it is in pictures the model tells
    beyond: tuple[Fraction, Fraction] = (0.1, 0.3)  # of the picture's sides, by which those reach beyond the thing's middle
    gone: Fraction = 0.2  # instead of a screen no picture comes at all, for a second at most
    late: Fraction = 0.4  # of the episodes whose pictures are late, by up to `MAX_LATE` control steps
    dropped: Fraction = 0.3  # of the episodes in which every fifth picture is dropped

    def __post_init__(self) -> None:
        if self.longest <= self.shortest:
            raise ConfigError(f"ScreenConfig.longest is {self.longest} s; it must be beyond shortest, {self.shortest} s")
        for name in ("side", "beyond"):
            low, high = getattr(self, name)
            if high < low:
                raise ConfigError(f"ScreenConfig.{name} is a range from {low} to {high}; give the lower end first")


@dataclass(frozen=True)
class Screen:
    """A patch of a picture: its middle and half sides in parts of the picture's, and what it shows."""

    middle: tuple[float, float]  # down, right
    half: tuple[float, float]
    is_round: bool
    colour: tuple[int, int, int] | None  # None: what the picture shows `beside`
    beside: tuple[float, float]  # how far away that is, in parts of the picture's sides

    def before(self, picture: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
        """A copy of `picture` with the screen in it."""
        height, width = picture.shape[:2]
        down, right = np.mgrid[:height, :width]
        y, x = (down + 0.5) / height - self.middle[0], (right + 0.5) / width - self.middle[1]
        y, x = y / max(self.half[0], 1e-6), x / max(self.half[1], 1e-6)
        mask = y * y + x * x < 1 if self.is_round else (np.abs(y) < 1) & (np.abs(x) < 1)
        hidden = picture.copy()
        if self.colour is not None:
            hidden[mask] = self.colour
        else:
            hidden[mask] = np.roll(picture, (round(self.beside[0] * height), round(self.beside[1] * width)), (0, 1))[mask]
        return hidden


@dataclass(frozen=True)
class Worse:
    """How each frame of an episode is seen: of each camera the frame whose picture it shows (-1: none), and the screen before it."""

    shown: Int[np.ndarray, "frame view"]
    screens: Sequence[Sequence[Screen | None]]

    def late(self) -> Float[np.ndarray, "frame view"]:
        """Control steps by which pictures are late; NaN where there is none."""
        frames = np.arange(len(self.shown))[:, None]
        return np.where(self.shown < 0, np.nan, frames - self.shown).astype(np.float32)


def worse(
    rng: np.random.Generator,
    num_frames: int,
    num_views: int,
    control_dt: float,
    config: ScreenConfig,
    every: int,
    centres: Float[np.ndarray, "frame view object 2"] | None = None,
) -> Worse:
    """How an episode of `num_frames` might have been seen. With slow cameras, `every` more than 1, no picture is late besides.

    `centres`: the middle of each thing in each picture, down and right, in parts of the picture's sides; for screens that are aimed.
    """
    shown = np.repeat(np.arange(num_frames)[:, None], num_views, 1)
    screens: list[list[Screen | None]] = [[None] * num_views for _ in range(num_frames)]
    if every == 1 and rng.random() < config.late:
        most = int(rng.integers(1, MAX_LATE + 1))
        shown = np.maximum(shown - rng.integers(max(0, most - 1), most + 1, (num_frames, 1)), 0)
    if rng.random() < config.dropped:
        shown[rng.random(num_frames) < 0.2] = -1
    begin = 0.0
    while True:
        begin += rng.exponential(config.apart)
        seconds = rng.uniform(config.shortest, config.longest)
        is_gone = rng.random() < config.gone
        span = range(round(begin / control_dt), min(round((begin + (min(seconds, 1.0) if is_gone else seconds)) / control_dt), num_frames))
        if span.start >= num_frames:
            return Worse(shown, screens)
        alone = int(rng.integers(num_views)) if rng.random() < config.one_camera else None
        thing = int(rng.integers(centres.shape[2])) if centres is not None and rng.random() < config.aimed else None
        for view in range(num_views):
            screen = _screen(rng, config)
            if centres is not None and thing is not None:
                screen = _covering(rng, screen, centres[list(span), view, thing], config)
            if alone not in (None, view):
                continue
            for frame in span:
                if is_gone:
                    shown[frame, view] = -1
                else:
                    screens[frame][view] = screen
        begin += seconds


def _screen(rng: np.random.Generator, config: ScreenConfig) -> Screen:
    is_whole, is_plain = rng.random() < config.whole, rng.random() < 0.6
    half = (1.0, 1.0) if is_whole else tuple(float(side) / 2 for side in rng.uniform(*config.side, 2))
    colour = rng.integers(0, 256, 3) if rng.random() < 0.5 else np.repeat(rng.integers(0, 256), 3)
    middle, beside = rng.uniform(0.1, 0.9, 2), rng.uniform(0.2, 0.5, 2) * rng.choice([-1, 1], 2)
    is_round = not is_whole and rng.random() < 0.3
    is_coloured = is_plain or is_whole
    return Screen(
        (float(middle[0]), float(middle[1])) if not is_whole else (0.5, 0.5), (half[0], half[1]), bool(is_round),
        (int(colour[0]), int(colour[1]), int(colour[2])) if is_coloured else None, (float(beside[0]), float(beside[1])),
    )  # fmt: skip


def _covering(rng: np.random.Generator, screen: Screen, path: Float[np.ndarray, "frame 2"], config: ScreenConfig) -> Screen:
    """`screen`, so large that it covers `path`, and more to each side by chance, so that its place does not tell where the thing is."""
    low, high = path.min(0) - rng.uniform(*config.beyond, 2), path.max(0) + rng.uniform(*config.beyond, 2)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    return replace(screen, middle=(float(middle[0]), float(middle[1])), half=(float(half[0]), float(half[1])), is_round=False)


def worse_pictures(images: Any, first: int, seen: Worse, view: int) -> UInt8[np.ndarray, "frame height width 3"]:
    """The pictures of one camera as they are `seen` in an episode that begins at frame `first`; grey where none came."""
    found = np.array(images[first + np.maximum(seen.shown[:, view], 0)])
    for frame, shown in enumerate(seen.shown[:, view]):
        screen = seen.screens[frame][view]
        if shown < 0:
            found[frame] = NOT_SEEN
        elif screen is not None:
            found[frame] = screen.before(found[frame])
    return found
