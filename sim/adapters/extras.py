"""Packages that an adapter needs and robo_dream does not."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from robo_dream.errors import MissingExtraError


def extra_module(name: str, extra: str, then: str = "`") -> Any:
    """The module `name`; raises `MissingExtraError` saying which extra of robo_dream brings it, and what to do `then`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"this world needs {name.split('.')[0]}, which is not installed, or not whole ({error}); "
            f"run `pip install 'robo-dream[{extra}]'{then}"
        ) from error


@contextmanager
def global_draws_from(rng: np.random.Generator) -> Iterator[None]:
    """NumPy's global state follows `rng` inside, and is put back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.set_state(np.random.RandomState(int(rng.integers(2**32))).get_state())  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
