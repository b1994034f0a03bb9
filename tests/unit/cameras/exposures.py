"""Exposures without pictures, for tests that judge streams."""

import numpy as np

from hardware.cameras.exposure import Domain, Exposure

PERIOD = 1 / 30


def exposure(
    number: int | None, stamp: float, arrival: float | None = None, domain: Domain = "device", pair_gap: float | None = 0.0
) -> Exposure:
    arrived = stamp + 0.02 if arrival is None else arrival
    return Exposure(number, stamp, domain, arrived, lambda: (np.zeros((2, 2, 3), np.uint8), None), pair_gap)
