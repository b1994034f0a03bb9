from dataclasses import replace

import numpy as np
import pytest

from sim.goals import ObjectGoal, progress_of
from sim.ground_truth import GroundTruth, turn_between
from sim.tabletop.tasks.lift import Lift
from sim.tabletop.tasks.place import Place
from sim.tabletop.tasks.push import Push
from sim.tabletop.tasks.reach import Reach

REST = GroundTruth(np.array([0.4, 0, 0.2]), np.array([0.45, 0.05, 0.03, 1, 0, 0, 0]), (0.03, 0.03, 0.03), 0.0, touched=False)


def turned(degrees: float) -> np.ndarray:
    half = np.deg2rad(degrees) / 2
    return np.array([np.cos(half), 0, 0, np.sin(half)])


def moved(moment: GroundTruth, shift: tuple[float, float, float], degrees: float = 0.0) -> GroundTruth:
    return replace(moment, object_pose=np.concatenate([moment.object_pose[:3] + shift, turned(degrees)]))


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0), (20, 20), (80, 10), (90, 0), (135, 45)])
def test_a_cube_turned_by_a_quarter_looks_the_same(degrees, expected):
    assert np.rad2deg(turn_between(turned(0), turned(degrees), (0.03, 0.03, 0.03))) == pytest.approx(expected, abs=1e-4)


def test_a_long_box_turned_by_a_quarter_does_not_look_the_same():
    assert np.rad2deg(turn_between(turned(0), turned(90), (0.03, 0.05, 0.02))) == pytest.approx(90, abs=1e-4)


@pytest.mark.parametrize(("degrees", "symmetry", "expected"), [(90, 1, 90), (180, 1, 180), (180, 2, 0), (130, 3, 10)])
def test_what_is_no_box_looks_the_same_as_often_as_its_symmetry_says(degrees, symmetry, expected):
    assert np.rad2deg(turn_between(turned(0), turned(degrees), (0.03, 0.03, 0.03), symmetry)) == pytest.approx(expected, abs=1e-4)


def test_a_t_turned_by_a_quarter_or_a_half_is_not_strictly_at_its_goal():
    judge, tee = ObjectGoal("push", 0.03, 0.02), replace(REST, object_symmetry=1)
    assert judge.strict(moved(tee, (0, 0, 0), 10), tee)
    for degrees in (90, 180):
        assert judge.moderate(moved(tee, (0, 0, 0), degrees), tee) and not judge.strict(moved(tee, (0, 0, 0), degrees), tee)
        assert judge.strict(moved(REST, (0, 0, 0), degrees), REST)


def test_push_is_held_only_after_five_steps_in_a_row():
    near, far = moved(REST, (0.019, 0, 0), 14), moved(REST, (0.025, 0, 0))
    broken = progress_of(Push(), REST, [near] * 4 + [far] + [near] * 4)
    assert broken.moderate_step == 1 and broken.strict_step is None
    assert progress_of(Push(), REST, [far, *[near] * 5]).strict_step == 6


def test_push_turned_too_far_is_moderate_only():
    progress = progress_of(Push(), REST, [moved(REST, (0, 0, 0), 20)] * 8)
    assert progress.moderate_step == 1 and progress.strict_step is None


def test_reach_within_two_centimetres_is_moderate_and_within_one_strict():
    goal = REST
    at = [replace(REST, tool_pos=REST.tool_pos + [0.015, 0, 0])] + [replace(REST, tool_pos=REST.tool_pos + [0.009, 0, 0])] * 5
    progress = progress_of(Reach(), goal, at)
    assert (progress.moderate_step, progress.strict_step) == (1, 6)


def test_lift_needs_height_and_the_hand():
    high = moved(REST, (0, 0, 0.06))
    in_hand = replace(high, tool_pos=high.object_pose[:3], touched=True, gripper=0.6)
    assert not Lift().moderate(high, REST) and Lift().moderate(in_hand, REST)
    assert not Lift().moderate(replace(in_hand, object_pose=REST.object_pose, tool_pos=REST.object_pose[:3]), REST)


def test_place_needs_the_object_let_go():
    held = replace(REST, touched=True)
    assert Place().strict(REST, REST) and not Place().moderate(held, REST)
    assert not Place().strict(replace(REST, object_speed=0.05), REST)
