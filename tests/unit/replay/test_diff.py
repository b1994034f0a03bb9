"""Of two runs that differ in one thing, the thing is found, and the first decision that it changed."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import Recipe, changed, record_run

from robo_dream.control.loop import LoopConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.recording.record import read_run
from robo_dream.viewer.diff import Cause, described, diff

BASE = Recipe(planner=PolicyGuidedConfig(horizon=3, num_samples=32, num_elites=6, num_proposals=0))
HURRIED = changed(BASE, loop=LoopConfig(max_steps=25, decision_seconds=60.0), tick=1.0)
PLANTED = {  # the change, the first decision it touches, its cause, and a word of the sentence
    "a bump at control step 7": (BASE, changed(BASE, bumped_at=7), 10, Cause.OBSERVATION, "control step 7"),
    "the seed": (BASE, changed(BASE, seed=8), 0, Cause.SEED, "7000021 against 8000024"),
    "the goal": (BASE, changed(BASE, goal=(0.1, 0.06, *BASE.goal[2:])), 0, Cause.GOAL, "latent"),
    "a goal in numbers": (BASE, changed(BASE, goal_tool_pos=(0.1, 0.05, 0.001)), 0, Cause.GOAL, "tool"),
    "a weight of the cost": (BASE, changed(BASE, cost=replace(BASE.cost, pose=1.5)), 0, Cause.CONFIGURATION, "planning.cost.pose is 1"),
    "the size of the search": (
        BASE, changed(BASE, planner=replace(BASE.planner, num_samples=40)), 0, Cause.CONFIGURATION, "num_samples is 32 against 40",
    ),
    "a slow computer from the third decision on": (HURRIED, changed(HURRIED, slower_from=2), 10, Cause.DEADLINE, "cut by its deadline"),
    "the checkpoint": (
        changed(BASE, known_radius=0.02), changed(BASE, known_radius=0.03), 0, Cause.CHECKPOINT, "radius 0.02 against radius 0.03",
    ),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_the_planted_cause_is_found_where_it_was_planted(planted: str, tmp_path: Path) -> None:
    first, second, step, cause, word = PLANTED[planted]
    runs = record_run(tmp_path / "a", first), record_run(tmp_path / "b", second)
    found = diff(*runs)
    assert found.step == step and found.num_same == step // 5
    assert [one.cause for one in found.why] == [cause] and word in found.why[0].sentence
    back = diff(runs[1], runs[0])
    assert back.step == step and [one.cause for one in back.why] == [cause]


def test_the_same_run_twice_does_not_part(tmp_path: Path) -> None:
    found = diff(record_run(tmp_path / "a", BASE), record_run(tmp_path / "b", BASE))
    assert found.step is None and found.num_same == 5 and found.settings == () and found.why == ()


def test_what_was_changed_and_did_not_matter_is_told_apart(tmp_path: Path) -> None:
    patient = changed(BASE, loop=replace(BASE.loop, decision_seconds=1e6))
    found = diff(record_run(tmp_path / "a", BASE), record_run(tmp_path / "b", patient))
    assert found.step is None and [one.sentence for one in found.settings] == ["loop.decision_seconds is missing against 1000000.0"]
    bumped = diff(record_run(tmp_path / "c", BASE), record_run(tmp_path / "d", changed(patient, bumped_at=7)))
    assert [one.cause for one in bumped.why] == [Cause.OBSERVATION] and len(bumped.settings) == 1


def test_two_causes_are_both_named(tmp_path: Path) -> None:
    found = diff(record_run(tmp_path / "a", BASE), record_run(tmp_path / "b", changed(BASE, seed=8, goal=(0.1, 0.06, *BASE.goal[2:]))))
    assert [one.cause for one in found.why] == [Cause.GOAL, Cause.SEED]


def test_a_run_that_was_cut_short_parts_where_it_ends(tmp_path: Path) -> None:
    runs = record_run(tmp_path / "a", BASE), record_run(tmp_path / "b", changed(BASE, loop=replace(BASE.loop, max_steps=12)))
    found = diff(*runs)
    assert found.step == 15 and "ended (BUDGET) after 12 control steps" in found.differences[0].sentence
    assert "loop.max_steps is 25 against 12" in found.why[0].sentence


def test_a_tolerance_overlooks_what_is_smaller(tmp_path: Path) -> None:
    runs = record_run(tmp_path / "a", BASE), record_run(tmp_path / "b", changed(BASE, bumped_at=7))
    assert diff(*runs, tolerance=0.99).step is None and diff(*runs, tolerance=1e-6).step == 10


def test_a_damaged_decision_is_left_out_and_said(tmp_path: Path) -> None:
    first = record_run(tmp_path / "a", BASE)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "decisions" / "000005.npz").write_bytes(b"half")
    found = diff(first, read_run(tmp_path / "b"))
    assert found.step is None and found.num_same == 4 and found.left_out == (5,)
    assert "left out" in described(found, "a", "b")
