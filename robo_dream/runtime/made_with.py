"""What a run was made with: code, libraries and machine, on which the last bits of a plan may depend."""

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from robo_dream import __version__

MACHINE = ("device", "machine", "torch", "threads")  # of these, equal ones promise equal bits
_DECIDING = ("imagination.py", "embodiment.py", "planning", "models")


def made_with(device: torch.device) -> dict[str, Any]:
    """Version and digest of the code that decides, Python, torch, its threads, and the device by name; plain JSON."""
    return {
        "robo_dream": __version__,
        "code_sha256": code_sha256(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "machine": _processor(),
    }


def code_sha256(parts: Sequence[str] = _DECIDING, root: Path = Path(__file__).parents[1]) -> str:
    """Hexadecimal SHA-256 of the Python files of `parts`, files or folders in `root`, by default those that make decisions."""
    digest = hashlib.sha256()
    for part in parts:
        for path in sorted((root / part).rglob("*.py")) if (root / part).is_dir() else [root / part]:
            digest.update(f"{path.relative_to(root)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """The processor's name, as the kernel gives it where there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
