import numpy as np

from robo_dream.evaluation.intervals import auroc, caught_at, threshold_at


def test_auroc_is_the_share_of_pairs_in_the_right_order_and_ties_count_half() -> None:
    rng = np.random.default_rng(0)
    wrong, well = rng.integers(0, 8, 40).astype(float), rng.integers(0, 6, 60).astype(float)
    pairs = np.sign(wrong[:, None] - well[None]) / 2 + 0.5
    np.testing.assert_allclose(auroc(wrong, well), pairs.mean(), rtol=1e-12)


def test_auroc_of_nothing_is_not_a_number() -> None:
    assert np.isnan(auroc(np.zeros(0), np.ones(3))) and np.isnan(auroc(np.ones(3), np.zeros(0)))


def test_no_more_false_alarms_than_asked_for() -> None:
    well = np.random.default_rng(1).normal(size=97)
    for share in (0.0, 0.05, 0.1, 0.5):
        alarms = (well > threshold_at(well, share)).mean()
        assert share - 1 / len(well) < alarms <= share or share == alarms == 0.0


def test_what_is_caught_lies_above_the_threshold() -> None:
    well = np.arange(10.0)
    assert caught_at(np.array([8.5, 9.5, 3.0, 11.0]), well, 0.1) == 0.75
