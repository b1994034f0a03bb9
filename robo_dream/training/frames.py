"""The frames that training reads, and which of them may begin a window."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from robo_dream.data.streamed import StreamedPictures
from robo_dream.embodiment import ActionSpec, upright_turn
from robo_dream.errors import DataError
from robo_dream.models.config import NUM_OBJECT, ModelConfig, ModelSpec, Normaliser
from robo_dream.models.heads import OBJECT_START

Split = Literal["train", "test"]


@runtime_checkable
class Frames(Protocol):
    """What training needs of `robo_dream.data.cache.FrameCache`: all frames of all episodes, one after the other."""

    @property
    def cameras(self) -> tuple[str, ...]: ...

    @property
    def images(self) -> Mapping[str, Any]:
        """uint8 (frame, height, width, 3) of each camera: an array, or what is read like one."""
        ...

    @property
    def picture_every(self) -> int:
        """A new picture at the first frame of each episode and at every n-th after it."""
        ...

    @property
    def proprio(self) -> np.ndarray: ...

    @property
    def actions(self) -> np.ndarray:
        """The action taken after each frame; zeros at an episode's last."""
        ...

    @property
    def action_std(self) -> np.ndarray | None:
        """How unsure the actions are that a checkpoint told, in their units: 0 of true ones; None where all are true."""
        ...

    @property
    def object_pose(self) -> np.ndarray:
        """(frame, 7 a known object): metres and wxyz, NaN where unknown."""
        ...

    @property
    def skill(self) -> np.ndarray:
        """What was being done at each frame, as a place in `skills`."""
        ...

    @property
    def skills(self) -> tuple[str, ...]: ...

    @property
    def episode_starts(self) -> np.ndarray: ...

    @property
    def is_train(self) -> np.ndarray: ...

    @property
    def action_spec(self) -> ActionSpec: ...

    @property
    def dataset_id(self) -> str: ...


@dataclass(frozen=True)
class FrameIndex:
    """Where windows may begin, and where each frame's episode ends. Where cameras are slow, only frames with a new picture count."""

    starts: Int[np.ndarray, " window"]  # first frames of windows inside one episode
    frames: Int[np.ndarray, " some_frame"]  # every frame of the split
    last: Int[np.ndarray, " frame"]  # the last frame of each frame's episode
    every: int  # control steps from one that counts to the next


def frame_index(cache: Frames, num_frames: int, split: Split = "train") -> FrameIndex:
    """Windows of `num_frames` successive control steps in the episodes of `split`; raises `DataError` when there is none."""
    every = cache.picture_every
    bounds = np.asarray(cache.episode_starts, np.int64)
    chosen = np.asarray(cache.is_train, bool) == (split == "train")
    begin, last = (np.repeat(edges, np.diff(bounds)) for edges in (bounds[:-1], bounds[1:] - 1))
    inside = np.repeat(chosen, np.diff(bounds))
    frames = np.arange(bounds[-1])
    inside &= (frames - begin) % every == 0
    starts = frames[inside & (frames + num_frames - 1 <= last)]
    if len(starts) == 0:
        longest = int(np.diff(bounds)[chosen].max(initial=0))
        raise DataError(
            f"no {split} window of {num_frames} frames in {cache.dataset_id}: it has {int(chosen.sum())} {split} episodes, "
            f"the longest of {longest} frames; record longer or more episodes, or shorten the unroll"
        )
    return FrameIndex(starts, frames[inside], last - (last - begin) % every, every)


class Turns:
    """The windows that the batch of a step is drawn from: all, or where pictures are streamed those of the shards that are kept at once.

    These take turns of about as many steps as draw each window once, in an order that is another in every round: a function of `seed` and
    the step alone, whoever asks.
    """

    def __init__(self, cache: Frames, starts: Int[np.ndarray, " window"], num: int, seed: int) -> None:
        """`num` are drawn for a batch."""
        self.starts, self.seed, self.shards, self.kept, self.round = starts, seed, None, 1, (-1, np.zeros(0, np.int64))
        images = next(iter(cache.images.values()), None)
        if isinstance(images, StreamedPictures):
            self.shard_of = images.shards.of(images.picture_of[starts])
            self.shards, self.kept = np.unique(self.shard_of), images.shards.kept_at_once
            self.turns = -(-len(self.shards) // self.kept)
            self.steps = -(-len(starts) // (num * self.turns))

    def __call__(self, step: int) -> Int[np.ndarray, " window"]:
        if self.shards is None:
            return self.starts
        turn = step // self.steps
        if self.round[0] != turn:
            order = np.random.default_rng((self.seed, 20, turn // self.turns)).permutation(self.shards)
            some = order[self.kept * (turn % self.turns) :][: self.kept]
            self.round = turn, self.starts[np.isin(self.shard_of, some)]
        return self.round[1]


def splits_of(cache: Frames) -> list[Split]:
    """Those that have an episode."""
    is_train = np.asarray(cache.is_train, bool)
    splits: list[tuple[Split, bool]] = [("train", bool(is_train.any())), ("test", not is_train.all())]
    return [name for name, has_some in splits if has_some]


def true_episodes(cache: Frames, split: Split = "train") -> list[int]:
    """The episodes of `split` in which no action was told by a checkpoint."""
    chosen = np.asarray(cache.is_train, bool) == (split == "train")
    if cache.action_std is not None:
        told = np.asarray(cache.action_std).any(1)
        chosen &= ~np.logical_or.reduceat(told, np.asarray(cache.episode_starts, np.int64)[:-1])
    return np.flatnonzero(chosen).tolist()


def last_pictures(cache: Frames) -> Int[np.ndarray, " frame"]:
    """Of every frame the one at which its picture was taken: itself, or one before."""
    bounds = np.asarray(cache.episode_starts, np.int64)
    frames, begin = np.arange(bounds[-1]), np.repeat(bounds[:-1], np.diff(bounds))
    return frames - (frames - begin) % cache.picture_every


def goal_frames(
    rng: np.random.Generator, first: Int[np.ndarray, " batch"], last: Int[np.ndarray, " batch"], shortest: int, longest: int, every: int = 1
) -> Int[np.ndarray, " batch"]:
    """Hindsight goals: frames `shortest` to `longest` control steps later (log-uniform), at most `last`, a multiple of `every` away."""
    ahead = np.exp(rng.uniform(np.log(shortest), np.log(longest + 1), len(first))).astype(np.int64)
    return np.minimum(first + ahead - ahead % every, last)


def skill_ends(cache: Frames) -> Int[np.ndarray, " frame"]:
    """The frame at which the skill under way at each frame is done: where another one begins, or the episode ends."""
    bounds = np.asarray(cache.episode_starts, np.int64)
    frames, skill = np.arange(bounds[-1]), np.asarray(cache.skill)
    begins = np.union1d(bounds, 1 + np.flatnonzero(np.diff(skill)))
    ends = begins[np.searchsorted(begins, frames, side="right")]
    return np.minimum(ends, bounds[np.searchsorted(bounds, frames, side="right")] - 1)


def normalised_actions(cache: Frames) -> Float[np.ndarray, "frame action"]:
    """Actions with -1 and 1 at their limits."""
    spec = cache.action_spec
    half, middle = 0.5 * (spec.high - spec.low), 0.5 * (spec.high + spec.low)
    return ((np.asarray(cache.actions, np.float32) - middle) / half).astype(np.float32)


def blocks_after(
    actions: Float[np.ndarray, "frame action"], first: Int[np.ndarray, " batch"], num_blocks: int, block: int
) -> Float[np.ndarray, "batch horizon time action"]:
    """The actions of `num_blocks` blocks that follow each first frame."""
    steps = first[:, None] + np.arange(num_blocks * block)
    return actions[steps].reshape(len(first), num_blocks, block, -1)


def returns(
    cache: Frames, tool_pos: Float[np.ndarray, "frame 3"], object_pos: Float[np.ndarray, "frame object 3"], shortest: int
) -> Int[np.ndarray, "pair 2"]:
    """Training frames and later ones of the same episode at which the tool is where it was (3 cm) and an object is not (2 cm).

    As start and goal they are rare in play; without them a model takes "the gripper is there" for "all is done". None where the
    object's position is unknown.
    """
    found = [np.zeros((0, 2), np.int64)]
    bounds, every = np.asarray(cache.episode_starts, np.int64), cache.picture_every
    for first, end in zip(bounds[:-1][cache.is_train], bounds[1:][cache.is_train], strict=True):
        tool, thing = tool_pos[first:end:every], object_pos[first:end:every]
        is_back = np.linalg.norm(tool[:, None] - tool, axis=-1) < 0.03
        is_moved = np.any([np.linalg.norm(one[:, None] - one, axis=-1) > 0.02 for one in np.moveaxis(thing, 1, 0)], axis=0)
        found.append(first + every * np.argwhere(np.triu(is_back & is_moved, -(-shortest // every))))
    return np.concatenate(found)


def pictures(
    images: Any, frames: Int[np.ndarray, "*batch"], shifts: Int[np.ndarray, "*batch 2"] | None = None
) -> UInt8[np.ndarray, "*batch height width 3"]:
    """Copies of the chosen pictures of one of `Frames.images`, moved by `shifts` (down, right) pixels with their edges repeated."""
    if shifts is None:
        return np.asarray(images[frames])
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - shifts[..., :1], 0, height - 1)
    columns = np.clip(np.arange(width) - shifts[..., 1:], 0, width - 1)
    return np.asarray(images[frames[..., None, None], rows[..., :, None], columns[..., None, :]])


def bootstrap_weights(windows: Int[np.ndarray, " batch"], num_heads: int, fraction: float, seed: int) -> Float[np.ndarray, "head batch"]:
    """Which windows each head learns from, with mean weight 1: a hash of window and head, the same at every visit.

    Windows whose first frames lie within the same 16 share their weight, because they tell nearly the same story.
    """
    key = (windows // 16).astype(np.uint64)[None] * np.uint64(0x9E3779B97F4A7C15)
    key = key + np.arange(1, num_heads + 1, dtype=np.uint64)[:, None] * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        key = (key ^ (key >> np.uint64(shift))) * np.uint64(factor)
    uniform = ((key ^ (key >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return ((uniform < fraction) / fraction).astype(np.float32)


def known(values: Float[np.ndarray, "*batch number"]) -> Bool[np.ndarray, "*batch"]:
    """Where every number is finite."""
    return np.asarray(np.isfinite(values).all(-1))


SMALLEST_STD = {"proprio": 1e-3, "pose": 5e-3}  # numbers that hardly vary are not blown up


def pose_labels(cache: Frames, symmetry: int) -> Float[np.ndarray, "frame pose"]:
    """`pose_names` of every frame: the tool's from proprioception, the objects' from their recorded poses (NaN where unknown)."""
    pose = np.asarray(cache.object_pose, np.float64)
    pose = pose.reshape(len(pose), -1, 7)
    turn = symmetry * upright_turn(pose[..., 3:], symmetry)
    things = np.concatenate([pose[..., :3], np.cos(turn)[..., None], np.sin(turn)[..., None]], -1)
    return np.concatenate([np.asarray(cache.proprio)[:, :OBJECT_START], things.reshape(len(pose), -1)], -1).astype(np.float32)


def object_numbers(labels: Float[np.ndarray, "*batch pose"]) -> Float[np.ndarray, "*batch object 5"]:
    """The numbers of the objects, as `pose_head.objects` gives them."""
    return labels[..., OBJECT_START:].reshape(*labels.shape[:-1], -1, NUM_OBJECT)


def model_spec(cache: Frames, config: ModelConfig) -> ModelSpec:
    """The model that fits this data; raises `DataError` when the pictures have another size than the configuration says."""
    side = config.image_size
    for name in cache.cameras:
        shape = cache.images[name].shape
        if shape[1:] != (side, side, 3):
            raise DataError(
                f"camera {name!r} of {cache.dataset_id} has pictures of {shape[1:]}; the model takes ({side}, {side}, 3): "
                f"set model.image_size, or build the cache at that size"
            )
    train = np.repeat(np.asarray(cache.is_train, bool), np.diff(cache.episode_starts))
    if not train.any():
        raise DataError(f"{cache.dataset_id} has no training episode; check the dataset's split")
    proprio, labels = np.asarray(cache.proprio)[train], pose_labels(cache, config.object_symmetry)[train]
    labels = np.where(np.isfinite(labels).any(0), labels, 0.0)
    return ModelSpec(
        config, cache.cameras, cache.action_spec,
        _normaliser(proprio, SMALLEST_STD["proprio"]), _pose_normaliser(labels, SMALLEST_STD["pose"]),
        cache.action_spec.proprio_names,
    )  # fmt: skip


def _normaliser(values: np.ndarray, smallest: float) -> Normaliser:
    mean, std = np.asarray(np.nanmean(values, 0, dtype=np.float64)), np.asarray(np.nanstd(values, 0, dtype=np.float64))
    return Normaliser(tuple(float(x) for x in mean), tuple(float(max(x, smallest)) for x in std))


def _pose_normaliser(labels: np.ndarray, smallest: float) -> Normaliser:
    """Positions by their statistics (one scale for x, y and z of a thing, as millimetres are alike); turns as they are."""
    plain = _normaliser(labels, smallest)
    mean, std = list(plain.mean), list(plain.std)
    for first in (0, *range(OBJECT_START, len(mean), NUM_OBJECT)):
        std[first : first + 3] = [float(np.sqrt(np.mean(np.square(std[first : first + 3]))))] * 3
        mean[first + 3 : first + 5], std[first + 3 : first + 5] = [0.0, 0.0], [0.7, 0.7]
    return Normaliser(tuple(mean), tuple(std))
