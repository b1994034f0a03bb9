"""The released checkpoint, or one that is named: there, undamaged, and readable by this version."""

import time
from collections.abc import Iterator
from pathlib import Path

from robo_dream.errors import RoboDreamError
from robo_dream.runtime.checks.check import Check, Status

_ROOT = Path(__file__).resolve().parents[3]
_PLACES = ("configs", "robo_dream")  # where a clone of the project may keep its released checkpoint


def checks(path: Path | None) -> Iterator[Check]:
    """Tries `path`; without one, each checkpoint that comes with the project."""
    paths = [path] if path else [found for place in _PLACES for found in sorted((_ROOT / place).rglob("*.safetensors"))]
    if not paths:
        fix = "name one with --checkpoint FILE, or make one with robo-dream train"
        yield Check("checkpoint", Status.ABSENT, f"none in {' or '.join(str(_ROOT / place) for place in _PLACES)}", fix)
    for each in paths:
        yield _check(each)


def _check(path: Path) -> Check:
    try:
        from robo_dream.models import checkpoint
    except ImportError as error:
        return Check("checkpoint", Status.BROKEN, f"{path}: not read, because importing the models failed: {error}", "repair torch first")
    start = time.perf_counter()
    try:
        info = checkpoint.read_info(path)
        checkpoint.load(path)
    except (RoboDreamError, OSError) as error:
        return Check("checkpoint", Status.BROKEN, str(error), "fetch or train it again")
    seconds = time.perf_counter() - start
    size = path.stat().st_size / 2**20
    return Check("checkpoint", Status.OK, f"{path}: {info.num_parameters / 1e6:.1f} M parameters, {size:.1f} MiB, loads in {seconds:.1f} s")
