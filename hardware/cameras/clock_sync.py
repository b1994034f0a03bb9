"""Cameras' time stamps as this computer's monotonic seconds."""

import time
from collections import deque
from collections.abc import Callable

from hardware.cameras.exposure import Domain, Exposure

_WINDOW = 30.0  # s; a camera's crystal, at most 100 ppm off, drifts by 3 ms in it
_PLAUSIBLE_AGE = 2.0  # s from exposure to arrival; more means that the stamp counts from somewhere else
_ROUNDING = 1e-3  # s


class ClockSync:
    """Maps stamps to monotonic seconds, never later than the exposure's arrival and always later than the one before.

    Stamps of the monotonic and wall clocks are converted. Of a clock of the camera's own only the difference to this computer's is
    unknown: it is taken from the exposure of the last 30 s that arrived fastest, so times are right but for the delay of that one (which
    `robo-dream calibrate latency` measures, and `delay` corrects). `is_relative` says so.
    """

    def __init__(self, delay: float = 0.0, epoch_minus_monotonic: Callable[[], float] = lambda: time.time() - time.monotonic()) -> None:
        self._delay = delay  # s from exposure to arrival of the fastest exposure
        self._epoch_offset = epoch_minus_monotonic
        self._last = -float("inf")
        self._offsets: deque[tuple[float, float]] = deque()  # (arrival, arrival - stamp), offsets ascending: a sliding minimum
        self._domain: Domain | None = None
        self.is_relative = False

    def restart(self) -> None:
        """Forgets the camera's clock, which has begun again; times still only go forward."""
        self._offsets.clear()

    def monotonic(self, exposure: Exposure) -> float:
        """When `exposure` was made."""
        if exposure.domain != self._domain:
            self.restart()
            self._domain = exposure.domain
        time = max(min(self._convert(exposure), exposure.arrival), self._last + 1e-6)
        self._last = time
        return time

    def _convert(self, exposure: Exposure) -> float:
        if exposure.domain == "arrival":
            self.is_relative = True
            return exposure.arrival - self._delay
        if exposure.domain != "device":
            stamp = exposure.stamp - (self._epoch_offset() if exposure.domain == "epoch" else 0.0)
            if -_ROUNDING <= exposure.arrival - stamp <= _PLAUSIBLE_AGE:
                self.is_relative = False
                return stamp
        self.is_relative = True
        offset = exposure.arrival - exposure.stamp
        while self._offsets and self._offsets[-1][1] >= offset:
            self._offsets.pop()
        self._offsets.append((exposure.arrival, offset))
        while self._offsets[0][0] < exposure.arrival - _WINDOW:
            self._offsets.popleft()
        return exposure.stamp + self._offsets[0][1] - self._delay
