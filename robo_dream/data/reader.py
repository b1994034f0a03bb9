"""Reads a LeRobotDataset v3.0: ours in full, anybody's as far as images, state and actions go."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, UInt8

from robo_dream import store
from robo_dream.data import layout, metadata
from robo_dream.data.episode import Episode
from robo_dream.data.features import DONE, LABEL_STD, REWARD, camera_key, camera_names, column, decode_mp4, pictures
from robo_dream.data.joints import JointReading, Joints
from robo_dream.data.spec import CameraSpec, DatasetSpec
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import DataError, one_line
from robo_dream.foreign import BUDGET, filled, inside, parse_json, require_budget, whole_number

Parsed = TypeVar("Parsed")

_DISAGREEING = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, pa.ArrowException)
"""What reading numbers that are not what the metadata say may raise."""


@dataclass(frozen=True)
class Video:
    """What was seen in an episode, and what was done as far as anybody wrote it down: NaN where nobody did."""

    images: Mapping[str, UInt8[np.ndarray, "frame height width 3"]]
    actions: Float32[np.ndarray, "frame action"]


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk as it was when opened; episodes appended later are seen by opening it again."""

    root: Path
    spec: DatasetSpec
    info: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    tasks: tuple[str, ...]
    reading: JointReading | None = None  # of a recording of joints: how they are read

    @classmethod
    def open(
        cls,
        root: Path | str,
        cameras: tuple[str, ...] | None = None,
        action_spec: ActionSpec | None = None,
        reading: JointReading | None = None,
        is_video: bool = False,
    ) -> "Dataset":
        """The dataset in `root`; raises `DataError` saying what is missing, damaged or not what was asked for.

        What its metadata say is not trusted: files are those inside `root`, and nothing is larger than `foreign.BUDGET`.
        `cameras` and `action_spec` are what the caller needs. A dataset that robo_dream did not write opens only with an
        `action_spec`, since the format does not say what its actions mean, or with a `reading`, which says it of an arm's joints.
        With `is_video` it may be one that has no actions and says nothing of the arm, of which `video` alone is read.
        """
        root = store.place(root)
        info = metadata.read_info(root)
        features = info["features"]
        if reading is not None:
            spec = reading.spec(root, info)
        elif store.exists(root / layout.SPEC):
            spec = metadata.read_spec(root)
        elif action_spec is not None:
            spec = _foreign_spec(root, info, action_spec, is_video)
        else:
            raise DataError(
                f"{root} was not written by robo_dream ({layout.SPEC} is missing), and is no recording of joints; "
                f"pass the action_spec its actions have"
            )
        for name in dict.fromkeys([*(cameras or ()), *spec.camera_names]):
            camera_key(features, name)
        if reading is None and abs(info["fps"] - spec.fps) > 1e-6 * spec.fps:
            raise DataError(f"{root} is at {info['fps']} fps; a control period of {spec.action_spec.control_dt} s needs {spec.fps}")
        size = features.get("action", {}).get("shape", [0])[0]
        if size != spec.action_spec.size and not (is_video and not size):
            raise DataError(f"{root} has actions of {size} numbers; expected {spec.action_spec.size}: {spec.action_spec.names}")
        differences = spec.action_spec.differences(action_spec) if action_spec is not None else []
        if differences:
            raise DataError(f"{root} has other actions than asked for: {'; '.join(differences)}; use data made with the same arm settings")
        rows = metadata.read_episode_rows(root, info["total_episodes"]).to_pylist()
        for row in rows:
            for name, low in (("length", 1), ("data/chunk_index", 0), ("data/file_index", 0)):
                whole_number(row.get(name), name, f"the metadata of episode {row['episode_index']} in {root}", low)
        return cls(root, spec, info, tuple(rows), tuple(metadata.read_tasks(root)), reading)

    @property
    def every(self) -> int:
        """Recorded frames in a control step."""
        return 1 if self.reading is None else self.reading.every(self.info["fps"], self.root)

    @property
    def episode_tasks(self) -> tuple[str, ...]:
        return tuple(_first_text(row["tasks"], "tasks") for row in self.rows)

    @property
    def num_episodes(self) -> int:
        return len(self.rows)

    @property
    def num_frames(self) -> int:
        return sum(self.length(i) for i in range(self.num_episodes))

    @property
    def fingerprint(self) -> str:
        """Changes whenever a committed episode does; costs nothing to compute."""
        content = self.rows[-1].get("robo_dream/digest") if self.rows else ""
        text = json.dumps([self.spec.to_json(), content or [dict(row) for row in self.rows]], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        return self.num_episodes

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(i) for i in range(self.num_episodes))

    def length(self, index: int) -> int:
        """Observations in episode `index`."""
        return -(-int(self._row(index)["length"]) // self.every)

    def require_lengths(self) -> None:
        """Raises `DataError` where a data file has fewer rows than its episodes are said to have; costs a look at the end of each."""
        claimed: dict[Path, int] = {}
        for row in self.rows:
            path = self._data_path(row)
            claimed[path] = claimed.get(path, 0) + int(row["length"])
        for path, length in claimed.items():
            if not store.exists(path) or (found := metadata.num_rows(path)) < length:
                has = f"{found} rows" if store.exists(path) else "no file"
                raise DataError(f"{path}: there are {has} where the metadata say {length}; restore the dataset")

    @property
    def has_pseudo_actions(self) -> bool:
        """Whether a checkpoint told some of its actions."""
        return LABEL_STD in self.info["features"]

    def is_train(self, index: int) -> bool:
        """Whether it may be learned from. One with pseudo-actions is not held out: nothing is measured by what a checkpoint told."""
        if self._row(index).get("robo_dream/num_pseudo"):
            return True
        split = self._row(index).get("robo_dream/split")
        return self.spec.split_rule.is_train(index) if split is None else split == "train"

    def episode(self, index: int) -> Episode:
        """Episode `index`; raises `DataError` naming the file when it is missing, damaged or disagrees with the metadata."""
        return self._read(index, self._parse)

    def joints(self, index: int) -> tuple[Joints, Joints]:
        """Where the joints of episode `index` of a recording were at each recorded frame, and their targets: rad, and closure last."""
        return self._read(index, lambda table, row: self._joints(table))

    def video(self, index: int, cameras: tuple[str, ...]) -> Video:
        """What `cameras` saw in episode `index`, and its actions with NaN where there are none; raises as `episode` does."""
        return self._read(index, lambda table, row: self._video_of(table, row, cameras))

    def data_path(self, index: int) -> Path:
        """The file that holds the numbers of episode `index`, and perhaps of others."""
        return self._data_path(self._row(index))

    def _read(self, index: int, parse: Callable[[pa.Table, Mapping[str, Any]], Parsed]) -> Parsed:
        row = self._row(index)
        try:
            path = self._data_path(row)
            return parse(self._table(row, path), row)
        except DataError as error:
            raise DataError(f"episode {index} ({self.root}): {one_line(error)}") from None
        except _DISAGREEING as error:
            raise DataError(
                f"episode {index} ({self.root}): its data and its metadata do not fit together ({repr(error)[:500]}); restore them"
            ) from None

    def _row(self, index: int) -> Mapping[str, Any]:
        if not 0 <= index < self.num_episodes:
            raise IndexError(f"episode {index} of {self.num_episodes} in {self.root}")
        return self.rows[index]

    def _data_path(self, row: Mapping[str, Any]) -> Path:
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        said_by = f"{layout.INFO}'s data_path"
        return inside(self.root, filled(self.info["data_path"], place, said_by), said_by)

    def _table(self, row: Mapping[str, Any], path: Path) -> pa.Table:
        data = layout.read_file(path)
        _check_sha256(path, data, row.get("robo_dream/data_sha256"))
        table = metadata.parse_parquet(data, path)
        if "episode_index" in table.column_names:  # many episodes may share a file
            table = table.filter(pc.field("episode_index") == row["episode_index"])
        if table.num_rows != row["length"]:
            raise DataError(f"{path} has {table.num_rows} rows of episode {row['episode_index']}; its metadata says {row['length']}")
        return table

    def _video_keys(self) -> list[str]:
        return [key for key, feature in self.info["features"].items() if feature["dtype"] == "video"]

    def _video(self, row: Mapping[str, Any], key: str) -> bytes:
        place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        said_by = f"{layout.INFO}'s video_path"
        path = inside(self.root, filled(self.info.get("video_path"), {"video_key": key, **place}, said_by), said_by)
        data = layout.read_file(path)
        _check_sha256(path, data, row.get(f"robo_dream/{key}/sha256"))
        return data

    def _images(self, table: pa.Table, row: Mapping[str, Any], camera: CameraSpec) -> np.ndarray:
        key = camera_key(self.info["features"], camera.name)
        size = -(-table.num_rows // self.every) * camera.height * camera.width * 3
        require_budget(size, BUDGET.pictures, f"the pictures of camera {camera.name!r} in one episode", "bytes")
        if self.info["features"][key]["dtype"] == "video":
            start, square = float(row[f"videos/{key}/from_timestamp"]), None if self.reading is None else self.reading.square
            images = decode_mp4(self._video(row, key), start, table.num_rows, self.every, square)
        else:
            images = pictures(table.take(np.arange(0, table.num_rows, self.every)) if self.every > 1 else table, key)
            images = images if self.reading is None else np.stack([self.reading.square(image) for image in images])
        if images.shape[1:3] != (camera.height, camera.width):
            raise DataError(f"camera {camera.name!r} has pictures of {images.shape[1:3]}; expected {(camera.height, camera.width)}")
        return images

    def _parse(self, table: pa.Table, row: Mapping[str, Any]) -> Episode:
        spec, frames, fps = self.spec, table.num_rows, self.info["fps"]
        stamps = column(table, "timestamp", 1, np.float64)
        if not np.allclose(stamps, np.arange(frames) / fps, atol=0.1 / fps):
            raise DataError(f"timestamps step by {np.diff(stamps).mean():.4g} s; {fps} fps needs {1 / fps:.4g} s")
        if self.reading is not None:
            return self._recorded(self.reading, table, row)
        have = set(table.column_names)
        pose_size = self.info["features"].get("observation.environment_state", {}).get("shape", [0])[0]
        size = 7 * spec.num_objects
        known = pose_size == size
        pose = column(table, "observation.environment_state", size, np.float32) if known else np.full((frames, size), np.nan, np.float32)
        state = column(table, "observation.sim_state", spec.sim_state_size, np.float64) if spec.sim_state_size else np.zeros((frames, 0))
        known = len(spec.proprio_names)
        proprio = _finite(table, "observation.state", known) if known else np.zeros((frames, 0), np.float32)
        actions = _finite(table, "action", spec.action_spec.size, last=False)
        return Episode(
            images={camera.name: self._images(table, row, camera) for camera in spec.cameras},
            proprio=proprio,
            actions=actions,
            object_pose=pose,
            sim_state=state.reshape(frames, -1) if spec.sim_state_size else state,
            times=column(table, "source_time", 1, np.float64) if "source_time" in have else stamps,
            skill=column(table, "skill", 1, np.int64) if "skill" in have else np.zeros(frames, np.int64),
            task=_first_text(row["tasks"], "tasks"),
            seed=row.get("robo_dream/seed", 0),
            behavior=row.get("robo_dream/behavior", ""),
            info=_object(row.get("robo_dream/info", "{}"), "robo_dream/info"),
            action_std=_finite(table, LABEL_STD, spec.action_spec.size, last=False) if self.has_pseudo_actions else None,
            rewards=_finite(table, REWARD, 1, last=False).reshape(-1) if spec.has_rewards else None,
            terminated=spec.has_rewards and bool(column(table, DONE, 1, np.bool_)[-2]),
        )

    def _video_of(self, table: pa.Table, row: Mapping[str, Any], cameras: tuple[str, ...]) -> Video:
        size = self.spec.action_spec.size
        actions = np.full((table.num_rows, size), np.nan, np.float32)
        if "action" in table.column_names:
            actions = column(table, "action", size, np.float32).reshape(table.num_rows, size)
        return Video({one.name: self._images(table, row, one) for one in self.spec.cameras if one.name in cameras}, actions)

    def _joints(self, table: pa.Table) -> tuple[Joints, Joints]:
        assert self.reading is not None
        features, size = self.info["features"], self.spec.action_spec.size
        state, action = (
            self.reading.joints(_finite(table, key, size), key, features, self.root) for key in ("observation.state", "action")
        )
        return state, action

    def _recorded(self, reading: JointReading, table: pa.Table, row: Mapping[str, Any]) -> Episode:
        state, in_force = reading.told(*self._joints(table), self.every)
        frames = len(state)
        return Episode(
            images={camera.name: self._images(table, row, camera) for camera in self.spec.cameras},
            proprio=reading.proprio(state, in_force),
            actions=np.diff(in_force, axis=0).astype(np.float32),
            object_pose=np.full((frames, 7 * self.spec.num_objects), np.nan, np.float32),
            sim_state=np.zeros((frames, 0)),
            times=np.arange(frames) * reading.action_spec.control_dt,
            skill=np.zeros(frames, np.int64),
            task=_first_text(row["tasks"], "tasks"),
        )


def _finite(table: pa.Table, key: str, size: int, last: bool = True) -> Float32[np.ndarray, "frame number"]:
    """The numbers in the column `key`, all rows or all but the `last`; raises `DataError` for one that is not finite."""
    values = column(table, key, size, np.float32).reshape(table.num_rows, -1)
    values = values if last else values[:-1]
    if not np.isfinite(values).all():
        at, part = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{key} is {values[at, part]} at frame {at}, number {part}; expected finite numbers: drop the episode")
    return values


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"its metadata has {name} {str(value)[:100]!r}; expected a text")
    return value


def _first_text(values: Any, name: str) -> str:
    if not isinstance(values, list) or not values:
        raise DataError(f"its metadata has {name} {str(values)[:100]!r}; expected a list of texts")
    return _text(values[0], name)


def _object(text: Any, name: str) -> Mapping[str, Any]:
    value = parse_json(_text(text, name), f"its metadata's {name}")
    if not isinstance(value, dict):
        raise DataError(f"its metadata's {name} is {str(value)[:100]!r}; expected a JSON object")
    return value


def _check_sha256(path: Path, data: bytes, sha256: str | None) -> None:
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{path} ({len(data)} bytes) is not the file that was written; it is truncated or damaged: restore it")


def _foreign_spec(root: Path, info: Mapping[str, Any], action_spec: ActionSpec, is_video: bool) -> DatasetSpec:
    features = info["features"]
    cameras = []
    for name in camera_names(features):
        feature = features[camera_key(features, name)]
        channels_last = feature["names"][2] in ("channel", "channels", "c")
        height, width = feature["shape"][:2] if channels_last else feature["shape"][1:]
        cameras.append(CameraSpec(name, height, width))
    if "observation.state" not in features and is_video:
        return DatasetSpec(action_spec, tuple(cameras), (), robot_type=str(info.get("robot_type")))
    if "observation.state" not in features:
        raise DataError(f"{root} has no observation.state; it has {sorted(features)}: a dataset without proprioception cannot be used")
    size = features["observation.state"]["shape"][0]
    names = features["observation.state"]["names"]
    names = tuple(names) if isinstance(names, list) and len(names) == size else tuple(f"state_{i}" for i in range(size))
    return DatasetSpec(action_spec, tuple(cameras), names, robot_type=str(info.get("robot_type")))
