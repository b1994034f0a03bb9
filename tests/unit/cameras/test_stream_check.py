"""Repeats, gaps, unpaired and late exposures and loops are told apart, and what is published only goes forward."""

from dataclasses import replace

import numpy as np
import pytest
from exposures import PERIOD, exposure
from hypothesis import given
from hypothesis import strategies as st

from hardware.cameras.exposure import Exposure
from hardware.cameras.stream import ExposureVerdict, Health, StreamCheck


def judged(*exposures: Exposure) -> tuple[list[ExposureVerdict], StreamCheck]:
    check = StreamCheck(PERIOD)
    return [check.judge(each) for each in exposures], check


def stream(*numbers: int) -> list[Exposure]:
    """Exposures at those places of a regular stream, each arriving after the one before."""
    return [exposure(number, 100 + number * PERIOD, arrival=100.5 + i * PERIOD) for i, number in enumerate(numbers)]


def test_a_regular_stream_is_all_new() -> None:
    verdicts, check = judged(*stream(*range(50)))
    assert set(verdicts) == {ExposureVerdict.NEW} and check.health == Health(exposures=50) and check.number == 49


def test_the_same_exposure_twice_is_repeated() -> None:
    verdicts, check = judged(*stream(4, 5, 5, 6))
    assert verdicts == [ExposureVerdict.NEW, ExposureVerdict.NEW, ExposureVerdict.REPEATED, ExposureVerdict.NEW]
    assert check.health == Health(exposures=3, repeated=1)


def test_an_old_picture_under_a_new_number_is_repeated() -> None:
    first, second = stream(4, 5)
    verdicts, _ = judged(first, replace(second, stamp=first.stamp))
    assert verdicts[1] is ExposureVerdict.REPEATED


def test_missing_exposures_are_counted_and_the_number_says_so() -> None:
    _, check = judged(*stream(0, 1, 5))
    assert check.health == Health(exposures=3, missing=3) and check.number == 5


def test_missing_exposures_of_a_camera_that_does_not_count_are_seen_in_its_stamps() -> None:
    _, check = judged(*(replace(each, number=None) for each in stream(0, 1, 5)))
    assert check.health == Health(exposures=3, missing=3)


@pytest.mark.parametrize("gap", [None, PERIOD, -PERIOD])
def test_colour_with_another_depth_is_unpaired(gap: float | None) -> None:
    verdicts, check = judged(exposure(0, 100, pair_gap=gap))
    assert verdicts == [ExposureVerdict.UNPAIRED] and check.health == Health(unpaired=1) and check.number == -1


def test_free_running_sensors_half_a_period_apart_are_paired() -> None:
    assert judged(exposure(0, 100, pair_gap=PERIOD / 2))[0] == [ExposureVerdict.NEW]


def test_a_late_exposure_is_out_of_order_and_one_far_back_is_a_loop() -> None:
    verdicts, check = judged(*stream(20, 21, 20, 22, 3, 4))
    assert verdicts == [
        ExposureVerdict.NEW,
        ExposureVerdict.NEW,
        ExposureVerdict.OUT_OF_ORDER,
        ExposureVerdict.NEW,
        ExposureVerdict.LOOPED,
        ExposureVerdict.NEW,
    ]
    assert check.health == Health(exposures=5, out_of_order=1, loops=1)


def test_a_clock_that_is_set_back_while_the_count_goes_on_is_no_loop() -> None:
    first, second = stream(7, 8)
    verdicts, check = judged(first, replace(second, stamp=second.stamp - 4294.967296))  # 32 bits of microseconds were full
    assert verdicts == [ExposureVerdict.NEW, ExposureVerdict.NEW] and check.health.loops == 0


def test_a_pause_of_more_than_five_periods_is_a_stall() -> None:
    first, second = stream(0, 10)
    _, check = judged(first, replace(second, arrival=first.arrival + 10 * PERIOD))
    assert check.health.stalls == 1


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 60)), st.floats(-50, 50), st.floats(0, 0.2),
            st.sampled_from(["device", "epoch", "monotonic", "arrival"]), st.sampled_from([0.0, PERIOD, None]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_whatever_comes_numbers_and_times_only_go_up_and_times_are_never_in_the_future(given_exposures: list) -> None:
    check, arrival, number, time = StreamCheck(PERIOD), 1000.0, -1, -np.inf
    for count, stamp, later, domain, gap in given_exposures:
        arrival += later + 1e-4
        verdict = check.judge(exposure(count, 1000 + stamp, arrival, domain, gap))
        if verdict in (ExposureVerdict.NEW, ExposureVerdict.LOOPED):
            assert check.number > number and check.time > time and check.time <= arrival
            number, time = check.number, check.time
        else:
            assert (check.number, check.time) == (number, time)
