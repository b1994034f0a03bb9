import numpy as np
import pytest

from robo_dream.evaluation.intervals import bootstrap, paired_difference, wilson


@pytest.mark.parametrize(("successes", "trials", "low", "high"), [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (50, 100, 0.4038, 0.5962)])
def test_wilson_gives_published_values(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=2e-4)


def test_a_paired_difference_of_equal_outcomes_is_exactly_zero():
    same = np.random.default_rng(0).random(50) < 0.5
    assert paired_difference(same, same) == (0.0, 0.0, 0.0)


def test_a_paired_interval_covers_the_difference_and_shrinks_with_pairs():
    rng = np.random.default_rng(0)
    few, many = rng.random((2, 40)) < [[0.8], [0.5]], rng.random((2, 4000)) < [[0.8], [0.5]]
    for first, second in (few, many):
        difference, low, high = paired_difference(first, second)
        assert low <= difference <= high
    assert np.subtract(*paired_difference(*many)[:0:-1]) < np.subtract(*paired_difference(*few)[:0:-1])


def test_the_bootstrap_of_a_mean_is_as_wide_as_its_standard_error() -> None:
    values = np.random.default_rng(3).normal(size=400)
    low, high = bootstrap(lambda cases: float(values[cases].mean()), len(values))
    standard_error = values.std() / np.sqrt(len(values))
    np.testing.assert_allclose([low, high], values.mean() + np.array([-1.96, 1.96]) * standard_error, atol=0.2 * standard_error)
