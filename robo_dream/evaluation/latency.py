"""How long a decision takes, how much work it is, and how fast this machine could be: figures to print beside each other."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

RATE_SIZE = 1024  # rows and columns of the product that measures what the machine can do


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Work:
    """Floating-point operations of matrix products and convolutions, and bytes that operations read and wrote (views cost nothing)."""

    flops: int
    bytes: int


@dataclass(frozen=True)
class Line:
    """seconds = `start` + `slope` * size; `explained` is the share of the variance that the line explains (R squared)."""

    start: float
    slope: float
    explained: float


def percentiles(seconds: Sequence[float]) -> Percentiles:
    return Percentiles(*(float(value) * 1e3 for value in np.percentile(np.asarray(seconds), [50, 95, 99])))


def timed(call: Callable[[int], object], count: int, synchronise: Callable[[], None], progress: Callable[[int, int], None]) -> list[float]:
    """Wall-clock seconds of `call(0)` ... `call(count - 1)`, each waited for by `synchronise`."""
    seconds = []
    for i in range(count):
        start = time.perf_counter()
        call(i)
        synchronise()
        seconds.append(time.perf_counter() - start)
        progress(i + 1, count)
    return seconds


def stolen_seconds(source: Path = Path("/proc/stat")) -> float:
    """Seconds that a hypervisor has given to other machines instead of this one's processors, summed over them, since this one started.

    0 where Linux does not tell. A slow decision during which much was stolen says nothing of the program.
    """
    try:
        ticks = source.read_text().split(maxsplit=9)[8]  # cpu user nice system idle iowait irq softirq steal
    except (OSError, IndexError):
        return 0.0
    return int(ticks) / os.sysconf("SC_CLK_TCK")


def work_of(call: Callable[[], object]) -> Work:
    """What `call` makes torch do. Compiled code cannot be looked into: count the plain model."""
    with FlopCounterMode(display=False) as flops, _ByteCounter() as moved:
        call()
    return Work(flops.get_total_flops(), moved.bytes)


def product_rate(
    dtype: torch.dtype, device: torch.device | str, synchronise: Callable[[], None], repeats: int = 10, size: int = RATE_SIZE
) -> float:
    """Floating-point operations a second of a product of matrices of `size` rows in `dtype`: the best of some, as a machine's own limit."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    seconds = timed(lambda _: left @ right, repeats, synchronise, lambda done, total: None)
    return 2 * size**3 / min(seconds)


def line_through(sizes: Sequence[float], seconds: Sequence[float]) -> Line:
    """Least squares, relative: each point weighs by its own size, so that the largest does not rule alone."""
    x, y = np.asarray(sizes, float), np.asarray(seconds, float)
    weights: Float[np.ndarray, " point"] = 1 / y
    slope, start = np.polyfit(x, y, 1, w=weights)
    missed = np.square(weights * (y - start - slope * x)).sum()
    spread = np.square(weights * (y - np.average(y, weights=weights**2))).sum()
    return Line(float(start), float(slope), float(1 - missed / spread))


class _ByteCounter(TorchDispatchMode):
    """Adds up the sizes of what every operation reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            touched = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
            self.bytes += sum(leaf.numel() * leaf.element_size() for leaf in touched)
        return out
