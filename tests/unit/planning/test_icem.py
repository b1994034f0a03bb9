"""What iCEM adds to CEM."""

import torch

from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.icem import IcemConfig, IcemPlanner
from robo_dream.testing.point_mass import PointMassModel, point_action_spec, point_problems

MODEL = PointMassModel(point_action_spec())
PLANNER = IcemPlanner(MODEL, PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=1)), IcemConfig(num_iterations=1))


def test_elites_of_the_last_decision_are_candidates_of_the_next_moved_on_by_a_block() -> None:
    belief, goal = point_problems(1, 0.15, seed=1)
    first = PLANNER.plan(belief, goal, [0])
    trace = PLANNER.plan(belief, goal, [1], first).trace
    previous = trace.candidates[0, trace.origins[0] == trace.origin_names.index("previous")]
    elites = first.trace.candidates[0, first.trace.elites[0, :3]]
    torch.testing.assert_close(previous[1:, :20], elites[:, 5:])
