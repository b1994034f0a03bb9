"""The recorded regime: training is handed pictures, joints and actions, and what these tell by themselves."""

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

from robo_dream.data.cache import FrameCache, HeldPictures
from robo_dream.data.streamed import StreamedPictures
from robo_dream.embodiment import ActionSpec
from robo_dream.training.grasps import GraspConfig, Held, held_poses

# What an episode is made of, where nobody says so: carryings from place to place, in turn, so that neighbours differ; and the rest.
CYCLES = ("carrying", "carrying_next")
NOTHING_HELD = "nothing_held"
_STEP, _MOVED = 5e-4, 0.02  # metres from one known frame to the next, and altogether, below which a thing stays


@runtime_checkable
class Recording(Protocol):
    """What a bench records. `FrameCache` has more; who takes a `Recording` cannot read it."""

    @property
    def cameras(self) -> tuple[str, ...]: ...

    @property
    def images(self) -> Any:
        """As in `Frames.images`."""
        ...

    @property
    def picture_every(self) -> int: ...

    @property
    def proprio(self) -> np.ndarray: ...

    @property
    def actions(self) -> np.ndarray: ...

    @property
    def action_std(self) -> np.ndarray | None:
        """As in `Frames.action_std`."""
        ...

    @property
    def episode_starts(self) -> np.ndarray: ...

    @property
    def is_train(self) -> np.ndarray: ...

    @property
    def action_spec(self) -> ActionSpec: ...

    @property
    def control_dt(self) -> float: ...


def told(recording: Recording, grasps: GraspConfig) -> list[Held]:
    """What joints tell of each episode (`held_poses`). Raises `DataError` where nothing was grasped."""
    proprio = np.asarray(recording.proprio)
    return held_poses([proprio[a:b] for a, b in itertools.pairwise(recording.episode_starts)], grasps, recording.control_dt)


def recorded(recording: Recording, grasps: GraspConfig | None, held: Sequence[Held] = (), num_objects: int = 1) -> FrameCache:
    """Frames whose poses and skills (`CYCLES`) are those of `held`: what joints `told`; with no `grasps`, none are told.

    Of several things joints do not say which was held, nor how switches stand, so of several of `num_objects` poses are not told yet.

    `dataset_id` is a hash of what was recorded: the same whatever else lies beside it.
    """
    bounds = np.asarray(recording.episode_starts, np.int64)
    proprio = np.asarray(recording.proprio)
    pose = np.full((len(proprio), 7 * num_objects), np.nan, np.float32)
    skill = np.full(len(proprio), len(CYCLES), np.int64)
    if grasps is not None:
        spans = [slice(first, end) for first, end in itertools.pairwise(bounds)]
        for span, one in zip(spans, held, strict=True):
            steps = (round(seconds / recording.control_dt) for seconds in (grasps.approach, grasps.retreat))
            skill[span] = _cycles([(hold.first, hold.last) for hold in one.holds], len(one.pose), *steps)
            if num_objects == 1:
                pose[span] = upright(one.pose)
    return FrameCache(
        cameras=recording.cameras, images=recording.images, proprio=proprio, actions=np.asarray(recording.actions),
        object_pose=pose, skill=skill, sim_state=np.zeros((len(proprio), 0)), episode_starts=bounds,
        is_train=np.asarray(recording.is_train), skills=(*CYCLES, NOTHING_HELD), action_spec=recording.action_spec,
        control_dt=recording.control_dt, dataset_id=fingerprint(recording), picture_every=recording.picture_every,
        action_std=recording.action_std,
    )  # fmt: skip


def fingerprint(recording: Recording) -> str:
    """Changes with every picture, joint and action, and with nothing else."""
    digest = hashlib.sha256(" ".join(recording.cameras).encode())
    for array in (recording.proprio, recording.actions, recording.episode_starts, recording.is_train):
        digest.update(np.ascontiguousarray(array).tobytes())
    if recording.action_std is not None:
        digest.update(np.ascontiguousarray(recording.action_std).tobytes())
    for name in recording.cameras:
        images = recording.images[name]
        if isinstance(images, StreamedPictures):
            digest.update(images.fingerprint.encode())
            continue
        kept = images.kept if isinstance(images, HeldPictures) else images
        for some in range(0, len(kept), 1024):
            digest.update(np.ascontiguousarray(kept[some : some + 1024]).tobytes())
    return digest.hexdigest()


def upright(pose: Float[np.ndarray, "frame 4"]) -> Float[np.ndarray, "frame 7"]:
    """Metres and wxyz, of x, y, z and yaw."""
    half, zero = 0.5 * pose[:, 3], np.where(np.isnan(pose[:, 3]), np.nan, 0.0)
    return np.stack([*pose[:, :3].T, np.cos(half), zero, zero, np.sin(half)], -1).astype(np.float32)


def cycles_of(
    object_pose: Float[np.ndarray, "frame pose"], episode_starts: Sequence[int], grasps: GraspConfig, control_dt: float
) -> Int64[np.ndarray, " frame"]:
    """Which of `CYCLES` each frame belongs to where any of several things was moved, as its poses tell: slides and switches, too."""
    steps = tuple(round(seconds / control_dt) for seconds in (grasps.approach, grasps.retreat))
    skill = np.full(len(object_pose), len(CYCLES), np.int64)
    for first, end in itertools.pairwise(episode_starts):
        positions = object_pose[first:end].reshape(end - first, -1, 7)[..., :3]
        moves = sorted(move for thing in range(positions.shape[1]) for move in _moves(positions[:, thing]))
        joined: list[tuple[int, int]] = []
        for one in moves:  # what is moved at once, or a moment later, is one cycle
            if joined and one[0] <= joined[-1][1] + 1:
                joined[-1] = joined[-1][0], max(joined[-1][1], one[1])
            else:
                joined.append(one)
        skill[first:end] = _cycles(joined, end - first, *steps)
    return skill


def _moves(positions: Float[np.ndarray, "frame 3"]) -> list[tuple[int, int]]:
    """First and last frames of each time in which a thing went elsewhere, from known to known."""
    known = np.flatnonzero(np.isfinite(positions).all(-1))
    away = np.linalg.norm(np.diff(positions[known], axis=0), axis=-1) > _STEP
    edges = np.flatnonzero(np.diff(away, prepend=False, append=False))
    spans = [(int(known[one]), int(known[other])) for one, other in zip(edges[::2], edges[1::2], strict=True)]
    return [(one, other) for one, other in spans if np.linalg.norm(positions[other] - positions[one]) > _MOVED]


def _cycles(moves: Sequence[tuple[int, int]], length: int, approach: int, retreat: int) -> Int64[np.ndarray, " frame"]:
    """Which of `CYCLES` each frame belongs to: `approach` frames before a thing was taken, the move, `retreat` frames after it was left.

    So at the end of each a thing is where it was brought and the hand has left it. Other frames belong to none.
    """
    skill = np.full(length, len(CYCLES), np.int64)
    begins = 0
    for number, (first, last) in enumerate(moves):
        let_go, is_last = last + 1, number + 1 == len(moves)
        free = length - let_go if is_last else (moves[number + 1][0] - let_go) // 2
        ends = let_go + min(retreat, free)
        skill[max(begins, first - approach) : ends] = number % len(CYCLES)
        begins = ends
    return skill
