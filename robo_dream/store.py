"""Where datasets are kept: in folders of this machine, or by keys of a store that a URL names.

A path may be a URL (`s3://bucket/folder`, `memory://folder`, `file:///folder`), also as `pathlib` spells one, with a single slash.
Everything here takes either, and gives files back as paths of the same kind. A file of a store is put there in one request: it is the old
one or the new.
"""

import importlib
import re
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from robo_dream.errors import DataError, MissingExtraError, one_line
from robo_dream.files import replace_file as replace_local

_URL = re.compile(r"^([a-z][a-z0-9+.-]+):/+")
_STORES = ("s3", "memory")  # where a put shows whole or not at all; both are tried by tests
_MODULES = {"s3": "s3fs", "memory": "fsspec"}


def place(path: Path | str) -> Path:
    """`path` for all that is done here: one of this machine for file://, else as it is. Raises `DataError` for a store that is unknown."""
    found = _URL.match(str(path))
    if not found:
        return Path(path)
    if found[1] == "file":
        return Path("/") / str(path)[found.end() :]
    if found[1] not in _STORES:
        raise DataError(f"{path} is in a store of kind {found[1]!r}; known are file, {', '.join(_STORES)} and paths of this machine")
    return Path(f"{found[1]}:/{str(path)[found.end() :]}")


def is_remote(path: Path | str) -> bool:
    """Whether `path` is not of this machine's file system."""
    found = _URL.match(str(path))
    return found is not None and found[1] in _STORES


def url(path: Path) -> str:
    """As people write it: with both slashes."""
    return _URL.sub(r"\1://", str(path)) if is_remote(path) else str(path)


def exists(path: Path) -> bool:
    """Whether there is such a file, or a folder with anything in it."""
    return path.exists() if not is_remote(path) else bool(_asked(path, "exists"))


def size(path: Path) -> int:
    """Bytes of a file; raises `FileNotFoundError`, and `DataError` where a store does not answer."""
    return path.stat().st_size if not is_remote(path) else int(_asked(path, "size"))


def read_bytes(path: Path) -> bytes:
    """All of a file in a store; raises as `size` does."""
    return _asked(path, "cat_file")


def opened(path: Path) -> Any:
    """What a reader of Parquet takes: the path, or of a store an open file of which parts are asked for as they are needed."""
    return path if not is_remote(path) else _asked(path, "open", mode="rb")


def listed(folder: Path, pattern: str) -> list[Path]:
    """What is in `folder` or below and fits `pattern`, such as `chunk-*/file-*.parquet`, by name."""
    if not is_remote(folder):
        return sorted(folder.glob(pattern))
    depth, below = pattern.count("/") + 1, _key(folder)
    try:
        keys = _asked(folder, "find", maxdepth=depth, withdirs=True)
    except FileNotFoundError:
        return []
    parts = sorted({str(key).strip("/").removeprefix(below).strip("/") for key in keys})
    return [folder / part for part in parts if part.count("/") == depth - 1 and fnmatch(part, pattern)]


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` into `path`, whole or not at all."""
    if is_remote(path):
        _asked(path, "pipe_file", content)
    else:
        replace_local(path, content)


def remove(path: Path) -> None:
    """Removes a file, if there is one."""
    if not is_remote(path):
        path.unlink(missing_ok=True)
        return
    try:
        _asked(path, "rm_file")
    except FileNotFoundError:
        return


def _key(path: Path) -> str:
    return _URL.sub("", str(path))


def _asked(path: Path, what: str, *values: Any, **how: Any) -> Any:
    """What the store of `path` answers; raises `FileNotFoundError`, and `DataError` where it cannot be asked."""
    found = _URL.match(str(path))
    assert found is not None, path
    asked = getattr(filesystem(found[1]), what)
    try:
        return asked(_key(path), *values, **how)
    except FileNotFoundError:
        raise FileNotFoundError(url(path)) from None
    except TypeError:  # a mistake here, and none of a store
        raise
    except Exception as error:  # of botocore, aiohttp and others: one thing to whoever reads data
        raise DataError(
            f"{url(path)}: the store did not answer ({type(error).__name__}: {one_line(error, 200)}); is it there, may you use it, and are "
            "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and the like set as for other programs?"
        ) from None


@lru_cache
def filesystem(kind: str) -> Any:
    """fsspec's, made once a process; raises `MissingExtraError`."""
    try:
        importlib.import_module(_MODULES[kind])
    except ImportError as error:
        raise MissingExtraError(
            f"{kind}:// is asked for, and {_MODULES[kind]} is not installed ({error}); "
            "install it with: pip install -c configs/constraints.txt -e '.[s3]'"
        ) from None
    return importlib.import_module("fsspec").filesystem(kind, use_listings_cache=False, skip_instance_cache=True)  # others write there, too
