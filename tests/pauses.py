"""How long this machine stood still: a process on each of its cores that sleeps 5 ms at a time and notes when it was woken late.

What a hypervisor or a quota takes away, and nothing that a test does to itself: a sleeper is woken before whoever computes.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

_WATCH = """
import os, sys, time
parent, core = os.getppid(), int(sys.argv[1])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
last = time.monotonic()
while os.getppid() == parent:
    time.sleep(0.005)
    now = time.monotonic()
    if now - last > 0.02:
        print(last, now - last, flush=True)
    last = now
"""


class PauseMeter:
    """Entered once; then `longest_since` tells of any time after that. `folder` is its own, and removed on leaving."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> "PauseMeter":
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        self._files = [self._folder / f"pauses-{core}" for core in cores]
        self._processes = []
        for core, file in zip(cores, self._files, strict=True):
            with file.open("w") as out:
                self._processes.append(subprocess.Popen([sys.executable, "-S", "-c", _WATCH, str(core)], stdout=out))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for file in self._files:
            file.unlink()
        self._folder.rmdir()

    def longest_since(self, began: float) -> float:
        """Seconds that one of the cores stood still at a stretch since `began` (monotonic seconds); 0.0 when none did for 20 ms."""
        time.sleep(0.02)  # those who were just woken still write
        lines = [line.split() for file in self._files for line in file.read_text().splitlines()]
        whole = [(float(line[0]), float(line[1])) for line in lines if len(line) == 2]
        return max((length for start, length in whole if start + length > began), default=0.0)
