"""Where each slide stands, told by the hand that moved it: a drawer, a sliding window, a lever on a rail.

What slides moves on one straight line, and whoever moves it moves along that line, be it gripped, hooked or pushed. So joints tell of
rails: the lines along which the tool went straight most often. While it rides on one, the slide is where the tool is; before, it stood
where the ride began, and after, where it ended. Not every ride is one: a hand passes by, lets go early, or goes on when the slide is at
its end. So, as in `looking.py`, a small network learns from where rides began to read the position off pictures, too small to learn which
of these labels are wrong; between rides what it sees is the label, or where the tool was, if that agrees; and a ride counts where both its
ends agree. (Lines that many pieces agree on: Fischler and Bolles 1981, RANSAC. Noise2Noise, Lehtinen et al. 2018, arXiv 1803.04189.)
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from robo_dream.errors import DataError
from robo_dream.schema import Unit, configuration
from robo_dream.training.grasps import TOOL_POS, Metres
from robo_dream.training.looking import LookConfig, Looker, fit, jittered, spread, views_of

_STRAIGHT, _ALONG = 0.93, 0.94  # way over path, and cosine between directions, of what goes straight along a line
_GUESSES, _FITS = 1000, 3  # lines that are tried, and how often the best is fitted anew to its pieces
_LEAST = 1e-3  # metres that positions are taken to be spread by


@configuration
class SlideConfig:
    """What is moved along a straight line: drawers, sliding doors, levers on a rail."""

    count: Annotated[int, Field(ge=1, le=8)] = 1  # slides, each on a rail of its own
    piece: Annotated[float, Field(gt=0, le=10), Unit("s")] = 0.2  # in which the tool goes straight
    stride: Metres = 0.02  # that it goes in a piece, at least
    near: Metres = 0.015  # of the tool from the rail
    ride: Metres = 0.015  # along the rail, at least
    agree: Metres = 0.025  # between what is seen and where the tool was
    fewest: Annotated[int, Field(ge=2)] = 50  # pieces of each, without which there is no rail


@dataclass(frozen=True)
class Rail:
    """A line in space: a point of it in metres, and its direction."""

    point: Float[np.ndarray, "3"]
    direction: Float[np.ndarray, "3"]

    def along(self, positions: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch"]:
        """Metres from `point`."""
        return np.asarray((positions - self.point) @ self.direction)

    def away(self, positions: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch"]:
        """Metres from the line."""
        return np.asarray(np.linalg.norm(positions - self.at(self.along(positions)), axis=-1))

    def at(self, along: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch 3"]:
        return self.point + along[..., None] * self.direction


@dataclass(frozen=True)
class Ride:
    """Control steps `first` to `last` of an episode in which the tool went along a rail."""

    first: int
    last: int


def rails(tools: Sequence[Float[np.ndarray, "_ 3"]], config: SlideConfig, control_dt: float, seed: int) -> list[Rail]:
    """The lines along which the tool of these episodes went straight most often; raises `DataError` where there are too few."""
    pieces = [_pieces(tool, max(round(config.piece / control_dt), 1), config.stride) for tool in tools]
    middles, ways = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    rng, left, found = np.random.default_rng((seed, 23)), np.arange(len(middles)), []
    for _ in range(config.count):
        guesses = rng.choice(left, min(_GUESSES, len(left)), replace=False) if len(left) else left
        agreeing = [_agreeing(Rail(middles[one], ways[one]), middles, ways, left, config.near) for one in guesses]
        its = max(agreeing, key=len, default=left[:0])
        if len(its) < config.fewest:
            raise DataError(
                f"{len(found)} of {config.count} rails were ridden along for {config.fewest} pieces of {config.piece:g} s and more, the "
                f"next for {len(its)} in {len(tools)} episodes; record more of it, or lower training.slides.count or fewest"
            )
        rail = Rail(middles[its[0]], ways[its[0]])
        for _ in range(_FITS):
            middle = np.median(middles[its], axis=0)
            rail = Rail(middle, np.linalg.svd(middles[its] - middle, full_matrices=False)[2][0])
            its = _agreeing(rail, middles, ways, left, config.near)
        found.append(rail)
        left = np.setdiff1d(left, its)
    return found


def rides(tool: Float[np.ndarray, "frame 3"], rail: Rail, config: SlideConfig) -> list[Ride]:
    """When the tool was at `rail` without a break, and went along it meanwhile."""
    along = rail.along(tool)
    edges = np.flatnonzero(np.diff(rail.away(tool) < config.near, prepend=False, append=False))
    spans = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [Ride(first, end - 1) for first, end in spans if np.ptp(along[first:end]) > config.ride]


def slide_poses(
    recording: Any, config: SlideConfig, looks: LookConfig, seed: int, progress: Callable[[int, int], None] | None = None
) -> Float[np.ndarray, "frame slide 4"]:
    """Of every frame and slide x, y, z and yaw, in metres: where on its rail it is; NaN while not known.

    `recording` is a `recorded.Recording`; only its training episodes are learned from. Raises `DataError` where nothing slides, or is seen
    before it does.
    """
    spans = [(int(a), int(b)) for a, b in itertools.pairwise(recording.episode_starts)]
    tools = [np.asarray(recording.proprio[a:b], np.float64)[:, TOOL_POS] for a, b in spans]
    learned = [tool for tool, is_train in zip(tools, recording.is_train, strict=True) if is_train]
    pose = np.full((spans[-1][1], config.count, 4), np.nan)
    for number, rail in enumerate(rails(learned, config, recording.control_dt, seed)):
        ridden = [rides(tool, rail, config) for tool in tools]
        looker = _learned(recording, rail, tools, ridden, spans, looks, seed + number, progress)
        for (first, end), tool, its in zip(spans, tools, ridden, strict=True):
            along = _told(_Seen(looker, recording, first, end, looks), rail.along(tool), its, config.agree)
            pose[first:end, number] = np.concatenate([rail.at(along), np.where(np.isnan(along), np.nan, 0.0)[:, None]], -1)
    return pose


def _pieces(
    tool: Float[np.ndarray, "frame 3"], steps: int, stride: float
) -> tuple[Float[np.ndarray, "piece 3"], Float[np.ndarray, "piece 3"]]:
    """Middles and directions of what went straight."""
    ways = tool[steps:] - tool[:-steps]
    lengths = np.linalg.norm(ways, axis=-1)
    path = np.convolve(np.linalg.norm(np.diff(tool, axis=0), axis=-1), np.ones(steps), "valid") if len(ways) else lengths
    chosen = (lengths > stride) & (lengths > _STRAIGHT * path)
    return 0.5 * (tool[steps:] + tool[:-steps])[chosen], ways[chosen] / lengths[chosen, None]


def _agreeing(
    rail: Rail, middles: Float[np.ndarray, "piece 3"], ways: Float[np.ndarray, "piece 3"], among: np.ndarray, near: float
) -> np.ndarray:
    """Which pieces of `among` go along `rail`."""
    return among[(rail.away(middles[among]) < near) & (np.abs(ways[among] @ rail.direction) > _ALONG)]


def _learned(
    recording: Any, rail: Rail, tools: Sequence[np.ndarray], ridden: Sequence[Sequence[Ride]], spans: Sequence[tuple[int, int]],
    config: LookConfig, seed: int, progress: Callable[[int, int], None] | None,
) -> Looker:  # fmt: skip
    """Reads the position along `rail`, twice, off pictures: it learns from where rides began, before them."""
    frames, labels = [], []
    for (first, _), tool, its, is_train in zip(spans, tools, ridden, recording.is_train, strict=True):
        if is_train:
            for steps, label in _before(rail.along(tool), its, recording.picture_every):
                frames.append(first + steps)
                labels.append(label)
    if not frames:
        raise DataError(
            f"no picture shows the slide at {np.round(rail.point, 2).tolist()} m before the tool rode along it; record the hand away from "
            f"it for a moment, or lower training.slides.count, or set slides to null"
        )
    middle, width = float(np.median(labels)), max(float(np.std(labels)), _LEAST)
    side = next(iter(recording.images.values())).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        looker = Looker(len(recording.cameras), side, config.keypoints, np.array([middle, middle]), width)

    def loss_of(step: int) -> Float[Tensor, ""]:
        rng = np.random.default_rng((seed, 24, step))
        chosen = rng.integers(len(frames), size=config.batch)
        some = np.array([frames[one][rng.integers(len(frames[one]))] for one in chosen])
        apart = (looker(jittered(recording, some, config, rng)) - torch.tensor(labels)[chosen, None].float()) / width
        return nn.functional.smooth_l1_loss(apart, torch.zeros_like(apart), beta=0.05)  # nearly absolute: some labels are wrong

    fit(looker, loss_of, config, "learning where slides stand", "learn without them: training.slides=null",
        lambda done: None if progress is None else progress(done, config.steps))  # fmt: skip
    return looker


def _before(along: Float[np.ndarray, " frame"], its: Sequence[Ride], every: int) -> list[tuple[np.ndarray, float]]:
    """Control steps with new pictures before each ride, after the one before it, and where it began: where it ended tells less, as a hand
    that has let go may go on."""
    found, first = [], 0
    for ride in its:
        steps = every * np.arange(-(-first // every), (ride.first - 1) // every + 1)
        if len(steps):
            found.append((steps, float(along[ride.first])))
        first = ride.last + 1
    return found


@dataclass(frozen=True)
class _Seen:
    """What is read off the pictures of an episode."""

    looker: Looker
    recording: Any
    start: int
    end: int
    config: LookConfig

    @property
    def length(self) -> int:
        return self.end - self.start

    @torch.no_grad()
    def median(self, first: int, last: int) -> float:
        """Of control steps `first` to `last`, in metres along the rail; NaN without a picture."""
        every = self.recording.picture_every
        frames = self.start + every * np.arange(-(-first // every), last // every + 1)
        if not len(frames):
            return float("nan")
        return float(self.looker(views_of(self.recording, spread(frames, self.config.looks))).mean(-1).median())


def _told(seen: _Seen, tool: Float[np.ndarray, " frame"], its: Sequence[Ride], agree: float) -> Float[np.ndarray, " frame"]:
    """Metres along the rail in every control step of an episode."""
    along, at = np.full(seen.length, np.nan), []
    bounds: list[Ride | None] = [None, *its, None]
    for before, after in itertools.pairwise(bounds):
        first, last = 0 if before is None else before.last + 1, seen.length - 1 if after is None else after.first - 1
        where = seen.median(first, last)
        said = [tool[ride.last] for ride in [before] if ride is not None] + [tool[ride.first] for ride in [after] if ride is not None]
        agreeing = [one for one in said if abs(one - where) < agree]
        at.append(float(np.mean(agreeing)) if agreeing else where)
        along[first : last + 1] = at[-1]
    for ride, left, right in zip(its, at[:-1], at[1:], strict=True):
        steps = slice(ride.first, ride.last + 1)
        if abs(tool[ride.first] - left) < agree and abs(tool[ride.last] - right) < agree:
            along[steps] = tool[steps]
        elif abs(left - right) < agree:  # passed by
            along[steps] = 0.5 * (left + right)
    return along
