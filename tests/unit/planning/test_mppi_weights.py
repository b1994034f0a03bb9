"""MPPI's weights against the formula worked by hand."""

import math

import torch

from robo_dream.planning.mppi import path_weights


def test_weights_are_exponential_in_the_total_measured_in_its_spread() -> None:
    weights = path_weights(torch.tensor([[0.0, 2.0]]), temperature=1.0)  # std of {0, 2} is 1
    torch.testing.assert_close(weights, torch.tensor([[1.0, math.exp(-2.0)]]))


def test_unit_of_the_cost_does_not_matter() -> None:
    totals = torch.tensor([[0.3, 1.0, 4.0]])
    torch.testing.assert_close(path_weights(totals, 0.5), path_weights(1000 * totals, 0.5))


def test_infinite_total_weighs_nothing_and_changes_nothing() -> None:
    weights = path_weights(torch.tensor([[0.0, torch.inf, 2.0]]), temperature=1.0)
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.0, math.exp(-2.0)]]))


def test_all_infinite_or_all_equal_gives_no_nan() -> None:
    assert (path_weights(torch.full((1, 3), torch.inf), 1.0) == 0).all()
    assert (path_weights(torch.full((1, 3), 7.0), 1.0) == 1).all()
