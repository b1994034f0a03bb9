"""One episode: what was seen, felt and done, from the first observation to the last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from robo_dream.data.spec import DatasetSpec
from robo_dream.errors import ContractError


@dataclass(frozen=True)
class Episode:
    """T actions and T+1 observations; action t takes observation t to t+1.

    On disk it has T+1 rows; the last row's action is zero (nothing was done there) and its `next.done` is true. In a dataset with rewards
    the row before says by `next.done` whether the last action ended the episode, as it does in LeRobot's own, or whether it was broken off.
    Pictures that are not new (`DatasetSpec.picture_every`) repeat the last one.
    `object_pose` is x, y, z (metres) and a wxyz quaternion of every object, one after the other, NaN where unknown. `times` are
    monotonic seconds of the source.
    `skill` labels each observation with an index into `DatasetSpec.skills`. `info` is any JSON (success, camera jitter, ...).
    """

    images: Mapping[str, UInt8[np.ndarray, "frame height width 3"]]
    proprio: Float32[np.ndarray, "frame proprio"]
    actions: Float32[np.ndarray, "step action"]
    object_pose: Float32[np.ndarray, "frame pose"]
    sim_state: Float[np.ndarray, "frame state"]
    times: Float[np.ndarray, " frame"]
    skill: Int64[np.ndarray, " frame"]
    task: str
    seed: int = 0
    behavior: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    action_std: Float32[np.ndarray, "step action"] | None = None  # of a copy with pseudo-actions: how unsure each is; 0 of true ones
    rewards: Float32[np.ndarray, " step"] | None = None  # of each action, where the world gives any
    terminated: bool = False  # whether the last action ended it; else it was broken off

    @property
    def num_frames(self) -> int:
        return len(self.times)

    def check(self, spec: DatasetSpec) -> None:
        """Raises `ContractError` naming the first part that does not fit `spec`."""
        frames = self.num_frames
        if frames < 2:
            raise ContractError(f"episode has {frames} observations; at least 2 (one action) make an episode")
        missing = [name for name in spec.camera_names if name not in self.images]
        extra = sorted(set(self.images) - set(spec.camera_names))
        if missing or extra:
            raise ContractError(
                f"episode has cameras {sorted(self.images)}, missing {missing}, unexpected {extra}; "
                f"the dataset has {list(spec.camera_names)}"
            )
        shapes: dict[str, tuple[np.ndarray, tuple[int, ...], type]] = {
            "proprio": (self.proprio, (frames, len(spec.proprio_names)), np.float32),
            "actions": (self.actions, (frames - 1, spec.action_spec.size), np.float32),
            "object_pose": (self.object_pose, (frames, 7 * spec.num_objects), np.float32),
            "sim_state": (self.sim_state, (frames, spec.sim_state_size), np.float64),
            "times": (self.times, (frames,), np.float64),
            "skill": (self.skill, (frames,), np.int64),
        }
        if (self.rewards is None) == spec.has_rewards:
            has, takes = ("no rewards", "some") if self.rewards is None else ("rewards", "none")
            raise ContractError(f"episode has {has}, and the dataset takes {takes}; set has_rewards of its spec accordingly")
        if self.rewards is not None:
            shapes["rewards"] = (self.rewards, (frames - 1,), np.float32)
        for camera in spec.cameras:
            shapes[f"images[{camera.name!r}]"] = (self.images[camera.name], (frames, camera.height, camera.width, 3), np.uint8)
        for name, (array, shape, dtype) in shapes.items():
            if array.shape != shape or array.dtype != dtype:
                raise ContractError(
                    f"episode {name} is {array.dtype} {array.shape}; the dataset takes {np.dtype(dtype)} {shape} "
                    f"({frames} observations, one action fewer)"
                )
        newest = np.arange(frames) - np.arange(frames) % spec.picture_every
        for name in spec.camera_names:
            odd = [i for i, last in enumerate(newest) if last != i and not np.array_equal(self.images[name][i], self.images[name][last])]
            if odd:
                raise ContractError(
                    f"episode images[{name!r}] changes at observation {odd[0]}; the dataset has a new picture at every "
                    f"{spec.picture_every}th and repeats it in between"
                )
        for name in ("proprio", "actions", "times"):
            if not np.isfinite(getattr(self, name)).all():
                raise ContractError(f"episode {name} holds values that are not finite; record numbers or drop the episode")
        if self.rewards is not None and not np.isfinite(self.rewards).all():
            raise ContractError("episode rewards holds values that are not finite; record numbers or drop the episode")
        if not (np.diff(self.times) > 0).all():
            raise ContractError("episode times do not increase; give monotonic seconds, one for each observation")
        if self.skill.min() < 0 or self.skill.max() >= len(spec.skills):
            raise ContractError(
                f"episode skill labels run from {self.skill.min()} to {self.skill.max()}; the dataset has {dict(enumerate(spec.skills))}"
            )
        if self.action_std is not None:
            raise ContractError("episode has pseudo-actions, which a dataset of what was done does not take; see `robo-dream label`")
        if not self.task:
            raise ContractError("episode task is empty; say in words what was attempted")
