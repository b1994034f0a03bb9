"""Arrays and JSON in one npz file that is there whole or not at all, and is never unpickled."""

import io
import json
import math
import zipfile
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from robo_dream.errors import DataError, one_line
from robo_dream.files import replace_file
from robo_dream.foreign import BUDGET, open_file, parse_object, require_budget

_PREFIX = 10  # bytes of an npy file before its header: magic, version, length
_ABOUT = "about"  # the JSON, as a string array beside the others


def write_archive(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Durable on return; a kill at any byte leaves no file of this name, or the old one."""
    replace_file(path, archive_bytes(arrays, about))


def archive_bytes(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> bytes:
    """What `write_archive` writes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:  # np.savez takes names as keywords, which clash with its own
        for name, array in {**arrays, _ABOUT: np.array(json.dumps(dict(about)))}.items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_archive(path: Path, names: Collection[str] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the JSON; raises `DataError` naming the file when it is missing, truncated or something else.

    Where `names` are given, the other arrays are not read. What is packed is refused: nothing is ever written so, and a few bytes of it
    can be any amount.
    """
    try:
        with open_file(path, BUDGET.archive) as whole, zipfile.ZipFile(whole) as file:
            members = file.infolist()
            require_budget(len(members), BUDGET.members, "it", "arrays")
            require_budget(sum(member.file_size for member in members), BUDGET.archive, "it", "bytes")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError("it is packed, which no run is")
            kept = {name: member for member in members if _wanted(name := member.filename.removesuffix(".npy"), names)}
            arrays = {name: _array(file.read(member)) for name, member in kept.items()}
        return arrays, parse_object(str(arrays.pop(_ABOUT)), "its description")
    except Exception as error:  # half a file raises nearly anything: zip, struct, tokenize, unicode, memory
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else one_line(error, 300)
        raise DataError(f"{path} is missing or damaged ({reason}); the rest of the run may still be read without this file") from None


def _wanted(name: str, names: Collection[str] | None) -> bool:
    return names is None or name in names or name == _ABOUT


def _array(content: bytes) -> np.ndarray:
    """As `np.lib.format.read_array`, in half the time: the few headers that a run has are read once each. Longer ones are never written."""
    start = _PREFIX + int.from_bytes(content[8:_PREFIX], "little")
    shape, is_fortran, dtype = _header(content[:start])
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    return np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape, order="F" if is_fortran else "C").copy()


@lru_cache(maxsize=1024)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("it is no array")
    return np.lib.format.read_array_header_1_0(stream)


def part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose name begins with `prefix` and a dot, without it."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}
