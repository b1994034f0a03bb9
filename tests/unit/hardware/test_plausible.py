"""Readings that cannot be true are told from those that can."""

import numpy as np
import pytest

from hardware.arms.plausible import Plausible


@pytest.fixture
def plausible():
    kept = Plausible("arm", ("a", "b"), low=-3.0, high=3.0, max_speed=2.0)
    assert kept.problem(1.0, np.array([0.5, -0.5]), np.zeros(2)) == ""
    return kept


@pytest.mark.parametrize(
    ("pos", "vel", "words"),
    [
        ([0.5, np.nan], [0.0, 0.0], "b is not finite"),
        ([0.5, -0.5], [np.inf, 0.0], "a is not finite"),
        ([0.5, -3.1], [0.0, 0.0], "b says -3.1 rad, out of its range -3.00 to 3.00"),
        ([0.5, -0.5], [0.0, -2.1], "b says -2.1 rad/s"),
        ([0.6, -0.5], [0.0, 0.0], "a says it jumped by 0.10 rad in 0.010 s"),
    ],
)
def test_what_cannot_be_is_named_and_not_kept(plausible, pos, vel, words):
    assert words in plausible.problem(1.01, np.array(pos), np.array(vel))
    assert plausible.problem(1.01, np.array([0.52, -0.5]), np.zeros(2)) == "", "2 rad/s for 10 ms, and what noise may add"


def test_after_a_while_the_arm_may_be_anywhere_in_its_range(plausible):
    assert plausible.problem(2.0, np.array([2.9, 2.9]), np.zeros(2)) == ""
