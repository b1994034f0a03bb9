"""Labels of grasps, mended by looking: a thing is held off the middle of the hand, and pictures of where it lay tell by how much.

Joints say where the hand closed (`grasps.py`), a centimetre from where the thing was. A network too small to learn that by heart reads
level positions off pictures in which the thing lies and the hand is away; what it gives is nearer to the truth than what it learned from,
as the offsets of many grasps cancel. (Noise2Noise, Lehtinen et al. 2018, arXiv 1803.04189: the mean is learned from noisy targets.)
Then each episode is one small least-squares problem: positions as they look, and as each hold took and left them, offset in its frame.
How far what is seen is believed is measured on held-out episodes, so that a network that learned nothing mends nothing.
Spatial soft-argmax: Finn et al. 2016, arXiv 1509.06113.

So small a network, whose numbers are points of pictures, also sees the thing where none was ever picked up, which what is trained on labels
alone does not. Where joints tell nothing and the hand is not at it, what it sees is the label (`untold`): a teacher's, as in
noisy-student training (Xie et al. 2020, arXiv 1911.04252).
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from robo_dream.errors import RoboDreamError
from robo_dream.models.encoder import to_float
from robo_dream.schema import Unit, configuration
from robo_dream.training.frames import pictures
from robo_dream.training.grasps import TOOL_POS, Held, Metres, Rest, between_the_jaws, posed, tool_yaw, turned

_SMALLER, _CHANNELS = 4, 24  # pixels folded into channels, and these
_LEAST = 1e-3  # metres that positions are taken to be spread by
_AT_ONCE, _NEIGHBOURS = 256, 3  # frames looked at together, and pictures before and after one that show the same
_OF_AWAY = 1 / 3  # of the distance to the hand, by which what is seen may err where it alone tells
_OF_MEDIAN = 1.4826  # a normal distribution's standard deviation, of its median absolute deviation


@configuration
class LookConfig:
    """How labels are mended by looking. Those that end in `_std` are standard deviations in level metres, which weigh the least squares."""

    rounds: Annotated[int, Field(ge=0, le=10)] = 2  # each learns from the positions that the one before mended; 0 mends nothing
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    batch: Annotated[int, Field(ge=1, le=100_000)] = 128
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-2
    keypoints: Annotated[int, Field(ge=1, le=100), Unit("a camera")] = 3
    fewest: Annotated[int, Field(ge=1)] = 200  # frames, without which nothing is learned
    far: Metres = 0.12  # of the hand from the thing, in frames that are looked at
    looks: Annotated[int, Field(ge=1, le=1000), Unit("frames a rest")] = 8
    color_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.05
    seen_std: Metres = (
        0.006  # of where it is seen, at least: more, where held-out positions are seen farther from their labels than these err
    )
    taken_std: Metres = 0.008  # of how far closing fingers move it
    left_std: Metres = 0.004  # and opening ones
    held_std: tuple[Metres, Metres] = (0.012, 0.012)  # of how far off the middle of the hand it is held, in the hand's x and y
    untold: Metres | None = None  # from the hand, beyond which it is where it is seen in frames of which joints tell nothing; null: nowhere
    steady: Metres | None = None  # by which it may be seen elsewhere shortly before and after, or it may be held; null: however far


class Looker(nn.Module):
    """Level positions off pictures: a few keypoints a camera, and a quadratic function of their coordinates."""

    def __init__(self, num_cameras: int, side: int, keypoints: int, centre: Float[np.ndarray, "2"], spread: float) -> None:
        super().__init__()
        self.views = nn.ModuleList(_View(side, keypoints) for _ in range(num_cameras))
        count = 2 * keypoints * num_cameras
        self.read = nn.Linear(count + count * (count + 1) // 2, 2)
        self.register_buffer("pairs", torch.triu_indices(count, count), persistent=False)
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32))
        self.spread = spread

    def forward(self, views: Sequence[Float[Tensor, "batch 3 height width"]]) -> Float[Tensor, "batch 2"]:
        """Metres."""
        points = torch.cat([view(picture) for view, picture in zip(self.views, views, strict=True)], 1)
        one, other = self.get_buffer("pairs")
        return self.get_buffer("centre") + self.spread * self.read(torch.cat([points, points[:, one] * points[:, other]], 1))


class _View(nn.Module):
    """Keypoints of one camera, -1 to 1."""

    def __init__(self, side: int, keypoints: int) -> None:
        super().__init__()
        self.fold = nn.PixelUnshuffle(_SMALLER)
        self.first = nn.Conv2d(3 * _SMALLER**2, _CHANNELS, 3, padding=1)
        self.second = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)
        self.heat = nn.Conv2d(_CHANNELS, keypoints, 1)
        line = torch.linspace(-1, 1, side // _SMALLER)
        row, column = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("grid", torch.stack([column.flatten(), row.flatten()], -1), persistent=False)

    def forward(self, picture: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch number"]:
        features = nn.functional.silu(self.first(self.fold(2 * picture - 1)))
        features = features + nn.functional.silu(self.second(features))
        return (self.heat(features).flatten(2).softmax(-1) @ self.get_buffer("grid")).flatten(1)


@dataclass(frozen=True)
class Lying:
    """A rest of an episode, and frames of all (`Recording`'s) in which it can be looked at."""

    episode: int
    rest: int
    frames: Int[np.ndarray, " some_frame"]


def looked(
    held: Sequence[Held],
    recording: Any,
    config: LookConfig,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    beside: float = 0.0,
) -> list[Held]:
    """`held` with offsets and positions as pictures tell them; as it was where hardly any picture shows a thing with the hand away.

    Only training episodes are learned from; the others are looked at, too. `beside` is the hand's, see `GraspConfig`; `recording` is
    a `recorded.Recording` with square pictures.
    """
    side = next(iter(recording.images.values())).shape[1]
    spans = itertools.pairwise(recording.episode_starts)
    proprio = [between_the_jaws(np.asarray(recording.proprio[a:b], np.float64), beside) for a, b in spans]
    trained = config.rounds * config.steps
    mended, total = list(held), trained + (0 if config.untold is None else sum(len(_untold(one, recording)) for one in held) // _AT_ONCE)
    for number in range(config.rounds):
        visible = lying(mended, recording, config)
        learned = [one for one in visible if recording.is_train[one.episode]]
        if sum(len(one.frames) for one in learned) < config.fewest or side % _SMALLER:
            return mended
        frames = np.concatenate([one.frames for one in learned])
        positions = np.concatenate([np.tile(mended[one.episode].rests[one.rest].pose[:2], (len(one.frames), 1)) for one in learned])

        def tell(done: int, before: int = number * config.steps) -> None:
            if progress is not None:
                progress(min(before + done, total), total)

        looker = _learned(recording, frames, positions, side, config, seed + number, tell)
        seen: dict[int, dict[int, Float[np.ndarray, "2"]]] = {}
        for one in visible:
            seen.setdefault(one.episode, {})[one.rest] = _seen(looker, recording, spread(one.frames, config.looks))
        believed = replace(config, seen_std=_seen_std(mended, seen, recording.is_train, config))
        mended = [settled(one, proprio[episode], seen.get(episode, {}), believed) for episode, one in enumerate(held)]
        if number + 1 == config.rounds and config.untold is not None and believed.seen_std < _OF_AWAY * config.untold:
            mended = seen_alone(mended, looker, recording, proprio, config.untold, config.steady, lambda done: tell(done, trained))
    return mended


def seen_alone(
    held: Sequence[Held],
    looker: Looker,
    recording: Any,
    proprio: Sequence[Float[np.ndarray, "frame proprio"]],
    away: float,
    steady: float | None,
    tell: Callable[[int], None],
) -> list[Held]:
    """`held` with level positions as they are seen where joints tell none and the hand is `away` metres from there, and farther.

    It lies on the table there, as what was set down does; how it is turned stays unknown (NaN). Frames without a picture of their own are
    as they were. Of several things, a hand may hold the one that nobody knows it to hold, and hide it: what is then seen in its stead
    wanders by more than `steady` metres.
    """
    heights = [rest.pose[2] for one in held for rest in one.rests]
    table, every = float(np.median(heights)) if heights else np.nan, recording.picture_every
    found, done = [], 0
    for first, one, moved in zip(np.asarray(recording.episode_starts)[:-1], held, proprio, strict=True):
        frames = _untold(one, recording)
        if len(frames):
            seen = np.pad(_positions(looker, recording, first + frames), ((0, 0), (0, 1)), constant_values=table)
            is_away = np.linalg.norm(moved[frames, TOOL_POS] - seen, axis=-1) > away
            looked_at, frames, seen, pose = len(frames), frames[is_away], seen[is_away], one.pose.copy()
            beside = np.abs(frames[:, None] - frames) <= _NEIGHBOURS * every
            spots = np.array([np.median(seen[near], axis=0) for near in beside]).reshape(-1, 3)  # a thing stays where the hand is away
            if steady is not None:
                apart = np.linalg.norm(spots[:, None] - spots, axis=-1)
                stays = np.where(beside, apart, 0.0).max(-1, initial=0.0) <= steady
                frames, spots = frames[stays], spots[stays]
            pose[frames, :3] = spots
            one, done = replace(one, pose=pose), done + looked_at
            tell(done // _AT_ONCE)
        found.append(one)
    return found


def _untold(held: Held, recording: Any) -> Int[np.ndarray, " some_frame"]:
    """Frames with a picture of their own in which joints tell of nothing."""
    frames = np.flatnonzero(np.isnan(held.pose).any(-1))
    return frames[frames % recording.picture_every == 0]


@torch.no_grad()
def _positions(looker: Looker, recording: Any, frames: Int[np.ndarray, " some_frame"]) -> Float[np.ndarray, "some_frame 2"]:
    parts = np.split(frames, range(_AT_ONCE, len(frames), _AT_ONCE))
    return np.concatenate([looker(views_of(recording, part)).numpy() for part in parts]).astype(np.float64)


def _seen_std(
    held: Sequence[Held],
    seen: Mapping[int, Mapping[int, Float[np.ndarray, "2"]]],
    is_train: Bool[np.ndarray, " episode"],
    config: LookConfig,
) -> float:
    """How far off positions are seen in held-out episodes (in all, where none is held out): what labels do not err by themselves."""
    chosen = [episode for episode in seen if not is_train[episode]] or list(seen)
    apart = np.array([position - held[episode].rests[rest].pose[:2] for episode in chosen for rest, position in seen[episode].items()])
    off = _OF_MEDIAN * float(np.median(np.abs(apart)))
    labels = config.taken_std**2 + max(config.held_std) ** 2
    return float(np.clip(np.sqrt(max(off**2 - labels, 0.0)), config.seen_std, 1.0))


def settled(
    held: Held, proprio: Float[np.ndarray, "frame proprio"], seen: Mapping[int, Float[np.ndarray, "2"]], config: LookConfig
) -> Held:
    """Offsets and positions of one episode by weighted least squares; `seen` has level positions by the numbers of rests, in metres."""
    num_holds, num = len(held.holds), len(held.holds) + len(held.rests)
    if not num_holds:
        return held
    unknown = np.eye(2 * num).reshape(num, 2, 2 * num)
    offsets, positions = unknown[:num_holds], unknown[num_holds:]
    rows, values = [offset / np.array(config.held_std)[:, None] for offset in offsets], [np.zeros(2)] * num_holds
    for number, (rest, position) in enumerate(zip(held.rests, positions, strict=True)):
        if number in seen:
            rows.append(position / config.seen_std)
            values.append(seen[number] / config.seen_std)
        for hold, frame, std in _touched(held, rest, config):
            turn = np.stack([turned(axis, tool_yaw(proprio[frame])) for axis in np.eye(2)], -1)  # from the hand's frame
            rows.append((position - turn @ offsets[hold]) / std)
            values.append(proprio[frame, TOOL_POS][:2] / std)
    found = np.linalg.lstsq(np.concatenate(rows), np.concatenate(values), rcond=None)[0].reshape(num, 2)
    rests = tuple(replace(rest, pose=np.array([*level, *rest.pose[2:]])) for rest, level in zip(held.rests, found[num_holds:], strict=True))
    return Held(held.holds, rests, posed(proprio, held.holds, rests, found[:num_holds]))


def _touched(held: Held, rest: Rest, config: LookConfig) -> list[tuple[int, int, float]]:
    """Which holds tell of a rest's position: the hold, the frame at which its hand was there, and how far the thing may have moved then."""
    left, taken = rest.left_by, rest.taken_by
    found = [] if left is None else [(left, held.holds[left].last, config.left_std)]
    return found if taken is None else [*found, (taken, held.holds[taken].first, config.taken_std)]


def lying(held: Sequence[Held], recording: Any, config: LookConfig) -> list[Lying]:
    """Of every rest, the frames with a new picture in which the hand is away; rests without any are left out."""
    starts, every = np.asarray(recording.episode_starts, np.int64), recording.picture_every
    found = []
    for episode, one in enumerate(held):
        for number, rest in enumerate(one.rests):
            frames = starts[episode] + rest.frames[rest.frames % every == 0]
            tool = np.asarray(recording.proprio)[frames][:, TOOL_POS]
            away = frames[np.linalg.norm(tool - rest.pose[:3], axis=-1) > config.far]
            if len(away):
                found.append(Lying(episode, number, away))
    return found


def spread(frames: Int[np.ndarray, " some_frame"], count: int) -> Int[np.ndarray, " few"]:
    """At most `count` of `frames`, evenly."""
    return frames[np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(np.int64))]


def views_of(recording: Any, frames: Int[np.ndarray, " batch"]) -> list[Float[Tensor, "batch 3 height width"]]:
    """Each camera's pictures of `frames`, 0 to 1."""
    return [to_float(torch.from_numpy(pictures(recording.images[name], frames))) for name in recording.cameras]


def _seen(looker: Looker, recording: Any, frames: Int[np.ndarray, " few"]) -> Float[np.ndarray, "2"]:
    """Where a thing at rest is: the median of `frames`."""
    return np.asarray(np.median(_positions(looker, recording, frames), axis=0))


def _learned(
    recording: Any, frames: Int[np.ndarray, " frame"], positions: Float[np.ndarray, "frame 2"], side: int, config: LookConfig, seed: int,
    tell: Callable[[int], None],
) -> Looker:  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        looker = Looker(len(recording.cameras), side, config.keypoints, positions.mean(0), max(float(positions.std(0).mean()), _LEAST))

    def loss_of(step: int) -> Float[Tensor, ""]:
        rng = np.random.default_rng((seed, 20, step))
        chosen = rng.integers(len(frames), size=config.batch)
        seen = looker(jittered(recording, frames[chosen], config, rng))
        errors = (seen - torch.from_numpy(positions[chosen]).float()) / looker.spread
        return nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=0.1)

    fit(looker, loss_of, config, "looking", "leave labels as joints tell them with training.looks=null", tell)
    return looker


def jittered(
    recording: Any, frames: Int[np.ndarray, " batch"], config: LookConfig, rng: np.random.Generator
) -> list[Float[Tensor, "batch 3 height width"]]:
    """`views_of` in other brightness and contrast."""
    views = []
    for view in views_of(recording, frames):
        gain, offset = torch.from_numpy(rng.uniform(-1, 1, (2, len(frames), 1, 1, 1)).astype(np.float32)) * config.color_jitter
        views.append(view * (1 + gain) + offset)
    return views


def fit(
    network: nn.Module, loss_of: Callable[[int], Float[Tensor, ""]], config: LookConfig, doing: str, instead: str,
    tell: Callable[[int], None],
) -> None:  # fmt: skip
    """Takes `config.steps` steps down `loss_of` and leaves `network` for use. Raises `RoboDreamError` where what is `doing` diverges."""
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=config.steps + 1)
    for step in range(config.steps):
        loss = loss_of(step)
        if not math.isfinite(loss.item()):
            raise RoboDreamError(
                f"{doing} diverged at step {step} of {config.steps} with a loss of {loss.item()}; lower training.looks.learning_rate "
                f"({config.learning_rate:g}), or {instead}"
            )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        tell(step + 1)
    network.eval()
