"""How the model's functions of rows are run: as they are, or as compiled code of a few fixed sizes."""

import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from robo_dream.errors import ConfigError

RowFunction = Callable[..., tuple[Tensor, ...]]  # of tensors with rows in front, to such tensors

MAX_SHAPES = 256  # for which one function is compiled; torch gives up after 8 unless told otherwise

_log = logging.getLogger(__name__)


@runtime_checkable
class RowRunner(Protocol):
    """Gives `function(*rows)`; every row on its own, so that others in the batch change nothing but rounding."""

    def __call__(self, function: RowFunction, *rows: Tensor) -> tuple[Tensor, ...]: ...


def plainly(function: RowFunction, *rows: Tensor) -> tuple[Tensor, ...]:
    """The function as it is."""
    return function(*rows)


class Compiled:
    """Runs functions as code that `torch.compile` made for them, once for each of a few numbers of rows.

    Rows are filled up to the next such number (`padded_rows`) with copies of the last, so that shapes are static and weights can be
    packed for them. Compiling takes some ten seconds a function and number of rows; the code is kept in `cache` for the next process.
    Where gradients are asked for, functions run as they are. Raises `ConfigError` where there is no C++ compiler.
    """

    def __init__(self, cache: Path | None = None) -> None:
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
        self._functions: dict[RowFunction, RowFunction] = {}
        self._seen: set[tuple[RowFunction, tuple[torch.Size, ...]]] = set()

    def __call__(self, function: RowFunction, *rows: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled():
            return function(*rows)
        num, wanted = len(rows[0]), padded_rows(len(rows[0]))
        filled = [values if num == wanted else torch.cat([values, values[-1:].expand(wanted - num, *values.shape[1:])]) for values in rows]
        filled = [values.contiguous() for values in filled]
        key = (function, tuple(values.shape for values in filled))
        out = self._compiled(function)(*filled) if key in self._seen else self._first(key, *filled)
        return tuple(values[:num] for values in out)

    def _first(self, key: tuple[RowFunction, tuple[torch.Size, ...]], *filled: Tensor) -> tuple[Tensor, ...]:
        """The first call with these shapes, which compiles."""
        start = time.monotonic()
        from torch._inductor import config as inductor  # as slow to import as torch itself

        many = torch._dynamo.config.patch(recompile_limit=MAX_SHAPES, accumulated_recompile_limit=8 * MAX_SHAPES)
        with warnings.catch_warnings(), many, inductor.patch(freezing=True):  # tracing asks the global setting, not the options
            warnings.simplefilter("ignore")  # of torch, about its own insides
            out = self._compiled(key[0])(*filled)
        self._seen.add(key)
        name = getattr(key[0], "__qualname__", str(key[0]))
        _log.info("compiled %s for %d rows in %.0f s", name, len(filled[0]), time.monotonic() - start)
        return out

    def _compiled(self, function: RowFunction) -> RowFunction:
        if function not in self._functions:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(self._cache))
            # Frozen weights are packed for their shapes. The cache of graphs would be unpickled; that of compiled C++ is not.
            options: dict[str, str | int | bool | Callable[..., object]] = {"freezing": True, "fx_graph_cache": False}
            self._functions[function] = torch.compile(function, dynamic=False, fullgraph=True, options=options)
        return self._functions[function]


def padded_rows(num: int) -> int:
    """The next number of rows that code is compiled for: steps of 8 to 64, of 32 to 256, of 64 to 1024, then of 512."""
    step = 8 if num <= 64 else 32 if num <= 256 else 64 if num <= 1024 else 512
    return -(-num // step) * step
