"""Figures of speed: percentiles, counted work and lines whose answers are known."""

import os
from pathlib import Path

import pytest
import torch

from robo_dream.evaluation.latency import line_through, percentiles, stolen_seconds, timed, work_of


def test_percentiles_are_milliseconds() -> None:
    found = percentiles([i / 1000 for i in range(101)])
    assert (found.p50, found.p95, found.p99) == pytest.approx((50, 95, 99))


def test_work_of_a_matrix_product_is_two_for_each_multiplication_and_all_three_matrices() -> None:
    left, right = torch.ones(4, 8), torch.ones(8, 16)
    work = work_of(lambda: left @ right)
    assert work.flops == 2 * 4 * 8 * 16
    assert work.bytes == 4 * (4 * 8 + 8 * 16 + 4 * 16)


def test_views_move_no_bytes() -> None:
    values = torch.ones(4, 8)
    assert work_of(lambda: values.t().reshape(8, 4)[2:].unsqueeze(0)).bytes == 0


def test_work_is_counted_in_inference_mode_too() -> None:
    layer, rows = torch.nn.Linear(8, 16), torch.ones(4, 8)

    @torch.inference_mode()
    def forward() -> None:
        layer(rows)

    assert work_of(forward).flops == 2 * 4 * 8 * 16


def test_a_line_is_found_and_what_is_no_line_is_told() -> None:
    line = line_through([1, 2, 4, 8], [3 + 2 * x for x in (1, 2, 4, 8)])
    assert (line.start, line.slope, line.explained) == pytest.approx((3, 2, 1))
    assert line_through([1, 2, 4, 8], [1, 5, 1, 5]).explained < 0.5


def test_every_call_is_timed_and_reported() -> None:
    called, reported = [], []
    seconds = timed(called.append, 3, lambda: None, lambda done, total: reported.append((done, total)))
    assert called == [0, 1, 2] and reported == [(1, 3), (2, 3), (3, 3)] and len(seconds) == 3


def test_stolen_time_is_the_eighth_number_of_all_processors(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text(f"cpu  1 2 3 4 5 6 7 {3 * ticks} 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    assert stolen_seconds(tmp_path / "stat") == 3.0
    assert stolen_seconds(tmp_path / "missing") == 0.0
