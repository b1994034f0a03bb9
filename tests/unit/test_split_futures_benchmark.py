"""`benchmarks/split_futures.py`: in how many of the pairs in which the mean of futures takes the risky way another planner leaves it."""

from importlib import import_module
from pathlib import Path

import pytest


def test_who_leaves_the_risky_way_is_counted_among_the_pairs_in_which_the_mean_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    rates = import_module("split_futures").rates
    found = {
        "mean": [(True, True, 40, 0.01), (True, False, 55, 0.25), (False, True, 50, 0.01), (True, False, 55, 0.25)],
        "cvar": [(False, True, 50, 0.01), (False, True, 52, 0.01), (True, True, 40, 0.01), (True, False, 55, 0.25)],
    }
    figures = rates(found)
    assert figures["mean/risky_pairs"] == 3 and figures["cvar/leaves_of_these_percent"] == 66.7
    assert (figures["mean/risky_percent"], figures["cvar/risky_percent"], figures["cvar/success_percent"]) == (75, 50, 75)
    assert figures["cvar/steps_to_goal"] == pytest.approx((50 + 52 + 40) / 3, abs=0.05)
    nobody_dared = rates({"mean": [(False, True, 50, 0.01)], "cvar": [(False, True, 50, 0.01)]})
    assert nobody_dared["mean/risky_pairs"] == 0 and "cvar/leaves_of_these_percent" not in nobody_dared
