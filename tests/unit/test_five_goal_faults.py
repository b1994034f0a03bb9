"""Missed far goals are laid to what the judge's poses show."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
GOAL = np.array([[0.4, 0.1, 0.02]])
CUBE = np.array([[0.4, -0.1, 0.02]])
Numbers = dict[str, Any]


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("five_goal_faults")


def look(faults: ModuleType, beside: float = 0.0, closure: float = 0.0, seen_off: float = 0.0, height: float = 0.02, **changed: Any) -> Any:
    """A hand `beside` a cube that is seen `seen_off` metres to the side."""
    cube = CUBE + [0, 0, height - 0.02]
    numbers: Numbers = {"true": cube, "seen": cube + [seen_off, 0, 0], "goal_seen": GOAL, "tool": cube[0] + [beside, 0, 0.01]}
    return faults.Look(**{**numbers, "closure": closure, "thing": 0, **changed})


@pytest.mark.parametrize(
    ("looks", "fault"),
    [
        ([{"beside": 0.05}, {"beside": 0.05, "closure": 0.9}], "closed_beside"),
        ([{"seen_off": 0.05}, {"seen_off": 0.05, "closure": 0.9}], "cube_seen_elsewhere"),
        ([{"beside": 0.05}, {"beside": 0.05}], "never_closed"),
        ([{}, {"closure": 0.5}, {"closure": 0.5, "height": 0.1}, {}], "set_down_elsewhere"),
        ([{}, {"thing": None}], "taken_for_done"),
        ([{}, {"goal_seen": GOAL + 0.05}], "goal_seen_elsewhere"),
    ],
)
def test_a_missed_goal_is_laid_to_the_last_move(faults: ModuleType, looks: list[Numbers], fault: str) -> None:
    assert faults.fault_of([look(faults, **one) for one in looks], GOAL, 1) == fault


def test_a_handle_is_no_cube(faults: ModuleType) -> None:
    assert faults.fault_of([look(faults)], GOAL, 0) == "not_a_cube"


def test_a_closing_counts_once_and_tells_whether_the_cube_rose(faults: ModuleType) -> None:
    told: list[Numbers] = [{}, {"closure": 0.5}, {"closure": 0.6, "height": 0.1}, {}, {"beside": 0.05, "closure": 0.9}]
    assert [(at, rose) for at, _, _, rose in faults.closings([look(faults, **one) for one in told], 1)] == [(1, True), (4, False)]
