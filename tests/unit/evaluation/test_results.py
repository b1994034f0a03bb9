from pathlib import Path

import pytest

from robo_dream.errors import DataError
from robo_dream.evaluation.results import Result, ResultFile, read_results
from robo_dream.evaluation.table import markdown_table

NOW = {("push", "planner"): "today"}


def result(pair: int, moderate: bool = True, method: str = "planner", settings: str = "today") -> Result:
    return Result("push", method, pair, settings, moderate, False, 30, 0.02, (0.1, 0.2), "BUDGET")


def test_results_survive_a_torn_last_line(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    ResultFile(path, NOW).add(result(0))
    with path.open("ab") as torn:
        torn.write(b'{"task": "pu')
    ResultFile(path, NOW).add(result(1))
    assert [r.pair for r in read_results(path)] == [0, 1]


def test_results_of_other_settings_are_kept_but_not_mixed(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    ResultFile(path, NOW).add(result(0))
    ResultFile(path, NOW).add(result(1, settings="yesterday"))
    file = ResultFile(path, NOW)
    assert list(file.results) == [("push", "planner", 0)] and file.num_other == 1 and len(read_results(path)) == 2


def test_a_damaged_line_is_named(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    ResultFile(path, NOW).add(result(0))
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(DataError, match="line 2 is no result"):
        ResultFile(path, NOW)


def test_the_table_counts_what_happened():
    table = markdown_table([result(i, moderate=i < 3) for i in range(4)], ["planner"], {("push", "planner"): 384})
    assert "| push | planner | 4 | 75.0 (30 to 95) | 0.0 (0 to 49) |  |  | 384 | 150 / 200 / 200 |" in table


def test_the_table_compares_on_the_pairs_that_both_rows_have():
    planner = [result(i) for i in range(4)]
    random = [result(i, moderate=i == 1, method="random") for i in (1, 2, 9)]  # pair 9 was not planned
    table = markdown_table([*planner, *random], ["random", "planner"], {})
    assert "| push | random | 3 | 33.3 (6 to 79) | 0.0 (0 to 56) | +50 (+0 to +100) | +0 (+0 to +0) | 0 |" in table
