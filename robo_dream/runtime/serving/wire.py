"""How observations and decisions travel between a robot's computer and the one that plans: msgpack with NumPy arrays, as openpi has it.

An array is a map of `__ndarray__`, `data`, `dtype` and `shape`, whose keys are bytes; a NumPy scalar one of `__npgeneric__`, `data` and
`dtype`. What comes in is bounded in size, depth and number of parts before it becomes an object; a header that does not fit its bytes is an
error, and nothing is ever unpickled. Needs NumPy and msgpack, which come with the extra `serve`.
"""

import importlib
import math
from collections.abc import Mapping
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np

from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.errors import DataError, MissingExtraError, one_line
from robo_dream.recording.decision import Decision
from robo_dream.schema import did_you_mean, shown

DTYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
MAX_DIMENSIONS = 8
MAX_PARTS = 10_000  # lists and maps of one message; a byte of it can be a list, which takes Python fifty
MAX_ITEMS = 10_000  # of one list or map
MAX_TEXT = 100_000  # bytes
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_ARM = tuple(part.name for part in fields(ArmState) if part.name != "motor_temperatures")  # which no planner reads
_TOLD = ("joint_pos", "tool_pos", "tool_yaw", "gripper")  # what an arm must say of itself


def extra(name: str) -> ModuleType:
    """A library of the extra `serve`; raises `MissingExtraError` where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"planning over a network needs {name.partition('.')[0]}, which is not installed ({one_line(error)}): "
            "pip install --constraint configs/constraints.txt --editable '.[serve]'"
        ) from error


def pack(message: Mapping[str, Any]) -> bytes:
    """`message` as bytes; raises `DataError` for what cannot travel."""
    try:
        return extra("msgpack").packb(message, default=_packed)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"this cannot be sent: {one_line(error)}") from None


def unpack(data: bytes) -> dict[str, Any]:
    """The message in `data`: a map whose keys are text. Raises `DataError` for anything else."""
    msgpack, left = extra("msgpack"), MAX_PARTS

    def counted(value: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise DataError(f"it has more than {MAX_PARTS:,} lists and maps")
        return value

    try:
        message = msgpack.unpackb(
            data, object_hook=lambda found: _unpacked(counted(found)), list_hook=counted, strict_map_key=True,
            max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS, max_str_len=MAX_TEXT, max_bin_len=len(data), max_ext_len=0,
        )  # fmt: skip
    except Exception as error:  # msgpack raises nearly anything for bytes that are none: value, stack, overflow, unicode, its own
        raise DataError(
            f"the message cannot be read ({one_line(error, 200)}); expected msgpack with NumPy arrays, as openpi sends"
        ) from None
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise DataError(f"the message is {shown(message)}; expected a map whose keys are text")
    return message


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.str not in DTYPES:
        raise TypeError(f"an array of {value.dtype}; allowed are {', '.join(DTYPES)}")
    if isinstance(value, np.ndarray):
        return {_ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__}")


def _unpacked(found: dict[Any, Any]) -> Any:
    """The array or scalar that `found` describes, or `found`."""
    kind = next((key for key in (_ARRAY, _SCALAR) if key in found), None)
    if kind is None:
        return found
    expected = {kind, b"data", b"dtype"} | ({b"shape"} if kind == _ARRAY else set())
    if set(found) != expected or found[kind] is not True or found[b"dtype"] not in DTYPES:
        header = {key: value for key, value in found.items() if key != b"data"}
        raise DataError(f"the header of an array is {shown(header)}; allowed dtypes are {', '.join(DTYPES)}")
    dtype, data = np.dtype(found[b"dtype"]), found[b"data"]
    if kind == _SCALAR:
        if not isinstance(data, bool | int | float):
            raise DataError(f"a NumPy scalar holds {shown(data)}; expected a number")
        return dtype.type(data)
    shape = found[b"shape"]
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise DataError(f"an array has the shape {shown(shape)}; expected at most {MAX_DIMENSIONS} whole numbers")
    if not isinstance(data, bytes) or math.prod(shape) * dtype.itemsize != len(data):
        size = len(data) if isinstance(data, bytes) else shown(data)
        raise DataError(
            f"an array of shape {tuple(shape)} and dtype {dtype} takes {math.prod(shape) * dtype.itemsize} bytes; it has {size}"
        )
    if dtype.kind == "b" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise DataError("an array of truth values holds others than 0 and 1")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def array_in(message: Mapping[str, Any], key: str, dimensions: int, size: int | None = None, is_partial: bool = False) -> np.ndarray:
    """The finite float32 array at `key`, with so many axes, the last of `size`; raises `DataError`. A partial one may hold NaN."""
    value = message.get(key)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.ndim != dimensions:
        kind = f"an array of {value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else shown(value)
        raise DataError(f"{key} is {kind}; expected an array of numbers with {dimensions} axes")
    if size is not None and value.shape[-1] != size:
        raise DataError(f"{key} has shape {value.shape}; its last axis must have {size} numbers")
    made = value.astype(np.float32)
    if not (np.isfinite(made) | (np.isnan(made) & is_partial)).all():
        raise DataError(f"{key} holds numbers that are not finite")
    return made


def number_in(message: Mapping[str, Any], key: str, default: float | None, low: float, high: float) -> float | None:
    """The number at `key` within its range, or `default`; raises `DataError`."""
    value = message.get(key, default)
    if value is None and default is None:
        return None
    if isinstance(value, np.number):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise DataError(f"{key} is {shown(value)}; expected a number from {low:g} to {high:g}")
    return value


def whole_in(message: Mapping[str, Any], key: str, default: int, high: int) -> int:
    """The whole number at `key`, from 0 to `high`, or `default`; raises `DataError`."""
    value = number_in(message, key, default, 0, high)
    if value is None or value != int(value):
        raise DataError(f"{key} is {shown(value)}; expected a whole number from 0 to {high}")
    return int(value)


def map_in(message: Mapping[str, Any], key: str, allowed: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The map at `key`, whose keys are `allowed` (None: any text); raises `DataError`."""
    value = message.get(key)
    if not isinstance(value, dict):
        raise DataError(f"{key} is {shown(value) if key in message else 'missing'}; expected a map{_of(allowed)}")
    require_keys(value, key, allowed)
    return value


def require_keys(message: Mapping[Any, Any], name: str, allowed: tuple[str, ...] | None) -> None:
    """Raises `DataError` for a key that is no text, or none of `allowed`."""
    for key in message:
        if not isinstance(key, str) or (allowed is not None and key not in allowed):
            hint = did_you_mean(key, allowed) if isinstance(key, str) and allowed else ""
            raise DataError(f"{name} has the unknown key {shown(key)}{hint}; allowed{_of(allowed)}")


def _of(allowed: tuple[str, ...] | None) -> str:
    return " whose keys are text" if allowed is None else f" of {', '.join(allowed)}"


def observation_message(seen: Observation) -> dict[str, Any]:
    """What is seen, without the truth of a simulator: that never travels."""
    arm = {name: value for name in _ARM if (value := getattr(seen.arm, name)) is not None}
    frames = seen.frames.items()
    return {
        "time": seen.time, "images": {name: frame.image for name, frame in frames},
        "image_times": {name: frame.time for name, frame in frames}, "arm": arm,
    }  # fmt: skip


def observation_in(message: Mapping[str, Any], key: str, num_joints: int) -> Observation:
    """What was seen; raises `DataError`. Without `arm`, of one that is only seen; what an arm does not tell is taken to be at rest."""
    told = map_in(message, key, ("time", "images", "image_times", "arm"))
    time = float(number_in(told, "time", 0.0, -1e15, 1e15) or 0.0)
    times = map_in(told, "image_times") if "image_times" in told else {}
    frames = {}
    for name, image in map_in(told, "images").items():
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(f"the picture of camera {shown(name)} is {_kind(image)}; expected uint8 (height, width, 3)")
        exposed = number_in(times, name, time, -1e15, 1e15)
        frames[name] = Frame(time if exposed is None else float(exposed), image)
    return Observation(time, frames, _arm_in(told, time, num_joints))


def _arm_in(told: Mapping[str, Any], time: float, num_joints: int) -> ArmState:
    if "arm" not in told:
        return ArmState.unknown(time, num_joints)
    said = map_in(told, "arm", _ARM)
    if missing := [name for name in _TOLD if name not in said]:
        raise DataError(f"arm says nothing of {', '.join(missing)}; give {', '.join(_TOLD)} at least, in rad and m")

    def numbers(name: str, default: np.ndarray | None, size: int | None = None) -> np.ndarray:
        value = said.get(name, default)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.ndim != 1 or size not in (None, len(value)):
            raise DataError(f"arm.{name} is {_kind(value)}; expected {'some' if size is None else size} numbers")
        return value.astype(np.float64)

    def scalar(name: str, default: float | None = None) -> float:
        value = said.get(name, default)
        value = value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"arm.{name} is {_kind(value)}; expected a number")
        return float(value)

    joints, where, yaw, gripper = numbers("joint_pos", None), numbers("tool_pos", None, 3), scalar("tool_yaw"), scalar("gripper")
    return ArmState(
        scalar("time", time), joints, numbers("joint_vel", np.zeros(len(joints)), len(joints)), where,
        numbers("tool_quat", np.full(4, np.nan), 4), yaw, gripper, numbers("target_pos", where, 3), scalar("target_yaw", yaw),
        scalar("target_gripper", gripper), numbers("joint_target", None, len(joints)) if "joint_target" in said else None,
    )  # fmt: skip


def _kind(value: Any) -> str:
    return f"an array of {value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else shown(value)


def decision_message(decision: Decision) -> dict[str, Any]:
    """All that is kept of a decision."""
    return {part.name: value for part in fields(Decision) if (value := _plain(getattr(decision, part.name))) is not None}


def decision_in(message: Mapping[str, Any], key: str) -> Decision:
    """A decision as it was sent; raises `DataError`. What its fields are is checked by `recording.odd.require_decision`."""
    told = map_in(message, key, tuple(part.name for part in fields(Decision)))
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    try:
        return Decision(**values)
    except TypeError as error:
        raise DataError(f"{key} is incomplete: {one_line(error, 300)}") from None


def _plain(value: Any) -> Any:
    return {str(name): item for name, item in value.items()} if isinstance(value, Mapping) else value
