"""The clock of a real robot's computer."""

import time
from collections.abc import Callable


class WallClock:
    """Monotonic seconds of this computer; frames and arm states must be stamped by the same clock."""

    def __init__(self, read: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._read = read
        self._sleep = sleep

    def now(self) -> float:
        return self._read()

    def sleep_until(self, time: float) -> None:
        """Returns at `time`, at once when that has passed."""
        remaining = time - self._read()
        if remaining > 0:
            self._sleep(remaining)
