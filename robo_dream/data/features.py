"""Pictures as bytes: lossless PNG for a frame, H.264 in MP4 for a whole episode."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pyarrow as pa
from av.error import FFmpegError
from av.video.stream import VideoStream
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from robo_dream.data.episode import Episode
from robo_dream.data.spec import DatasetSpec
from robo_dream.errors import DataError, one_line
from robo_dream.foreign import BUDGET, require_budget


def encode_png(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """`image` as PNG, row differences at zlib level 1: 0.3 ms at 64 px where Pillow takes 0.8 ms for the same size."""
    height, width, _ = image.shape
    rows = np.empty((height, 1 + 3 * width), np.uint8)
    flat = image.reshape(height, 3 * width)
    rows[:, 0] = 2  # filter type "up": each row minus the one above
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)) + _chunk(b"IEND", b"")


def decode_png(data: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """The RGB picture in PNG (or any other format Pillow knows); raises `DataError` when it is damaged."""
    try:
        image = Image.open(io.BytesIO(data))
        require_budget(max(image.size), BUDGET.picture, "a stored picture", "pixels on a side")
        return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
        raise DataError(f"a stored picture of {len(data)} bytes does not decode ({one_line(error)}); the data file is damaged") from None


def encode_mp4(frames: UInt8[np.ndarray, "frame height width 3"], fps: int | float, crf: int = 18, gop: int = 10) -> bytes:
    """`frames` as H.264 in MP4 at `fps`, a keyframe every `gop` frames for random access."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": str(crf), "g": str(gop), "bf": "0", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def decode_mp4(
    data: bytes, start: float, num_frames: int, every: int = 1, made: Callable[[np.ndarray], np.ndarray] | None = None
) -> UInt8[np.ndarray, "frame height width 3"]:
    """RGB frames from `start` seconds on: of `num_frames` each `every`th, or what is `made` of it, so that large ones are not kept.

    Raises `DataError` when the file is damaged or ends too early.
    """
    frames: list[np.ndarray] = []
    found = 0
    try:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.video[0]
            require_budget(max(stream.width, stream.height), BUDGET.picture, "a video", "pixels on a side")
            size = 3 * stream.width * stream.height * (num_frames if made is None else 1)
            require_budget(size, BUDGET.pictures, "the episode in a video", "bytes of pictures")
            half_frame = 0.5 / float(stream.average_rate or 1)
            if start > 0 and stream.time_base:
                container.seek(int(start / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time is None or frame.time >= start - half_frame:
                    if found % every == 0:
                        image = frame.to_ndarray(format="rgb24")
                        frames.append(image if made is None else made(image))
                    found += 1
                if found == num_frames:
                    break
    except (FFmpegError, IndexError) as error:
        raise DataError(f"a video of {len(data)} bytes does not decode ({one_line(error)}); the file is truncated or damaged") from None
    if found != num_frames:
        raise DataError(f"a video has {found} frames from {start:.3f} s on; its episode has {num_frames}: the file is truncated")
    return np.stack(frames)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


INDEX_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
POSE_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz")
REWARD, DONE = "next.reward", "next.done"  # as LeRobot names them
LABEL_STD, IS_PSEUDO = "label.std", "label.is_pseudo"  # of a copy with pseudo-actions; LeRobot takes whatever begins with action for one


def camera_key(features: Mapping[str, Any], camera: str) -> str:
    """The feature that holds `camera`'s pictures; raises `DataError` naming the cameras there are."""
    for key in (f"observation.images.{camera}", f"observation.{camera}"):
        if features.get(key, {}).get("dtype") in ("image", "video"):
            return key
    raise DataError(f"no camera {camera!r} in the dataset; it has {sorted(camera_names(features))}")


def camera_names(features: Mapping[str, Any]) -> tuple[str, ...]:
    keys = [key for key, feature in features.items() if feature["dtype"] in ("image", "video")]
    return tuple(key.removeprefix("observation.").removeprefix("images.") for key in keys)


def lerobot_features(spec: DatasetSpec) -> dict[str, dict[str, Any]]:
    """The "features" entry of meta/info.json."""
    features: dict[str, dict[str, Any]] = {}
    for camera in spec.cameras:
        shape = [camera.height, camera.width, 3]
        feature: dict[str, Any] = {"dtype": spec.storage, "shape": shape, "names": ["height", "width", "channels"]}
        if spec.storage == "video":
            feature["info"] = {
                "video.height": camera.height, "video.width": camera.width, "video.channels": 3, "video.fps": spec.fps,
                "video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "has_audio": False,
            }  # fmt: skip
        features[f"observation.images.{camera.name}"] = feature
    if spec.proprio_names:
        features["observation.state"] = _feature("float32", len(spec.proprio_names), list(spec.proprio_names))
    features["action"] = _feature("float32", spec.action_spec.size, list(spec.action_spec.names))
    prefixes = ["", *(f"object_{number}_" for number in range(2, spec.num_objects + 1))]
    names = [f"{prefix}{name}" for prefix in prefixes for name in POSE_NAMES]
    features["observation.environment_state"] = _feature("float32", len(names), names)
    if spec.sim_state_size:
        features["observation.sim_state"] = _feature("float64", spec.sim_state_size)
    features["source_time"] = _feature("float64", 1)
    features["skill"] = _feature("int64", 1)
    if spec.has_rewards:
        features[REWARD] = _feature("float32", 1)
    features[DONE] = _feature("bool", 1)
    features["timestamp"] = _feature("float32", 1)
    features |= {key: _feature("int64", 1) for key in INDEX_COLUMNS[1:]}
    return features


def episode_arrays(episode: Episode) -> dict[str, np.ndarray]:
    """The columns of `episode` that are numbers, one row an observation, without the indices."""
    arrays = {
        "observation.state": episode.proprio,
        "action": np.concatenate([episode.actions, np.zeros_like(episode.actions[:1])]),
        "observation.environment_state": episode.object_pose,
        "observation.sim_state": episode.sim_state,
        "source_time": episode.times,
        "skill": episode.skill,
    }
    done = np.arange(episode.num_frames) == episode.num_frames - 1
    if episode.rewards is not None:
        arrays[REWARD] = np.append(episode.rewards, np.float32(0.0))
        done[-2] = episode.terminated
    arrays[DONE] = done
    return {key: array for key, array in arrays.items() if array.size}


def episode_table(episode: Episode, spec: DatasetSpec) -> pa.Table:
    """`episode` as rows of meta/info.json's features, without the index columns (and without video pictures)."""
    columns: dict[str, pa.Array] = {}
    if spec.storage == "image":
        for name in spec.camera_names:
            new = [encode_png(image) for image in episode.images[name][:: spec.picture_every]]
            pictures = pa.array([new[i // spec.picture_every] for i in range(episode.num_frames)], pa.binary())
            paths = pa.array([f"frame-{i:06d}.png" for i in range(episode.num_frames)], pa.string())
            columns[f"observation.images.{name}"] = pa.StructArray.from_arrays([pictures, paths], names=["bytes", "path"])
    columns |= {key: arrow_column(array) for key, array in episode_arrays(episode).items()}
    return pa.table(columns)


def with_indices(table: pa.Table, episode_index: int, first_frame: int, task_index: int, fps: float) -> pa.Table:
    """`table` with its place in the dataset: `timestamp` = `frame_index` / fps, as LeRobot needs to find video frames."""
    frames = np.arange(table.num_rows)
    columns = {
        "timestamp": (frames / fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full_like(frames, episode_index),
        "index": frames + first_frame,
        "task_index": np.full_like(frames, task_index),
    }
    for key, array in columns.items():
        table = table.append_column(key, pa.array(array))
    return table


def column(table: pa.Table, key: str, size: int, dtype: type) -> np.ndarray:
    """Column `key` as (row, size), or (row,) for size 1; raises `DataError` when it is missing or of another size."""
    if key not in table.column_names:
        raise DataError(f"column {key!r} is missing; the data file has {table.column_names}")
    chunk = table.column(key).combine_chunks()
    flat = chunk.flatten() if pa.types.is_nested(chunk.type) else chunk
    if len(flat) != size * table.num_rows:
        found = len(flat) / max(table.num_rows, 1)
        raise DataError(f"column {key!r} holds {found:g} numbers a row; expected {size}")
    array = np.asarray(flat.to_numpy(zero_copy_only=False)).astype(dtype)
    return array if size == 1 else array.reshape(table.num_rows, size)


def pictures(table: pa.Table, key: str) -> UInt8[np.ndarray, "frame height width 3"]:
    """The pictures stored in column `key`."""
    if key not in table.column_names:
        raise DataError(f"column {key!r} is missing; the data file has {table.column_names}")
    stored = [data.as_py() for data in table.column(key).combine_chunks().field("bytes")]
    images: list[np.ndarray] = []
    for i, data in enumerate(stored):
        images.append(images[-1] if i and data == stored[i - 1] else decode_png(data))  # a slow camera repeats itself
        if images[-1].shape != images[0].shape:
            raise DataError(f"picture {i} of {key!r} is {images[-1].shape[:2]} pixels, the first {images[0].shape[:2]}")
    return np.stack(images)


def label_features(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The entries of meta/info.json for actions of these `names`, some of which a checkpoint told, and how unsure each number is."""
    return {
        "action": _feature("float32", len(names), list(names)),
        LABEL_STD: _feature("float32", len(names), list(names)),
        IS_PSEUDO: _feature("bool", 1),
    }


def _feature(dtype: str, size: int, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": names}


def arrow_column(array: np.ndarray) -> pa.Array:
    """One row a row of `array`, as LeRobot stores them."""
    flat = pa.array(array.reshape(-1))
    # LeRobot stores a feature of shape (1,) as a plain column.
    return flat if array.ndim == 1 or array.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
