"""Which link fails: a ranking by the truth has no regret, and what is promised is compared with what is kept."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("ranking_links")


def decision(links: ModuleType, pair: int, imagined: list[float], drawn: list[float], left: list[float]):
    costs = {links.IMAGINED: np.array(imagined, float), links.DYNAMICS: np.array(drawn, float)}
    return links.Ranked(pair, costs, np.array(left), np.array(left) < 0.03)


def test_a_link_is_as_good_as_the_candidate_that_it_chooses_ends_nearer_than_the_likeliest(links: ModuleType) -> None:
    figures = links.figures_of([decision(links, 0, [2, 1, 3], [2, 3, 1], [0.04, 0.05, 0.02])])
    assert (figures["imagined/gain_mm"], figures["true_dynamics/gain_mm"], figures["truth/gain_mm"]) == pytest.approx((-10, 20, 20))
    assert (figures["imagined/regret_mm"], figures["true_dynamics/regret_mm"], figures["truth/regret_mm"]) == pytest.approx((30, 0, 0))
    assert (figures["likeliest/strict"], figures["any/strict"], figures["imagined/strict"], figures["truth/strict"]) == (0, 100, 0, 100)
    assert "true_poses/gain_mm" not in figures  # a cost of latents has no such line


def test_a_promise_that_the_truth_does_not_keep_is_told(links: ModuleType) -> None:
    kept = links.figures_of([decision(links, 0, [3, 1], [3, 1], [0.2, 0.1])])["promise_kept"]
    half = links.figures_of([decision(links, 0, [3, 1], [3, 2], [0.2, 0.1])])["promise_kept"]
    assert (kept, half) == (1, 0.5)
    assert "promise_kept" not in links.figures_of([decision(links, 0, [1, 3], [3, 2], [0.2, 0.1])])  # the likeliest was chosen


def test_decisions_of_one_pair_are_no_independent_evidence(links: ModuleType) -> None:
    gains = [[0.2, 0.1], [0.2, 0.3]]
    once = links.figures_of([decision(links, pair, [2, 1], [2, 1], left) for pair, left in enumerate(gains)])
    often = links.figures_of([decision(links, pair, [2, 1], [2, 1], left) for pair, left in enumerate(gains) for _ in range(50)])
    ends = ("imagined/gain_mm_low", "imagined/gain_mm_high")
    assert [once[end] for end in ends] == [often[end] for end in ends] == pytest.approx([-100, 100])


def test_where_all_end_alike_nothing_is_said_of_ranks(links: ModuleType) -> None:
    figures = links.figures_of([decision(links, 0, [1, 2], [1, 2], [0.1, 0.1])])
    assert "imagined/spearman" not in figures and "| imagined |  |" in links.table(figures)
