"""Python, cores and memory."""

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from robo_dream.runtime.checks.check import Check, Status

MIN_PYTHON = (3, 11)
MIN_MEMORY_GIB = 3.0  # the demo peaks below 2


def checks() -> Iterator[Check]:
    yield python()
    yield cores()
    yield memory()


def python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < MIN_PYTHON:
        return Check("Python", Status.BROKEN, found, f"install Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer")
    return Check("Python", Status.OK, found)


def cores() -> Check:
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = _read("/proc/cpuinfo")
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.processor())
    flags = next((line.split(":")[1].split() for line in info.splitlines() if line.startswith("flags")), [])
    special = [word for word in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if word in flags]
    return Check("cores", Status.OK, f"{number} usable, {model or platform.machine()}{' with ' if special else ''}{', '.join(special)}")


def memory() -> Check:
    sizes = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in _read("/proc/meminfo").splitlines() if line.endswith("kB")}
    if "MemAvailable" not in sizes:
        return Check("memory", Status.OK, "not known on this system")
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    inside = f", container limit {int(limit) / 2**30:.1f} GiB" if limit.isdecimal() else ""
    found = f"{sizes['MemAvailable']:.1f} GiB free of {sizes['MemTotal']:.1f} GiB{inside}"
    if sizes["MemAvailable"] < MIN_MEMORY_GIB:
        return Check("memory", Status.BROKEN, found, f"close programs until {MIN_MEMORY_GIB:.0f} GiB are free")
    return Check("memory", Status.OK, found)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
