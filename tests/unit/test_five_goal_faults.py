"""Missed far goals are laid to what the judge's poses show."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import five_goal_faults as faults

GOAL = np.array([[0.4, 0.1, 0.02]])
CUBE = np.array([[0.4, -0.1, 0.02]])


def look(beside: float = 0.0, closure: float = 0.0, seen_off: float = 0.0, height: float = 0.02) -> faults.Look:
    """A hand `beside` a cube that is seen `seen_off` metres to the side."""
    cube = CUBE + [0, 0, height - 0.02]
    return faults.Look(cube, cube + [seen_off, 0, 0], GOAL, cube[0] + [beside, 0, 0.01], closure, 0)


@pytest.mark.parametrize(
    ("looks", "fault"),
    [
        ([look(0.05), look(0.05, 0.9)], "closed_beside"),
        ([look(0.05, 0.0, 0.05), look(0.05, 0.9, 0.05)], "cube_seen_elsewhere"),
        ([look(0.05), look(0.05)], "never_closed"),
        ([look(), look(closure=0.5), look(closure=0.5, height=0.1), look()], "set_down_elsewhere"),
        ([look(), replace(look(), thing=None)], "taken_for_done"),
        ([look(), replace(look(), goal_seen=GOAL + 0.05)], "goal_seen_elsewhere"),
    ],
)
def test_a_missed_goal_is_laid_to_the_last_move(looks: list[faults.Look], fault: str) -> None:
    assert faults.fault_of(looks, GOAL, 1) == fault


def test_a_handle_is_no_cube() -> None:
    assert faults.fault_of([look()], GOAL, 0) == "not_a_cube"


def test_a_closing_counts_once_and_tells_whether_the_cube_rose() -> None:
    looks = [look(), look(0.01, 0.5), look(0.01, 0.6, height=0.1), look(), look(0.05, 0.9)]
    assert [(at, rose) for at, _, _, rose in faults.closings(looks, 1)] == [(1, True), (4, False)]
