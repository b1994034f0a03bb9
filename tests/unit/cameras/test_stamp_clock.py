"""Cameras' stamps become this computer's seconds, as well as each clock allows."""

import numpy as np
import pytest
from exposures import PERIOD, exposure

from hardware.cameras.clock_sync import ClockSync

EPOCH = 1.7e9  # s between the wall clock and the monotonic one in these tests


def clock(delay: float = 0.0) -> ClockSync:
    return ClockSync(delay, lambda: EPOCH)


def test_the_wall_clock_is_converted() -> None:
    stamps = clock()
    assert stamps.monotonic(exposure(0, EPOCH + 50.0, 50.03, "epoch")) == pytest.approx(50.0, abs=1e-6)
    assert not stamps.is_relative


def test_a_stamp_that_is_not_of_this_time_is_only_relative() -> None:
    stamps = clock()
    yesterday = exposure(0, EPOCH - 86400.0, 50.03, "epoch")  # as in a recording
    assert stamps.monotonic(yesterday) == pytest.approx(50.03) and stamps.is_relative


def test_a_clock_of_its_own_is_found_by_the_fastest_arrival_and_followed_as_it_drifts() -> None:
    random, stamps = np.random.default_rng(0), clock()
    errors = []
    for i in range(9000):  # five minutes; the camera's clock runs 100 ppm fast
        true = 50 + i * PERIOD
        arrival = true + 0.01 + random.exponential(0.01)
        errors.append(stamps.monotonic(exposure(i, 7 + 1.0001 * (true - 50), arrival)) - true)
    assert np.abs(np.array(errors[300:]) - 0.01).max() < 0.004  # late by the fastest delay, 10 ms, and by 3 ms of drift in 30 s


def test_the_delay_of_a_clock_of_its_own_is_corrected_when_it_was_measured() -> None:
    assert clock(delay=0.01).monotonic(exposure(0, 7.0, 50.01)) == pytest.approx(50.0)


def test_a_change_of_clock_does_not_turn_time_back() -> None:
    stamps = clock()
    before = stamps.monotonic(exposure(0, 7.0, 50.0))  # relative: taken for its arrival
    after = stamps.monotonic(exposure(1, EPOCH + 49.99, 50.033, "epoch"))  # really it had been exposed much earlier
    assert after > before
