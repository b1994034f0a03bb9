"""Clocks that need no waiting."""

from dataclasses import dataclass


@dataclass
class ManualClock:
    """Time that moves only when somebody sleeps."""

    time: float = 0.0

    def now(self) -> float:
        return self.time

    def sleep_until(self, time: float) -> None:
        self.time = max(self.time, time)


@dataclass
class TickingClock:
    """Each reading is `tick` seconds later than the one before: a search seems to take long without taking long."""

    tick: float = 1.0
    time: float = 0.0

    def __call__(self) -> float:
        self.time += self.tick
        return self.time
