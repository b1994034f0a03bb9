"""A recorded decision can be made again to the bit, by every planner, wherever a deadline cut it; and what differs is found."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import Recipe, record_run

from robo_dream.control.loop import LoopConfig
from robo_dream.errors import DataError
from robo_dream.planning.baselines import BestOfConfig, PolicyAloneConfig
from robo_dream.planning.candidates import bounds_of
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig, PoseCostConfig
from robo_dream.planning.gradient import GradientConfig
from robo_dream.planning.hybrid import HybridConfig
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.mppi import MppiConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.predictive import PredictiveConfig
from robo_dream.recording.decision import Decision
from robo_dream.testing.point_mass import point_action_spec
from robo_dream.viewer.again import compared, fitted, question_of, recomputed

PLANNERS: tuple[PlannerConfig, ...] = (
    PolicyGuidedConfig(horizon=3, num_samples=32, num_elites=6, num_proposals=8),
    PolicyGuidedConfig(horizon=3, num_samples=32, num_elites=6, num_proposals=8, action_selection="mode"),
    CemConfig(horizon=3, num_samples=32, num_iterations=4, num_elites=6, num_proposals=8),
    IcemConfig(horizon=3, num_samples=32, num_elites=5, num_proposals=8),
    MppiConfig(horizon=3, num_samples=32, num_proposals=8),
    PredictiveConfig(horizon=3, num_samples=32, num_proposals=8),
    GradientConfig(horizon=3, num_samples=12, num_iterations=4, num_proposals=4),
    HybridConfig(horizon=3),
    BestOfConfig(horizon=3, num_samples=16),
    PolicyAloneConfig(horizon=3),
)
SHORT = LoopConfig(max_steps=20)
FAR_TOOL = (0.1, 0.05, 0.0)


def same_again(recipe: Recipe, decision: Decision) -> bool:
    return compared(decision, recomputed(recipe.planner_of, decision), question_of(decision)).exact


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: f"{planner.kind} {getattr(planner, 'action_selection', '')}")
def test_every_decision_of_every_planner_is_the_same_again(planner: PlannerConfig, tmp_path: Path) -> None:
    recipe = Recipe(planner=planner, loop=SHORT)
    run = record_run(tmp_path, recipe)
    assert len(run.decisions) == 4 and run.decisions[0].previous is None and run.decisions[3].previous is not None
    assert [one.step for one in run.decisions if not same_again(recipe, one)] == []


@pytest.mark.parametrize("execute_steps", [5, 10])
def test_a_plan_of_which_more_was_executed_warms_up_the_next_as_it_did(execute_steps: int, tmp_path: Path) -> None:
    recipe = Recipe(planner=PLANNERS[3], loop=LoopConfig(max_steps=20, execute_steps=execute_steps))
    assert all(same_again(recipe, one) for one in record_run(tmp_path, recipe).decisions)


def test_a_plan_made_while_the_arm_moved_is_the_same_again(tmp_path: Path) -> None:
    """It was made for where committed actions were imagined to lead, in doubt of that already."""
    cost = CostConfig(distance=0, pose=1, disagreement=1.0, pose_parts=PoseCostConfig(object_pos=0, tool_pos=1))
    recipe = Recipe(cost=cost, known_radius=0.01, loop=LoopConfig(max_steps=30, asynchronous=True))
    run = record_run(tmp_path, recipe)
    assert len(run.decisions) > 3 and any(one.belief_disagreement for one in run.decisions)
    assert [one.step for one in run.decisions if not same_again(recipe, one)] == []


@pytest.mark.parametrize("planner", [*PLANNERS[:5], PolicyGuidedConfig(horizon=3, num_samples=32, num_proposals=8, sample_budget=7)])
@pytest.mark.parametrize("seconds", [3.0, 12.0, 17.0, 25.0])
def test_a_search_that_a_deadline_cut_is_cut_there_again(planner: PlannerConfig, seconds: float, tmp_path: Path) -> None:
    recipe = Recipe(planner=planner, loop=replace(SHORT, max_steps=10, decision_seconds=seconds), tick=1.0)
    run = record_run(tmp_path, recipe)
    assert [one.step for one in run.decisions if not same_again(recipe, one)] == []


def test_those_deadlines_did_cut(tmp_path: Path) -> None:
    recipe = Recipe(planner=PLANNERS[2], loop=replace(SHORT, max_steps=10, decision_seconds=12.0), tick=1.0)
    run = record_run(tmp_path, recipe)
    assert {one.status for one in run.decisions} == {"OUT_OF_TIME"} and all(1 <= one.num_iterations < 4 for one in run.decisions)


def test_a_decision_with_a_goal_in_numbers_is_the_same_again(tmp_path: Path) -> None:
    recipe = Recipe(goal=(0.0,) * 8, goal_tool_pos=FAR_TOOL, loop=SHORT)
    run = record_run(tmp_path, recipe)
    assert run.decisions[0].goal_tool_pos is not None and all(same_again(recipe, one) for one in run.decisions)


@pytest.mark.parametrize("part", ["seed", "previous", "belief", "goal", "cost"])
def test_another_question_gets_another_answer_and_it_is_said(part: str, tmp_path: Path) -> None:
    recipe = Recipe(loop=SHORT, planner=CemConfig(horizon=3, num_samples=32, num_iterations=2, num_elites=6, num_proposals=0))
    decision = record_run(tmp_path, recipe).decisions[2]
    other = decision
    if part == "seed":
        other = replace(decision, seed=decision.seed + 1)
    elif part == "previous":
        other = replace(decision, previous=None, previous_elites=None)
    elif part == "cost":
        recipe = replace(recipe, cost=replace(recipe.cost, pose=2.0))
    else:
        other = replace(decision, **{part: getattr(decision, part) + 0.01})
    found = compared(decision, recomputed(recipe.planner_of, other), question_of(other))
    assert not found.exact and found.differing


def test_a_record_made_before_warm_starts_were_kept_is_refused(tmp_path: Path) -> None:
    decision = record_run(tmp_path, Recipe(loop=SHORT)).decisions[0]
    with pytest.raises(DataError, match="before warm starts were kept"):
        question_of(replace(decision, elites=None))


def test_a_previous_plan_is_cut_or_held_still_to_fit_another_horizon(tmp_path: Path) -> None:
    question = question_of(record_run(tmp_path, Recipe(loop=SHORT)).decisions[1])
    bounds = bounds_of(point_action_spec(), question.belief.latent)
    previous, shorter, longer = question.previous, *(fitted(question.previous, steps, bounds) for steps in (10, 20))
    assert previous is not None and shorter is not None and longer is not None
    assert torch.equal(shorter.actions, previous.actions[:, :10])
    assert torch.equal(longer.actions[:, :15], previous.actions) and not longer.actions[:, 15:].any()
