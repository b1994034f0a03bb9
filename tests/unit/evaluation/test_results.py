import pytest

from robo_dream.errors import DataError
from robo_dream.evaluation.results import Result, ResultFile, read_results
from robo_dream.evaluation.table import markdown_table


def result(pair: int, moderate: bool = True) -> Result:
    return Result("push", "planner", pair, moderate, False, 30, 0.02, (0.1, 0.2), "BUDGET")


def test_results_survive_a_torn_last_line(tmp_path):
    path = tmp_path / "results.jsonl"
    file = ResultFile(path, {"seed": 1})
    file.add(result(0))
    with path.open("ab") as torn:
        torn.write(b'{"task": "pu')
    again = ResultFile(path, {"seed": 1})
    again.add(result(1))
    assert [r.pair for r in read_results(path)[1]] == [0, 1]


def test_results_of_another_evaluation_are_not_mixed(tmp_path):
    ResultFile(tmp_path / "results.jsonl", {"seed": 1})
    with pytest.raises(DataError, match="other seed"):
        ResultFile(tmp_path / "results.jsonl", {"seed": 2})


def test_the_table_counts_what_happened():
    table = markdown_table([result(i, moderate=i < 3) for i in range(4)], ["planner"], {("push", "planner"): 384})
    assert "| push | planner | 4 | 75.0 (30 to 95) | 0.0 (0 to 49) | 384 | 150 / 200 / 200 |" in table
