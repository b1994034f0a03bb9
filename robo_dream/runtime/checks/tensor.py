"""torch, how fast it multiplies here in fp32 and bf16, and GPUs."""

import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from robo_dream.runtime.checks.check import Check, Status

if TYPE_CHECKING:
    import torch

_INSTALL = "pip install --constraint configs/constraints.txt torch"


def checks() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:  # a missing shared library is an OSError, a broken build anything
        yield Check("torch", Status.BROKEN, f"{type(error).__name__}: {error}", _INSTALL)
        return
    yield Check("torch", Status.OK, f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield _speed("torch on CPU", torch.device("cpu"), size=1024)
    yield from _gpus(torch)


def matmul_rate(device: "torch.device", dtype: "torch.dtype", size: int, seconds: float = 0.3) -> float:
    """The best rate seen of a size³ product, in FLOP/s; tries for about `seconds`."""
    import torch

    a = torch.ones(size, size, device=device, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        _ = a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return 2 * size**3 / best


def _speed(name: str, device: "torch.device", size: int) -> Check:
    import torch

    single, half = matmul_rate(device, torch.float32, size), matmul_rate(device, torch.bfloat16, size)
    times = max(single, half) / min(single, half)
    better = f"{'bf16' if half > single else 'fp32'} is {times:.1f} times as fast; use it" if times > 1.1 else "equally fast"
    return Check(name, Status.OK, f"{size}³ product: fp32 {single / 1e12:.2f} TFLOP/s, bf16 {half / 1e12:.2f} TFLOP/s: {better}")


def _gpus(torch: Any) -> Iterator[Check]:
    if not torch.cuda.is_available():
        driver = shutil.which("nvidia-smi")
        if driver and torch.version.cuda is None:
            release = torch.__version__.split("+")[0]
            fix = f"there is an NVIDIA driver, but this torch is a CPU build: install {release} for CUDA (pytorch.org)"
        else:
            fix = "check the driver with nvidia-smi" if driver else ""
        yield Check("GPU", Status.ABSENT, "none that torch can use; everything runs on the CPU", fix)
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Check(
            f"GPU {index}",
            Status.OK,
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, "
            f"compute {properties.major}.{properties.minor}",
        )
        yield _speed(f"torch on GPU {index}", torch.device("cuda", index), size=8192)
