"""Which episodes are held out: a rule of seed and episode number alone, so that appending never moves an episode."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from robo_dream.embodiment import PROPRIO_NAMES, ActionSpec, Intrinsics
from robo_dream.errors import ContractError


@dataclass(frozen=True)
class SplitRule:
    """One episode of every block of round(1 / test_fraction) is held out; which one is a hash of the seed and the block.

    So the fraction is exact and even a small dataset has a held-out episode.
    """

    seed: int
    test_fraction: float

    def check(self) -> None:
        if not 0 < self.test_fraction <= 0.5:
            raise ContractError(f"test_fraction is {self.test_fraction}; allowed: above 0, at most 0.5 (0.05 to 0.1 is usual)")

    @property
    def block(self) -> int:
        return round(1 / self.test_fraction)

    def is_train(self, episode_index: int) -> bool:
        block_index, place = divmod(episode_index, self.block)
        digest = hashlib.sha256(f"{self.seed}:{block_index}".encode()).digest()
        return place != int.from_bytes(digest[:8], "big") % self.block

    def to_json(self) -> dict[str, Any]:
        return {
            "test_fraction": self.test_fraction,
            "rule": f"test when index % {self.block} == uint64(sha256('<seed>:<index // {self.block}>')[:8], big endian) % {self.block}",
        }


def split_ranges(is_train: Sequence[bool]) -> dict[str, str]:
    """LeRobot's "splits" entry: half-open episode ranges such as `{"train": "0:3,4:10", "test": "3:4"}`.

    LeRobot itself writes one range a split and reads none; several ranges are joined by commas.
    """
    ranges: dict[str, list[str]] = {"train": [], "test": []}
    start = 0
    for i in range(1, len(is_train) + 1):
        if i == len(is_train) or is_train[i] != is_train[start]:
            ranges["train" if is_train[start] else "test"].append(f"{start}:{i}")
            start = i
    return {name: ",".join(parts) for name, parts in ranges.items() if parts}


Storage = Literal["image", "video"]


@dataclass(frozen=True)
class CameraSpec:
    """One camera of a dataset: name, picture size in pixels, and where it looks when that is known.

    `world_from_camera` is a 4x4 pose as nested tuples, camera axes x right, y down, z forward (OpenCV).
    Poses that change from episode to episode belong in `Episode.info`.
    """

    name: str
    height: int
    width: int
    intrinsics: Intrinsics | None = None
    world_from_camera: tuple[tuple[float, ...], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CameraSpec":
        intrinsics = Intrinsics(**data["intrinsics"]) if data["intrinsics"] else None
        pose = tuple(tuple(float(x) for x in row) for row in data["world_from_camera"]) if data["world_from_camera"] else None
        return cls(data["name"], int(data["height"]), int(data["width"]), intrinsics, pose)


@dataclass(frozen=True)
class DatasetSpec:
    """The contract between a dataset and its episodes; it is written once, to meta/robo_dream.json.

    A dataset without cameras keeps what was done and where things were; a policy that sees poses learns from that.

    `storage` "image" keeps each picture as a lossless PNG inside the parquet file, "video" as H.264 (lossy) beside it.
    `picture_every` n: cameras slower than control, with a new picture at an episode's first observation and at every n-th after it;
    the others repeat it.
    With `has_rewards` each action has a reward, and the episode says whether it ended or was broken off.
    `skills` names the values of `Episode.skill`. `seed` and `test_fraction` fix which episodes are held out (split.py).
    `recipe` is any JSON that says how the data was made.
    """

    action_spec: ActionSpec
    cameras: tuple[CameraSpec, ...]
    proprio_names: tuple[str, ...] = PROPRIO_NAMES
    sim_state_size: int = 0
    num_objects: int = 1  # whose poses `Episode.object_pose` tells
    skills: tuple[str, ...] = ("unlabelled",)
    robot_type: str = "unknown"
    storage: Storage = "image"
    picture_every: int = 1
    seed: int = 0
    test_fraction: float = 0.1
    recipe: Mapping[str, Any] = field(default_factory=dict)
    has_rewards: bool = False

    def __post_init__(self) -> None:
        names = self.camera_names
        if len(set(names)) != len(names) or not all(name and "/" not in name for name in names):
            raise ContractError(f"cameras are named {names}; give each its own name, with no '/' in it")
        if self.num_objects < 1:
            raise ContractError(f"num_objects is {self.num_objects}; it must be at least 1 (where there is none, its pose is NaN)")
        if self.picture_every < 1:
            raise ContractError(f"picture_every is {self.picture_every} observations; it must be at least 1")
        if not self.skills:
            raise ContractError("a dataset needs at least one skill name; leave the default for unlabelled data")
        if self.storage not in ("image", "video"):
            raise ContractError(f"storage is {self.storage!r}; allowed: 'image' (lossless PNG) or 'video' (H.264)")
        odd = [camera.name for camera in self.cameras if camera.height % 2 or camera.width % 2]
        if self.storage == "video" and odd:
            raise ContractError(f"H.264 needs even picture sizes, which {odd} lack; change the size or use storage 'image'")
        self.split_rule.check()

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    @property
    def split_rule(self) -> SplitRule:
        return SplitRule(self.seed, self.test_fraction)

    @property
    def fps(self) -> int | float:
        """Control steps per second, an int when it is one (as LeRobot writes it)."""
        fps = 1 / self.action_spec.control_dt
        return round(fps) if abs(fps - round(fps)) < 1e-6 * fps else fps

    def to_json(self) -> dict[str, Any]:
        return {
            "action_spec": self.action_spec.to_json(),
            "cameras": [camera.to_json() for camera in self.cameras],
            "proprio_names": list(self.proprio_names),
            "sim_state_size": self.sim_state_size,
            "num_objects": self.num_objects,
            "skills": list(self.skills),
            "robot_type": self.robot_type,
            "storage": self.storage,
            **({} if self.picture_every == 1 else {"picture_every": self.picture_every}),  # fingerprints of older datasets stay
            **({"has_rewards": True} if self.has_rewards else {}),
            "seed": self.seed,
            "split_rule": self.split_rule.to_json(),
            "recipe": dict(self.recipe),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DatasetSpec":
        return cls(
            action_spec=ActionSpec.from_json(data["action_spec"]),
            cameras=tuple(CameraSpec.from_json(camera) for camera in data["cameras"]),
            proprio_names=tuple(data["proprio_names"]),
            sim_state_size=int(data["sim_state_size"]),
            num_objects=int(data.get("num_objects", 1)),
            skills=tuple(data["skills"]),
            robot_type=data["robot_type"],
            storage=data["storage"],
            picture_every=int(data.get("picture_every", 1)),
            seed=int(data["seed"]),
            test_fraction=float(data["split_rule"]["test_fraction"]),
            recipe=data["recipe"],
            has_rewards=bool(data.get("has_rewards", False)),
        )

    def differences(self, other: "DatasetSpec") -> list[str]:
        """Sentences that say why episodes of `other` cannot join this dataset; empty when they can. Recipes may differ."""
        found = [f"action {sentence}" for sentence in self.action_spec.differences(other.action_spec)]
        mine = {camera.name: (camera.height, camera.width) for camera in self.cameras}
        theirs = {camera.name: (camera.height, camera.width) for camera in other.cameras}
        if mine != theirs:
            found.append(f"cameras (height, width): {mine} against {theirs}")
        keys = ("proprio_names", "sim_state_size", "num_objects", "skills", "storage", "picture_every", "has_rewards")
        pairs = [(key, getattr(self, key), getattr(other, key)) for key in keys]
        return found + [f"{key}: {mine} against {theirs}" for key, mine, theirs in pairs if mine != theirs]
