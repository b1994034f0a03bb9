"""Which way each switch stands, told by a fist that pressed it and by pictures before and after: a label up to its sign.

Joints tell of a press: a fist comes down and goes up again, and mostly at the few spots where there is something to press. What a press
changes, they do not tell. Pictures do: a small network is to give one number for each switch that is the same in all pictures of an
episode between two presses of that switch, and of the other sign after each press. Nothing else in the picture turns over just then, so the
network finds what does, be it a lamp's colour or a lever. Which side is called 1 is nobody's business: a goal is compared, not named.
(Learning by what an action changes: Agrawal et al. 2016, arXiv 1606.07419; pairs that agree or do not: Hadsell et al., CVPR 2006.)
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

from robo_dream.errors import DataError, RoboDreamError
from robo_dream.schema import Unit, configuration
from robo_dream.training.grasps import CLOSURE, TOOL_POS, Metres, Seconds
from robo_dream.training.looking import LookConfig, fit, jittered, spread, views_of

_SMALLER, _CHANNELS, _FEATURES = 4, 24, 8  # pixels folded into channels, these, and what is read where a heat map looks
_AROUND = 2  # control steps, in which the hand that turns back must be a fist
_STEEP = 2.0  # how sure a pair can be, as the root of a logit
_MOST = 4096  # presses, around each of which others are counted
_SURE = 0.3  # mean over a segment from -1 to 1, below which pictures do not say


@configuration
class SwitchConfig:
    """What is pressed by a fist, and stands the other way then: buttons, levers, lids with a catch."""

    count: Annotated[int, Field(ge=1, le=8)] = 1  # switches, each at a spot of its own
    fist: Annotated[float, Field(gt=0, le=1), Unit("1")] = 0.85  # of closure, at least
    depth: Metres = 0.02  # that it comes down, and goes up again
    same: Metres = 0.03  # from the middle of where a switch is pressed
    fewest: Annotated[int, Field(ge=2)] = 20  # presses of each, without which nothing is learned
    settling: Seconds = 0.5  # before and after a press, in which it may stand either way
    apart: Metres = 0.1  # one way and the other, as a thing that lies so much higher


@dataclass(frozen=True)
class Press:
    """The control step of an episode at which a fist turned back, and where that was."""

    step: int
    position: Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Segment:
    """Control steps `first` to `last` of an episode, in which a switch was not pressed, and after how many presses."""

    first: int
    last: int
    presses: int


def presses(proprio: Float[np.ndarray, "frame proprio"], config: SwitchConfig) -> list[Press]:
    """Where a fist turned back of an episode's joints: lowest points with `config.depth` to climb on both sides."""
    height, found, low, top = proprio[:, 2], [], 0, 0
    came_down, is_falling = False, False
    for step in range(1, len(height)):
        if is_falling:
            low = step if height[step] < height[low] else low
            if height[step] > height[low] + config.depth:
                if came_down and proprio[max(low - _AROUND, 0) : low + _AROUND + 1, CLOSURE].max() > config.fist:
                    found.append(Press(low, np.asarray(proprio[low, TOOL_POS], np.float64)))
                is_falling, top = False, step
        else:
            top = step if height[step] > height[top] else top
            if height[step] < height[top] - config.depth:
                is_falling, came_down, low = True, True, step
    return found


def pressed_positions(pressed: Sequence[Sequence[Press]], config: SwitchConfig) -> Float[np.ndarray, "switch 3"]:
    """Where most presses are, in metres, from left to right; raises `DataError` where there are too few such positions."""
    left = np.array([press.position for one in pressed for press in one]).reshape(-1, 3)
    found: list[Float[np.ndarray, "3"]] = []
    for number in range(config.count):
        some = left[:: len(left) // _MOST + 1]  # may be the middle
        near = np.linalg.norm(some[:, None, :2] - left[None, :, :2], axis=-1) < config.same
        most = int(near.sum(1).max(initial=0))
        if most < config.fewest:
            raise DataError(
                f"{len(found)} of {config.count} spots were pressed by a fist {config.fewest} times and more, the next {most} times in "
                f"{len(pressed)} episodes; record more presses, or lower training.switches.count or fewest"
            )
        its = near[int(near.sum(1).argmax())]
        found.append(np.median(left[its], axis=0))
        left = left[np.linalg.norm(left[:, :2] - found[number][:2], axis=-1) >= config.same]
    return np.array(sorted(found, key=lambda place: -place[1]))


def segments(pressed: Sequence[Press], place: Float[np.ndarray, "3"], length: int, settling: int, same: float) -> list[Segment]:
    """Of an episode of `length` control steps: between the presses of the switch at `place`."""
    steps = [press.step for press in pressed if np.linalg.norm(press.position[:2] - place[:2]) < same]
    bounds = itertools.pairwise([-settling - 1, *steps, length + settling])
    found = [Segment(one + settling + 1, other - settling - 1, number) for number, (one, other) in enumerate(bounds)]
    return [one for one in found if one.last >= one.first]


def switch_poses(
    recording: Any, config: SwitchConfig, looks: LookConfig, seed: int, progress: Callable[[int, int], None] | None = None
) -> Float[np.ndarray, "frame switch 4"]:
    """Of every frame and switch x, y, z and yaw, in metres: its place, `config.apart` higher one way than the other; NaN while not known.

    `recording` is a `recorded.Recording`; only its training episodes are learned from. Raises `DataError` where too little was pressed, and
    `RoboDreamError` where pictures do not show that anything changes.
    """
    spans = [(int(a), int(b)) for a, b in itertools.pairwise(recording.episode_starts)]
    proprio = [np.asarray(recording.proprio[a:b], np.float64) for a, b in spans]
    pressed = [presses(one, config) for one in proprio]
    positions = pressed_positions([one for one, train in zip(pressed, recording.is_train, strict=True) if train], config)
    settling = round(config.settling / recording.control_dt)
    parts = [
        [segments(one, place, last - first, settling, config.same) for one, (first, last) in zip(pressed, spans, strict=True)]
        for place in positions
    ]
    network = _learned(recording, parts, spans, looks, seed, progress)
    pose = np.full((spans[-1][1], len(positions), 4), np.nan)
    for number, (place, its) in enumerate(zip(positions, parts, strict=True)):
        stands = [
            [_stands(network, recording, number, first, one, looks) for one in some] for (first, _), some in zip(spans, its, strict=True)
        ]
        _require_shown(stands, number, place)
        for (first, _), some, ways in zip(spans, its, stands, strict=True):
            for one, way in zip(some, ways, strict=True):
                if abs(way) > _SURE:
                    higher = [0.0, 0.0, 0.5 * config.apart * np.sign(way)]
                    pose[first + one.first : first + one.last + 1, number] = [*(place + higher), 0.0]
    return pose


class _States(nn.Module):
    """A number for each switch, off features of each camera where a heat map of that switch looks.

    Normalised over the batch, as pairs alone would be content with zeros for a long time.
    """

    def __init__(self, num_cameras: int, side: int, switches: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(_View(switches) for _ in range(num_cameras))
        self.reads = nn.ModuleList(nn.Linear(num_cameras * _FEATURES, 1) for _ in range(switches))
        self.scale = nn.BatchNorm1d(switches, momentum=0.05, affine=False)

    def forward(self, views: Sequence[Float[Tensor, "batch 3 height width"]]) -> Float[Tensor, "batch switch"]:
        features = torch.cat([view(picture) for view, picture in zip(self.views, views, strict=True)], -1)
        return self.scale(torch.cat([read(features[:, number]) for number, read in enumerate(self.reads)], -1))


class _View(nn.Module):
    def __init__(self, switches: int) -> None:
        super().__init__()
        self.fold = nn.PixelUnshuffle(_SMALLER)
        self.first = nn.Conv2d(3 * _SMALLER**2, _CHANNELS, 3, padding=1)
        self.second = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)
        self.heat = nn.Conv2d(_CHANNELS, switches, 1)
        self.features = nn.Conv2d(_CHANNELS, switches * _FEATURES, 1)

    def forward(self, picture: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch switch feature"]:
        features = nn.functional.silu(self.first(self.fold(2 * picture - 1)))
        features = features + nn.functional.silu(self.second(features))
        heat = self.heat(features).flatten(2).softmax(-1)  # (B, S, P)
        read = self.features(features).flatten(2).unflatten(1, (heat.shape[1], _FEATURES))
        return torch.einsum("bsp,bsfp->bsf", heat, read)


def _learned(
    recording: Any, parts: Sequence[Sequence[Sequence[Segment]]], spans: Sequence[tuple[int, int]], config: LookConfig, seed: int,
    progress: Callable[[int, int], None] | None,
) -> _States:  # fmt: skip
    """Learns from pairs of frames of one episode, with an even number of presses between them or an odd one."""
    side, every = next(iter(recording.images.values())).shape[1], recording.picture_every
    turned = [  # of every switch: episodes and segments with pictures on both sides of a press of it
        [
            (first, [one for one in some if one.last // every * every >= one.first])
            for (first, _), some, is_train in zip(spans, its, recording.is_train, strict=True)
            if is_train
        ]
        for its in parts
    ]
    turned = [[(first, some) for first, some in one if len({part.presses % 2 for part in some}) == 2] for one in turned]
    if not all(turned):
        raise DataError(
            f"of {len(turned)} switches {sum(map(bool, turned))} have an episode with a picture before a press and one after it, "
            f"where there is one every {every} control steps; wait longer than training.switches.settling between presses, or set "
            f"switches to null"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _States(len(recording.cameras), side, len(parts))
    a_switch = max(config.batch // (2 * len(parts)), 4)  # pairs

    def loss_of(step: int) -> Float[Tensor, ""]:
        rng = np.random.default_rng((seed, 22, step))
        frames, same = np.zeros((len(parts), 2, a_switch), np.int64), np.zeros((len(parts), a_switch), bool)
        for number, its in enumerate(turned):
            for pair, chosen in enumerate(rng.integers(len(its), size=a_switch)):
                first, some = its[chosen]
                one, other = _two(some, pair % 2 == 0, rng)
                same[number, pair] = (one.presses - other.presses) % 2 == 0
                frames[number, :, pair] = [first + _picture_of(part, every, rng) for part in (one, other)]
        views = jittered(recording, frames.reshape(-1), config, rng)
        states = _STEEP * torch.tanh(network(views)).unflatten(0, frames.shape)  # (S, 2, P, S)
        own = torch.stack([states[number, ..., number] for number in range(len(parts))])
        signs = torch.from_numpy(np.where(same, 1.0, -1.0).astype(np.float32))
        return nn.functional.softplus(-signs * own[:, 0] * own[:, 1]).mean()

    fit(network, loss_of, config, "learning how switches stand", "learn without them: training.switches=null",
        lambda done: None if progress is None else progress(done, config.steps))  # fmt: skip
    return network


def _two(some: Sequence[Segment], is_same: bool, rng: np.random.Generator) -> tuple[Segment, Segment]:
    """Segments with an even number of presses between them, perhaps one and the same, or an odd number."""
    one = some[int(rng.integers(len(some)))]
    others = [part for part in some if ((part.presses - one.presses) % 2 == 0) == is_same]
    return one, others[int(rng.integers(len(others)))]


def _picture_of(part: Segment, every: int, rng: np.random.Generator) -> int:
    """The control step of one of its new pictures."""
    return int(every * rng.integers(-(-part.first // every), part.last // every + 1))


@torch.no_grad()
def _stands(network: _States, recording: Any, number: int, first: int, part: Segment, config: LookConfig) -> float:
    """Which way, from -1 to 1, as pictures of the segment say on average; 0 without a picture."""
    every = recording.picture_every
    frames = first + every * np.arange(-(-part.first // every), part.last // every + 1)
    if not len(frames):
        return 0.0
    return float(torch.tanh(network(views_of(recording, spread(frames, config.looks)))[:, number]).mean())


def _require_shown(stands: Sequence[Sequence[float]], number: int, place: Float[np.ndarray, "3"]) -> None:
    """Raises `RoboDreamError` where no more of the presses turn what is seen than would by chance."""
    turns = [one * other < 0 for ways in stands for one, other in itertools.pairwise(ways) if min(abs(one), abs(other)) > _SURE]
    if not turns or np.mean(turns) < 0.75:
        at = ", ".join(f"{value:.2f}" for value in place)
        share = 100 * float(np.mean(turns)) if turns else 0.0
        raise RoboDreamError(
            f"pictures do not show that what was pressed at ({at}) m, switch {number}, changes anything: it stands the other way after "
            f"{share:.0f} % of {len(turns)} presses; lower training.switches.count, or set switches to null"
        )
