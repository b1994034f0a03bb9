"""Costs worked by hand."""

import pytest
import torch

from robo_dream.errors import ConfigError
from robo_dream.imagination import Goal, Imagination
from robo_dream.planning.costs import (
    CostConfig,
    DisagreementCost,
    LatentCost,
    PoseCost,
    PoseCostConfig,
    StepWeights,
    WeightedCost,
    WeightedSum,
    build_cost,
)
from robo_dream.testing.point_mass import PointMassModel, point_action_spec

MODEL = PointMassModel(point_action_spec())


def future(tool_x: list[float], disagreement: float = 0.0) -> Imagination:
    """One candidate whose tool is at these x, step by step; all else is zero."""
    latents = torch.zeros(1, 1, len(tool_x), 8)
    latents[0, 0, :, 0] = torch.tensor(tool_x)
    return Imagination(latents, torch.full((1, 1, len(tool_x)), disagreement))


def test_latent_distance_is_the_typical_difference_of_a_channel() -> None:
    imagination = Imagination(torch.full((1, 1, 2, 8), 3.0), torch.zeros(1, 1, 2))
    assert LatentCost()(imagination, Goal(torch.zeros(1, 8))).terms["latent"].tolist() == [[[3.0, 3.0]]]


def test_given_positions_take_precedence_over_the_goal_latent() -> None:
    cost = PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=2))
    far = torch.full((1, 8), 9.0)
    given = Goal(far, tool_pos=torch.tensor([[0.3, 0.0, 0.0]]))
    torch.testing.assert_close(cost(future([0.1, 0.2]), given).terms["tool_pos"], torch.tensor([[[0.4, 0.2]]]))


def test_parts_without_weight_are_not_computed() -> None:
    goal = Goal(torch.full((1, 8), torch.nan), object_pos=torch.zeros(1, 1, 3))
    costs = PoseCost(MODEL, PoseCostConfig(object_pos=1, tool_to_object=1))(future([0.1, 0.2]), goal)
    assert set(costs.terms) == {"object_pos", "tool_to_object"} and torch.isfinite(costs.total).all()


def test_steps_count_as_weighted_whatever_the_horizon() -> None:
    parts = {"tool": WeightedCost(PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=1)), 10.0)}
    cost = WeightedSum(parts, StepWeights(step_weight=0.5, final_weight=1.0))
    goal = Goal(torch.zeros(1, 8))
    assert cost(future([0.2, 0.2, 0.1]), goal).total.item() == pytest.approx(10 * (0.5 * 0.2 + 0.1))
    assert cost(future([0.2, 0.2, 0.2, 0.2, 0.1]), goal).total.item() == pytest.approx(10 * (0.5 * 0.2 + 0.1))
    assert cost(future([0.1]), goal).total.item() == pytest.approx(1.0)


def test_names_of_parts_say_where_they_come_from() -> None:
    pose = PoseCost(MODEL, PoseCostConfig(object_pos=1, tool_pos=1))
    parts = {"pose": WeightedCost(pose, 1.0), "unsure": WeightedCost(DisagreementCost(), 2.0), "none": WeightedCost(LatentCost(), 0.0)}
    terms = WeightedSum(parts, StepWeights())(future([0.1, 0.1], disagreement=1.0), Goal(torch.zeros(1, 8))).terms
    assert set(terms) == {"pose.object_pos", "pose.tool_pos", "unsure"}
    assert terms["unsure"][0, 0, -1] == 2.0


def test_distance_weight_without_a_learned_distance_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no temporal distance"):
        build_cost(CostConfig(distance=1.0), MODEL, None)


def test_cost_that_prefers_no_goal_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no future is better than another"):
        CostConfig(distance=0.0, disagreement=1.0)
