"""What a machine did to a test in real time, by meters that nothing under test can move.

`PauseMeter` tells how long a core stood still: a process on each that sleeps 5 ms at a time and notes when it was woken late. It runs
before everything else on its core, a guard that spins among it, so only a hypervisor or a quota makes it late; where the system does not
let it, it lets no guard either. `Load` tells how much of the machine others used: all that was busy, less what this process and all its
descendants used, orphans among them.
"""

import ctypes
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_WATCH = """
import os, sys, time
parent, core = os.getppid(), int(sys.argv[1])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))
    except OSError:
        pass
last = time.monotonic()
while os.getppid() == parent:
    time.sleep(0.005)
    now = time.monotonic()
    if now - last > 0.02:
        print(last, now - last, flush=True)
    last = now
"""
_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")


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


@dataclass(frozen=True)
class Load:
    """At one moment, since the start of the machine or of the process: s of all cores busy, of ours; and when (monotonic s)."""

    time: float
    busy: float
    ours: float

    @classmethod
    def now(cls, root: int | None = None) -> "Load":
        """`root` is the process whose descendants are ours; this one without."""
        return cls(time.monotonic(), _busy(), _of_tree(os.getpid() if root is None else root))

    def of_others_since(self, before: "Load") -> float:
        """The part of all cores that others used, 0 to 1; of a span too short to say (0.1 s), 0."""
        seconds = (self.time - before.time) * (os.cpu_count() or 1)
        others = (self.busy - before.busy) - (self.ours - before.ours)
        return max(0.0, min(1.0, others / seconds)) if self.time - before.time > 0.1 else 0.0


def adopt_orphans() -> None:
    """From now on a descendant whose parent ends becomes a child of this process: what it uses is still ours."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _busy() -> float:
    """s of all cores together, of whatever kind but idle and stolen."""
    try:
        user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    except (OSError, ValueError):
        return 0.0  # no such system: nobody is excused
    return (user + nice + system + irq + softirq) / _TICKS


def _of_tree(root: int) -> float:
    """s of a process, its descendants, and those of them that ended and were waited for."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        pid = int(folder.name)
        parents[pid], used[pid] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS
    total = 0.0
    for pid, seconds in used.items():
        above = pid
        while above not in (root, 0) and above in parents:
            above = parents[above]
        total += seconds if above == root else 0.0
    return total
