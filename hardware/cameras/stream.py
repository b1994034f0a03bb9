"""Judging a stream of exposures: which are new, which repeat, are unpaired or late, and what is missing between them."""

from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from hardware.cameras.clock_sync import ClockSync
from hardware.cameras.exposure import Exposure

_KEPT_LATENCIES = 1000
_OUT_OF_ORDER = 2  # exposures by which one may come late; further back, the stream has begun again
_MAX_PAIR_GAP = 0.6  # of the period between colour and depth that belong together; free-running sensors are up to half apart
_MAX_GAP = 1000  # exposures; a larger jump is another count, not a loss


class ExposureVerdict(StrEnum):
    """What an exposure is to those before it."""

    NEW = "new"
    REPEATED = "repeated"
    UNPAIRED = "unpaired"
    OUT_OF_ORDER = "out of order"
    LOOPED = "looped"  # new, but the stream has begun again before it


@dataclass(frozen=True)
class Latency:
    """Seconds from exposure to arrival; from the fastest one when `is_relative`, because the camera's clock is its own."""

    count: int
    p50: float
    p95: float
    p99: float
    worst: float
    domain: str
    is_relative: bool


@dataclass(frozen=True)
class Health:
    """What has come from a camera since it was opened."""

    exposures: int = 0  # new ones
    repeated: int = 0
    unpaired: int = 0
    out_of_order: int = 0
    missing: int = 0  # exposures that the camera counted and that never came
    loops: int = 0
    stalls: int = 0  # times that nothing new came for as long as five exposures take
    losses: int = 0  # times that the camera was lost
    reconnects: int = 0


class StreamCheck:
    """Judges exposures in the order of their arrival. `number` and `time` of what is new only go up, whatever comes."""

    def __init__(self, period: float, clock: ClockSync | None = None) -> None:
        self._period = period
        self._clock = clock or ClockSync()
        self._last: Exposure | None = None
        self._latencies: deque[float] = deque(maxlen=_KEPT_LATENCIES)
        self.health = Health()
        self.number = -1
        self.time = -float("inf")

    def judge(self, exposure: Exposure) -> ExposureVerdict:
        """Raises nothing; `number` and `time` are the exposure's when it is new."""
        verdict, missing = self._compare(exposure)
        count = self.health
        match verdict:
            case ExposureVerdict.REPEATED:
                self.health = replace(count, repeated=count.repeated + 1)
            case ExposureVerdict.UNPAIRED:
                self.health = replace(count, unpaired=count.unpaired + 1)
            case ExposureVerdict.OUT_OF_ORDER:
                self.health = replace(count, out_of_order=count.out_of_order + 1)
            case ExposureVerdict.NEW | ExposureVerdict.LOOPED:
                loops = int(verdict is ExposureVerdict.LOOPED)
                if loops:
                    self._clock.restart()
                stalls = int(self._last is not None and exposure.arrival - self._last.arrival > 5 * self._period)
                self.health = replace(
                    count, exposures=count.exposures + 1, missing=count.missing + missing, loops=count.loops + loops,
                    stalls=count.stalls + stalls,
                )  # fmt: skip
                self._last = exposure
                self.number += 1 + missing
                self.time = self._clock.monotonic(exposure)
                self._latencies.append(exposure.arrival - self.time)
        return verdict

    def lost(self) -> None:
        """The camera was lost; when it comes back, its count and clock may begin anew."""
        self.health = replace(self.health, losses=self.health.losses + 1)

    def reconnected(self) -> None:
        self.health = replace(self.health, reconnects=self.health.reconnects + 1)
        self._last = None
        self._clock.restart()

    def latency(self) -> Latency:
        """Over the last 1,000 new exposures."""
        domain = self._last.domain if self._last else "none"
        if not self._latencies:
            return Latency(0, np.nan, np.nan, np.nan, np.nan, domain, self._clock.is_relative)
        p50, p95, p99, worst = np.percentile(self._latencies, [50, 95, 99, 100]).tolist()
        return Latency(len(self._latencies), p50, p95, p99, worst, domain, self._clock.is_relative)

    def _compare(self, exposure: Exposure) -> tuple[ExposureVerdict, int]:
        """What `exposure` is, and how many are missing before it."""
        if exposure.pair_gap is None or abs(exposure.pair_gap) > _MAX_PAIR_GAP * self._period:
            return ExposureVerdict.UNPAIRED, 0
        last = self._last
        if last is None:
            return ExposureVerdict.NEW, 0
        same_clock = exposure.domain == last.domain and exposure.domain != "arrival"
        later = exposure.stamp - last.stamp if same_clock else exposure.arrival - last.arrival
        counted = later / self._period if exposure.number is None or last.number is None else exposure.number - last.number
        if counted == 0 or (later == 0 and same_clock):
            return ExposureVerdict.REPEATED, 0
        if counted < 0:
            return (ExposureVerdict.OUT_OF_ORDER if min(counted, later / self._period) >= -_OUT_OF_ORDER else ExposureVerdict.LOOPED), 0
        if later < 0:  # the count goes on: only the clock was set back, or its 32 bits of microseconds were full
            self._clock.restart()
            return ExposureVerdict.NEW, 0
        missing = round(counted) - 1 if exposure.domain != "arrival" or exposure.number is not None else 0
        return ExposureVerdict.NEW, missing if 0 < missing < _MAX_GAP else 0
