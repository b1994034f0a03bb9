"""`robo-dream bench plan` prints its figures on any machine, and refuses what cannot be timed."""

import pytest

from robo_dream.cli.main import main


def test_bench_prints_times_work_growth_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    planner = "planners={small: {planner: {kind: policy_guided, num_samples: 16, num_iterations: 2, num_elites: 4, num_proposals: 8}}}"
    assert main(["bench", "plan", "decisions=2", "compiled=[false]", "large_search=5000", planner]) == 0
    shown = capsys.readouterr().out
    for words in ("GFLOP/s", "small", "candidates", "horizon", "problems", "us for each candidate's imagined step", "5000 candidates"):
        assert words in shown
    row = next(line for line in shown.splitlines() if line.startswith("small"))
    rollouts, p50, p95, p99, gflop = (float(word) for word in row.split()[1:6])
    assert rollouts == 32 and 0 < p50 <= p95 <= p99
    assert 32 * 5 * 1.5e-3 < gflop < 32 * 5 * 6e-3  # two to three million multiplications for each imagined step, and the encoder


def test_no_planner_to_time_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "plan", "planners={}"]) == 2
    assert "planners" in capsys.readouterr().err
