"""The recorded regime: training is handed pictures, joints and actions, and what these tell by themselves."""

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

from robo_dream.data.cache import FrameCache, HeldPictures
from robo_dream.embodiment import ActionSpec
from robo_dream.training.grasps import GraspConfig, Held, held_poses

# What an episode is made of, where nobody says so: carryings from place to place, in turn, so that neighbours differ; and the rest.
CYCLES = ("carrying", "carrying_next")
NOTHING_HELD = "nothing_held"


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
            skill[span] = _cycles(one, *steps)
            if num_objects == 1:
                pose[span] = upright(one.pose)
    return FrameCache(
        cameras=recording.cameras, images=recording.images, proprio=proprio, actions=np.asarray(recording.actions),
        object_pose=pose, skill=skill, sim_state=np.zeros((len(proprio), 0)), episode_starts=bounds,
        is_train=np.asarray(recording.is_train), skills=(*CYCLES, NOTHING_HELD), action_spec=recording.action_spec,
        control_dt=recording.control_dt, dataset_id=fingerprint(recording), picture_every=recording.picture_every,
    )  # fmt: skip


def fingerprint(recording: Recording) -> str:
    """Changes with every picture, joint and action, and with nothing else."""
    digest = hashlib.sha256(" ".join(recording.cameras).encode())
    for array in (recording.proprio, recording.actions, recording.episode_starts, recording.is_train):
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in recording.cameras:
        images = recording.images[name]
        kept = images.kept if isinstance(images, HeldPictures) else images
        for some in range(0, len(kept), 1024):
            digest.update(np.ascontiguousarray(kept[some : some + 1024]).tobytes())
    return digest.hexdigest()


def upright(pose: Float[np.ndarray, "frame 4"]) -> Float[np.ndarray, "frame 7"]:
    """Metres and wxyz, of x, y, z and yaw."""
    half, zero = 0.5 * pose[:, 3], np.where(np.isnan(pose[:, 3]), np.nan, 0.0)
    return np.stack([*pose[:, :3].T, np.cos(half), zero, zero, np.sin(half)], -1).astype(np.float32)


def _cycles(held: Held, approach: int, retreat: int) -> Int64[np.ndarray, " frame"]:
    """Which of `CYCLES` each frame belongs to: `approach` frames before a picking up, the carrying, `retreat` frames after the letting go.

    So at the end of each a thing is set down and the hand has left it. Other frames belong to none.
    """
    skill = np.full(len(held.pose), len(CYCLES), np.int64)
    begins = 0
    for number, hold in enumerate(held.holds):
        let_go, is_last = hold.last + 1, number + 1 == len(held.holds)
        free = len(skill) - let_go if is_last else (held.holds[number + 1].first - let_go) // 2
        ends = let_go + min(retreat, free)
        skill[max(begins, hold.first - approach) : ends] = number % len(CYCLES)
        begins = ends
    return skill
