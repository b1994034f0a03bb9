"""How the model's functions of rows are run: as they are or as compiled code of a few fixed sizes, in single or in half precision."""

import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from robo_dream.errors import ConfigError
from robo_dream.models.config import Precision, PrecisionChoice

RowFunction = Callable[..., tuple[Tensor, ...]]  # of tensors with rows in front, to such tensors

WORTH_ROUNDING, TRIALS = 1.2, 12  # times faster that rounding must be to be chosen by itself; measurements of each
MAX_CODES = 1 << 16  # of one function; torch gives up after 8 unless told otherwise

_log = logging.getLogger(__name__)


@runtime_checkable
class RowRunner(Protocol):
    """Gives `function(*rows)`; every row on its own, so that others in the batch change nothing but rounding."""

    def __call__(self, function: RowFunction, *rows: Tensor) -> tuple[Tensor, ...]: ...

    @property
    def compiles(self) -> bool:
        """Whether each function and number of rows costs seconds at first."""
        ...


def row_runner(compiled: bool = False, precision: Precision = "float32") -> RowRunner:
    """Raises `ConfigError` where it cannot be compiled."""
    return Compiled(precision) if compiled else Plain(precision)


def precision_here(asked: PrecisionChoice, device: torch.device) -> Precision:
    """`asked`; for "auto", bfloat16 where a layer of a small search is seen to take `WORTH_ROUNDING` times less than in float32.

    It is measured in turns for some ten milliseconds, the least of each counts: a busy machine slows both. A record should keep the answer,
    not "auto", so that a decision is made again in the precision that it was made in.
    """
    if asked != "auto":
        return asked
    layer, rows = torch.nn.Linear(512, 512, device=device), torch.ones(128, 512, device=device)
    least: dict[Precision, float] = {}
    ways: tuple[Precision, ...] = ("float32", "bfloat16")
    with torch.inference_mode():
        for precision in (*ways, *ways * TRIALS):  # the first of each warms up
            start = time.perf_counter()
            in_precision(lambda values: (layer(values),), precision)(rows)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            spent = time.perf_counter() - start
            least[precision] = min(spent, least.get(precision, math.inf))
    return "bfloat16" if WORTH_ROUNDING * least["bfloat16"] < least["float32"] else "float32"


@dataclass(frozen=True)
class Plain:
    """Runs functions as they are."""

    precision: Precision = "float32"

    @property
    def compiles(self) -> bool:
        return False

    def __call__(self, function: RowFunction, *rows: Tensor) -> tuple[Tensor, ...]:
        return in_precision(function, self.precision)(*rows)


def in_precision(function: RowFunction, precision: Precision) -> RowFunction:
    """`function` with matrix products in `precision`; what it is given and gives back is single precision."""
    if precision == "float32":
        return function

    def lowered(*rows: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(rows[0].device.type, torch.bfloat16):
            return tuple(values.float() for values in function(*rows))

    lowered.__qualname__ = f"{getattr(function, '__qualname__', function)} in {precision}"
    return lowered


class Compiled:
    """Runs functions as code that `torch.compile` made for them, once for each of a few numbers of rows.

    Rows are filled up to the next such number (`padded_rows`) with copies of the last, so that shapes are static and weights can be
    packed for them. Compiling takes some seconds a function and number of rows; the code is kept in `cache` for the next process.
    Where gradients are asked for, functions run as they are. Raises `ConfigError` where there is no C++ compiler.
    """

    def __init__(self, precision: Precision = "float32", cache: Path | None = None) -> None:
        self._precision: Precision = precision
        if shutil.which(os.environ.get("CXX", "g++")) is None:
            raise ConfigError(
                f"compiling needs a C++ compiler, and {os.environ.get('CXX', 'g++')} is not here; "
                "install Debian package g++, or set compiled=false"
            )
        self._cache = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or cache or Path.home() / ".cache" / "robo_dream" / "compiled")
        try:
            self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"compiled code cannot be kept in {self._cache} ({error}); "
                "set TORCHINDUCTOR_CACHE_DIR to a folder that you can write, or compiled=false"
            ) from error
        self._codes: dict[tuple[object, tuple[torch.Size, ...]], RowFunction] = {}

    @property
    def compiles(self) -> bool:
        return not torch.is_grad_enabled()

    def __call__(self, function: RowFunction, *rows: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled():
            return in_precision(function, self._precision)(*rows)
        num, desired = len(rows[0]), padded_rows(len(rows[0]))
        filled = [
            values if num == desired else torch.cat([values, values[-1:].expand(desired - num, *values.shape[1:])]) for values in rows
        ]
        filled = [values.contiguous() for values in filled]
        key = _named(function), tuple(values.shape for values in filled)
        if key not in self._codes:
            self._codes[key] = self._compile(in_precision(function, self._precision), *filled)
        out = self._codes[key](*filled)
        return tuple(out) if num == desired else tuple(values[:num] for values in out)

    def _compile(self, function: RowFunction, *rows: Tensor) -> RowFunction:
        """The code for rows of these shapes, without torch's checks before each call, a third of a millisecond: shapes are known."""
        start = time.monotonic()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(self._cache))
        from torch._inductor import config as inductor  # as slow to import as torch itself
        from torch._inductor.compile_fx import compile_fx

        made: list[RowFunction] = []
        distinct = [values.clone() for values in rows]  # what is one tensor today may be two tomorrow

        def backend(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
            # Frozen weights are packed for their shapes. The cache of graphs would be unpickled; that of compiled C++ is not.
            code: Any = compile_fx(graph, list(inputs), config_patches={"freezing": True, "fx_graph_cache": False})
            positions = [next((i for i, values in enumerate(distinct) if values is given), given) for given in inputs]
            made.append(lambda *given: code(*(given[place] if isinstance(place, int) else place for place in positions)))
            return code

        many = torch._dynamo.config.patch(recompile_limit=MAX_CODES, accumulated_recompile_limit=MAX_CODES)
        with warnings.catch_warnings(), many, inductor.patch(freezing=True):  # tracing asks the global setting, not the patches
            warnings.simplefilter("ignore")  # of torch, about its own insides
            torch.compile(function, dynamic=False, fullgraph=True, backend=backend)(*distinct)
        name = getattr(function, "__qualname__", str(function))
        _log.info("compiled %s for %d rows in %.0f s", name, len(rows[0]), time.monotonic() - start)
        return made[0]


def _named(function: RowFunction) -> object:
    """Equal for methods of equal owners, where Python asks for the same owner: each episode makes its planner anew, and not its code."""
    return (function.__func__, function.__self__) if isinstance(function, MethodType) else function


def padded_rows(num: int) -> int:
    """The next number of rows that code is compiled for: steps of 8 to 64, of 32 to 1024, of 64 to 2048, then of 512."""
    step = 8 if num <= 64 else 32 if num <= 1024 else 64 if num <= 2048 else 512
    return -(-num // step) * step
