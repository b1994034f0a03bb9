"""Seconds spent in each stage of a decision, by an injected clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up seconds by stage. On a GPU a stage's work may be waited for in a later one; the total is exact."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._start = clock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = self._clock()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - start

    def seconds(self) -> dict[str, float]:
        """Seconds by stage so far, and "total" since the watch was made."""
        return {**self._seconds, "total": self._clock() - self._start}
