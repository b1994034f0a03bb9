"""Files that are written whole or not at all, and those that come with robo_dream: its configurations, manifests and demo checkpoint."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LEFTOVER = re.compile(r"\.tmp-?([1-9][0-9]*)$")
_HERE = Path(__file__).parent  # holds configs/: in a clone as a link to the one at the top, in an installed package as files


@contextmanager
def replacing(path: Path, in_folder: bool = False) -> Iterator[Path]:
    """Where to write what `path` will hold: a file beside it, which takes its place on leaving and is durable then.

    A crash at any byte leaves the old file or the new one. After an exception the old one stays, and nothing lies beside it: on a full
    disk, half a file is room for others. A process that is killed leaves NAME.tmp-PID: a folder with `in_folder`, for who writes files
    of his own beside the one that he is told (safetensors does). Raises `OSError` like any writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    written = beside / path.name if in_folder else beside
    try:
        if in_folder:
            beside.mkdir(exist_ok=True)
        yield written
        _make_durable(written)
        os.replace(written, path)
    finally:
        if in_folder:
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)  # gone already where all went well
    _make_durable(path.parent)


def clear_leftovers(folder: Path) -> None:
    """Removes what processes that were killed left in `folder`, see `replacing`; those that live may still be writing."""
    for path in folder.glob("*.tmp*"):
        found = _LEFTOVER.search(path.name)
        if not found or _lives(int(found[1])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


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


def packaged(path: str | Path) -> Path:
    """`path` as it is where it exists; a relative `configs/...` that does not exist here is the one that comes with robo_dream.

    So `configs/plan/demo.yaml` means the same in a clone, where it lies in the working directory, and in an empty folder. For reading
    only: what is written goes where the caller says. A path that is nowhere comes back unchanged, to be named in an error.
    """
    path = Path(path)
    if path.is_absolute() or path.parts[:1] != ("configs",) or path.exists():
        return path
    ours = _HERE / path
    return ours if ours.exists() else path
