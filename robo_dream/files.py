"""Files that are there whole or not at all, whenever the power goes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what `path` will hold: a file beside it, which takes its place on leaving and is durable then.

    A crash at any byte leaves the old file or the new one. After an exception the old one stays, and nothing lies beside it: on a full
    disk, half a file is room for others. A process that is killed leaves NAME.tmp-PID. Raises `OSError` like any writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        yield beside
        _make_durable(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)  # gone already where all went well
    _make_durable(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Puts `content` into `path`, whole or not at all; see `replacing`."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def _make_durable(path: Path) -> None:
    """Waits until the disk has what was written to the file or the directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
