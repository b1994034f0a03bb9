"""Clocks that know how often they were read, so that a search cut by its deadline can be cut there again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

DEADLINE = 0.5  # seconds of a `RecordedClock`, between the two times it can show


@dataclass
class CountedClock:
    """`clock`, and how often it was read."""

    clock: Callable[[], float]
    num_readings: int = 0

    def __call__(self) -> float:
        self.num_readings += 1
        return self.clock()


@dataclass
class RecordedClock:
    """Past `DEADLINE` at the readings in `late` (counted from 1) and before it at all others."""

    late: Sequence[int]
    num_readings: int = 0

    def __call__(self) -> float:
        self.num_readings += 1
        return 2 * DEADLINE if self.num_readings in self.late else 0.0
