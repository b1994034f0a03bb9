"""Files that others wrote: how much of one is read, and which of those that it names.

One rule of containment: a path that comes from a file stays inside the folder of that file, and is a regular file. One budget: what a
reader spends on anything foreign before it says what is too large.
"""

import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from robo_dream.errors import DataError, one_line


@dataclass(frozen=True)
class Budget:
    """Bytes, counts and depth. The largest things that anybody records with purpose fit several times."""

    file: int = 1 << 30  # bytes of one file as it is on disk
    memory: int = 1 << 30  # bytes of what one table becomes
    pictures: int = 4 << 30  # bytes of one camera's pictures in one episode
    text: int = 64 << 20  # bytes of a JSON file
    weights: int = 16 << 30  # bytes of a checkpoint or of a training's state
    archive: int = 256 << 20  # bytes of what one file of a run holds
    run: int = 16 << 30  # bytes of all files of a run
    members: int = 10_000  # arrays in one file of a run
    gap: int = 10_000  # numbered files that may be lost in one place
    depth: int = 64  # of nested JSON
    rows: int = 2_000_000  # of one table
    episodes: int = 1_000_000
    files: int = 100_000  # of one kind in a dataset
    picture: int = 8192  # pixels of one side
    numbers: int = 100_000  # of one entry: an action, a state
    objects: int = 1000
    cameras: int = 64


BUDGET = Budget()

_FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")


def inside(root: Path, relative: object, said_by: str) -> Path:
    """`root / relative`, which `said_by` names; raises `DataError` unless it is a regular file inside `root`, links followed."""
    if not isinstance(relative, str) or not relative or "\0" in relative or len(relative) > 1000:
        raise DataError(f"{said_by} names the file {str(relative)[:100]!r}; expected a path inside {root}")
    try:
        whole, path = Path(os.path.realpath(root)), Path(os.path.realpath(root / relative))
    except (OSError, ValueError) as error:
        raise DataError(f"{said_by} names the file {relative!r}, which cannot be ({one_line(error)})") from None
    if not path.is_relative_to(whole) or path == whole:
        raise DataError(f"{said_by} names {relative!r}, which is outside of {root}; all files must be in there (copy links as files)")
    if path.exists() and not path.is_file():
        raise DataError(f"{said_by} names {relative!r}, which is no regular file")
    return root / relative


def filled(template: object, values: Mapping[str, int | str], said_by: str) -> str:
    """A path template such as `data/chunk-{chunk_index:03d}/file.parquet` with its `values`; nothing else of Python's formats is known."""
    if not isinstance(template, str):
        raise DataError(f"{said_by} has no path template; it has {template!r}")

    def fill(found: re.Match[str]) -> str:
        name, width = found.groups()
        if name not in values:
            raise DataError(f"{said_by} has the path {template!r}, but {{{name}}} is unknown; known are {', '.join(values)}")
        value = values[name]
        return str(value) if width is None else f"{whole_number(value, name, said_by):0{min(int(width), 20)}d}"

    path = _FIELD.sub(fill, template)
    if "{" in path or "}" in path:
        raise DataError(f"{said_by} has the path {template!r}; expected fields such as {{chunk_index:03d}} alone")
    return path


def whole_number(value: object, name: str, said_by: str, low: int = 0, high: int = 10**9) -> int:
    """`value` as an int; raises `DataError` when it is none, or not in its range."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise DataError(f"{said_by} has {name} {str(value)[:60]!r}; expected a whole number from {low} to {high}")
    return value


def number(value: object, name: str, said_by: str, low: float, high: float) -> float:
    """`value` as a finite float in its range; raises `DataError`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
        raise DataError(f"{said_by} has {name} {str(value)[:60]}; expected a number from {low:g} to {high:g}")
    return float(value)


def read_bytes(path: Path, most: int = BUDGET.file) -> bytes:
    """The bytes of a regular file; raises `DataError` for a pipe, a device or more than `most`, and `FileNotFoundError`."""
    with open_file(path, most) as opened:
        return opened.read(min(os.fstat(opened.fileno()).st_size, most))  # of a number of bytes, Python allocates all before it reads


def open_file(path: Path, most: int = BUDGET.file) -> BinaryIO:
    """A regular file to be read; raises as `read_bytes` does."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that nobody writes to is not waited for
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(path)) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path} is no regular file, so it is not read")
        require_budget(found.st_size, most, f"{path}", "bytes")
    except BaseException:
        os.close(file)
        raise
    return os.fdopen(file, "rb")


def parse_object(text: bytes | str, said_by: str) -> dict[str, Any]:
    """As `parse_json`; raises `DataError` for JSON that is no object too."""
    value = parse_json(text, said_by)
    if not isinstance(value, dict):
        raise DataError(f"{said_by} holds a {type(value).__name__}; expected a JSON object")
    return value


def parse_json(text: bytes | str, said_by: str) -> Any:
    """JSON of bounded size and depth; raises `DataError`."""
    require_budget(len(text), BUDGET.text, said_by, "bytes of JSON")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{said_by} is not JSON ({one_line(error, 200)}); the file is truncated or damaged: restore it") from None
    level, depth = [value], 0
    while level:
        depth += 1
        require_budget(depth, BUDGET.depth, said_by, "levels of nested JSON")
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ] if isinstance(level[0], dict | list) else []  # fmt: skip
    return value


def require_budget(used: float, allowed: float, what: str, unit: str) -> None:
    """Raises `DataError` saying what is too much for anything that others wrote."""
    if not used <= allowed:  # NaN is not
        raise DataError(f"{what} has {used:.10g} {unit}; at most {allowed:.10g} are read of what others wrote")
