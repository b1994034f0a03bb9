"""`benchmarks/least_gain.py`: what methods of an evaluation reach, beside the policy alone on the same pairs."""

from importlib import import_module
from pathlib import Path

import pytest

from robo_dream.evaluation.results import Result, ResultFile


def test_a_careful_search_is_compared_with_the_policy_alone_task_by_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    file = ResultFile(tmp_path / "results.jsonl", {})
    for task, method, outcomes in (
        ("cube", "policy_alone", "++-+"), ("cube", "careful", "++++"), ("scene", "policy_alone", "++++"), ("scene", "careful", "-+++"),
    ):  # fmt: skip
        for pair, outcome in enumerate(outcomes):
            file.add(Result(task, method, pair, "same", True, outcome == "+", 10, 0.0, (0.1,), "done"))
    found = import_module("least_gain").evaluated(file.path)
    assert [found[f"{task}/careful/{name}"] for task in ("cube", "scene") for name in ("strict", "gain_strict")] == [100, 25, 75, -25]
    assert found["cube/policy_alone/pairs"] == 4 and not [name for name in found if name.endswith("rollouts")]
