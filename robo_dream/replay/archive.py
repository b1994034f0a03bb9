"""Arrays and JSON in one npz file that is there whole or not at all, and is never unpickled."""

import io
import json
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robo_dream.data.layout import replace_file
from robo_dream.errors import DataError

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

    Where `names` are given, the other arrays are not read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if names is None or name in names or name == _ABOUT}
        return arrays, json.loads(str(arrays.pop(_ABOUT)))
    except Exception as error:  # half a file raises nearly anything: zip, struct, tokenize, unicode, memory
        raise DataError(f"{path} is missing or damaged ({error}); the rest of the run may still be read without this file") from None


def part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose name begins with `prefix` and a dot, without it."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}
