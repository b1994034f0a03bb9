"""For code that draws from NumPy's global state."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def global_draws_from(rng: np.random.Generator) -> Iterator[None]:
    """NumPy's global state follows `rng` inside, and is put back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.set_state(np.random.RandomState(int(rng.integers(2**32))).get_state())  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
