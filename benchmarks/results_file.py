"""Figures on disk: a flat JSON object, with how, when, of which code and on how fast a machine they were measured."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from robo_dream.files import replace_file


def write_figures(path: Path, figures: Mapping[str, float | int | str | None]) -> None:
    """Adds the command line, the date, the commit, the machine and the speed of one core (float32, GFLOP/s); whole or not at all."""
    about = {
        "_command": f"python {' '.join(sys.argv)}",
        "_date": datetime.now(UTC).date().isoformat(),
        "_commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip(),
        "_machine": f"{os.cpu_count()} CPU cores ({platform.machine()})",
        "_gflops": round(gflops(), 1),
    }
    replace_file(path, (json.dumps({**figures, **about}, indent=1) + "\n").encode())


def gflops(size: int = 512, seconds: float = 0.5) -> float:
    """Of matrix products, the best of some."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        a @ a
        best = max(best, 2 * size**3 / (time.perf_counter() - began) / 1e9)
    return best
