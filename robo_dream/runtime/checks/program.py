"""A piece of Python run in a process of its own, because a broken library can take the whole process down."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgramResult:
    """Whether the program ended well, what it printed, and in one line what went wrong."""

    ok: bool
    output: str
    problem: str


def run_program(code: str, environment: Mapping[str, str], timeout: float) -> ProgramResult:
    """Runs `code` for at most `timeout` seconds with `environment` added to this process's."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return ProgramResult(False, "", f"no answer within {timeout:.0f} s")
    if done.returncode == 0:
        return ProgramResult(True, done.stdout, "")
    if done.returncode < 0:
        return ProgramResult(False, done.stdout, f"crashed with {signal.Signals(-done.returncode).name}")
    lines = [line for line in done.stderr.strip().splitlines() if line and not line.startswith((" ", "Exception ignored"))]
    return ProgramResult(False, done.stdout, lines[-1] if lines else f"exit code {done.returncode}")
