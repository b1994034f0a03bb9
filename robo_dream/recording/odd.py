"""What is odd about a record that others wrote, or that was edited: fields of another kind or size than their annotations say."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import DataError, RoboDreamError, one_line
from robo_dream.foreign import BUDGET
from robo_dream.schema import shown
from robo_dream.status import PlanStatus

_ABOUT: Mapping[str, type] = {
    "task": str, "goal": str, "checkpoint": str, "checkpoint_sha256": str, "policy": str, "seed": int, "config": dict, "planning": dict,
    "world": dict, "moves": dict, "action_spec": dict, "loop": dict, "made_with": dict, "config.world": dict, "config.scene": dict,
    "config.device": str, "config.compiled": bool, "config.precision": str, "world.scene": dict, "config.world.scene": dict,
    "made_with.threads": int, "moves.max_lag": float, "moves.max_grip_lag": float, "goal_state": list,
}  # fmt: skip
_RESULT: Mapping[str, type] = {
    "moderate": bool, "strict": bool, "moderate_step": int, "strict_step": int, "end": str, "reasons": list, "distances": list,
    "decision_seconds": list,
}  # fmt: skip
_LISTED: Mapping[str, type] = {"goal_state": float, "reasons": str, "distances": float, "decision_seconds": float}
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a block", list: "a list"}
_MAX_STEP = 10**9
_MAX_THREADS = 1024


def require_about(about: Mapping[str, Any], path: Path) -> None:
    """Raises `DataError` where a field of run.json that is read here is of another kind; what is not known is nobody's business."""
    _require_kinds(about, _ABOUT, path)
    threads = (about.get("made_with") or {}).get("threads", 1)
    if not 1 <= threads <= _MAX_THREADS:
        raise DataError(f"{path}: made_with.threads is {threads}; expected a whole number from 1 to {_MAX_THREADS}")
    if about.get("action_spec") is not None:
        action_spec_in(about["action_spec"], f"{path}: action_spec")


def require_result(result: Mapping[str, Any], path: Path) -> None:
    """Raises `DataError` where a field of result.json that is read here is of another kind."""
    _require_kinds(result, _RESULT, path)


def action_spec_in(told: Any, said_by: str) -> ActionSpec:
    """What actions mean, as a file tells; raises `DataError`."""
    try:
        return ActionSpec.from_json(told)
    except (RoboDreamError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{said_by} cannot be used ({type(error).__name__}: {one_line(error)})") from None


def require_fields(value: Any, path: Path, free: Collection[str] = ()) -> None:
    """Raises `DataError` where a field of the dataclass `value`, read from `path`, is not what its annotation says.

    Axes of one name must be of one length, but for those that are `free`.
    """
    sizes: dict[str, int] = {}  # of axes, by name; jaxtyping's own way to compare them would import jax
    for name, hint in _hints(type(value)).items():
        found = getattr(value, name)
        for axis in free:
            sizes.pop(axis, None)
        if not _fits(found, hint, sizes):
            kind = f"{found.dtype} array of shape {found.shape}" if isinstance(found, np.ndarray) else shown(found)
            raise DataError(f"{path}: {name} is a {kind}; expected {_in_words(hint)}")


def require_decision(decision: Any, path: Path) -> None:
    """As `require_fields`, for a `Decision` or a glimpse of one; and its numbers point at what there is."""
    require_fields(decision, path, ("action",))  # a plan that was refused for its shape is kept as it was
    if decision.status not in tuple(PlanStatus):
        raise DataError(f"{path}: status is {decision.status!r}; expected one of {', '.join(PlanStatus)}")
    if not 0 <= decision.step <= _MAX_STEP:
        raise DataError(f"{path}: step is {decision.step}; expected a whole number from 0 to {_MAX_STEP}")
    if decision.perception is not None and not 0 < decision.perception <= 1:
        raise DataError(f"{path}: perception is {decision.perception}; expected a share of usual moments, above 0 and at most 1")
    horizon, num_steps = len(decision.latents), len(decision.actions)
    if not horizon or num_steps % horizon or not num_steps:
        raise DataError(f"{path}: {num_steps} actions for {horizon} imagined steps; expected a whole number, from 1, for each")
    if decision.latents.shape[-1] != len(decision.belief):
        raise DataError(f"{path}: latents have {decision.latents.shape[-1]} channels and the belief {len(decision.belief)}")


def require_indices(indices: np.ndarray | None, low: int, size: int, name: str, path: Path) -> None:
    """Raises `DataError` where a number is below `low`, or not below `size`."""
    if indices is not None and len(indices) and not low <= indices.min() <= indices.max() < size:
        raise DataError(f"{path}: {name} go from {indices.min()} to {indices.max()}; expected {low} to {size - 1}")


def require_picture(image: np.ndarray, name: str, path: Path) -> None:
    """Raises `DataError` for anything but a picture of one pixel at least, and of a size that somebody may record."""
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        raise DataError(f"{path}: the picture of {name} is a {image.dtype} array of shape {image.shape}; expected uint8 (height, width, 3)")
    if not 1 <= min(image.shape[:2]) <= max(image.shape[:2]) <= BUDGET.picture:
        raise DataError(f"{path}: the picture of {name} is {image.shape[1]} x {image.shape[0]} px; allowed are 1 to {BUDGET.picture}")


def _require_kinds(block: Mapping[str, Any], kinds: Mapping[str, type], path: Path) -> None:
    for name, kind in kinds.items():
        value: Any = block
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            continue
        if not _is(value, kind):
            raise DataError(f"{path}: {name} is {shown(value)}; expected {_WORDS[kind]}")
        if name in _LISTED and not all(one is None or _is(one, _LISTED[name]) for one in value):
            raise DataError(f"{path}: {name} is {shown(value)}; expected a list, each item {_WORDS[_LISTED[name]]}")


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) and abs(value) < 1e308 if kind is float else isinstance(value, kind)


@lru_cache(maxsize=32)
def _hints(cls: type) -> Mapping[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _fits(value: Any, hint: Any, sizes: dict[str, int]) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part, sizes) for part in parts)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(name, parts[0], sizes) and _fits(one, parts[1], sizes) for name, one in value.items()
        )
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, list | tuple) and all(_fits(one, parts[0], sizes) for one in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and -1.8e308 < value < 1.8e308 or value != value  # noqa: RUF021
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is type(None):
        return value is None
    return isinstance(value, hint) and (not isinstance(value, np.ndarray) or _one_length(value, hint, sizes))


def _one_length(array: np.ndarray, hint: Any, sizes: dict[str, int]) -> bool:
    """Whether the named axes of `array` are as long as those of these names were in `sizes`, which learns the new ones."""
    names = str(getattr(hint, "dim_str", "")).split()
    named = (
        [(name, size) for name, size in zip(names, array.shape, strict=False) if name.isidentifier()] if len(names) == array.ndim else []
    )
    return all(sizes.setdefault(name, size) == size for name, size in named)


def _in_words(hint: Any) -> str:
    parts = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_in_words, parts))
    return getattr(hint, "__name__", str(hint)) if not parts else str(hint).replace("typing.", "").replace("collections.abc.", "")
