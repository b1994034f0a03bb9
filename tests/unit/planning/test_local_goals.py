"""Local goals in costs and decisions, worked by hand on a tool that goes where it is told."""

from dataclasses import dataclass, replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Belief, Goal, Imagination, LocalGoal
from robo_dream.planning.costs import CostConfig, StepWeights, build_cost
from robo_dream.planning.goals import AimedPlanner
from robo_dream.planning.local_goals import LocalAim, LocalGoalConfig, LocalGoalCost
from robo_dream.planning.predictive import PredictiveConfig, PredictivePlanner
from robo_dream.testing.point_mass import PointMassModel, point_action_spec, point_problems

MODEL = PointMassModel(point_action_spec())


@dataclass(frozen=True)
class Halfway:
    """A `LocalGoalModel` to which half of the way is to be gone, or less where its one random number says so."""

    std: float = 0.5
    num_numbers: int = 1

    def seen(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch number"]:
        return latents[..., :3]

    def soon(
        self,
        latents: Float[Tensor, "batch channel"],
        goals: Float[Tensor, "batch channel"],
        chance: Float[Tensor, " batch"],
        noise: Float[Tensor, "batch moved"],
        steps: int,
    ) -> LocalGoal:
        share = 0.5 + 0.1 * noise - 0.2 * chance[:, None]
        there = torch.lerp(self.seen(latents), self.seen(goals), share.expand(-1, 3))
        return LocalGoal(there, torch.full_like(there, self.std))


def future(tool_x: list[float]) -> Imagination:
    """One candidate whose tool is at these x, step by step; all else is zero."""
    latents = torch.zeros(1, 1, len(tool_x), 8)
    latents[0, 0, :, 0] = torch.tensor(tool_x)
    return Imagination(latents, torch.zeros(1, 1, len(tool_x)))


def aimed(at: float) -> Goal:
    """A goal with a local one at this x, with stds of 0.5 and three numbers."""
    return Goal(torch.zeros(1, 8), local=LocalGoal(torch.tensor([[at, 0.0, 0.0]]), torch.full((1, 3), 0.5)))


def test_a_future_costs_how_many_stds_it_is_off_at_the_very_time() -> None:
    cost = LocalGoalCost(Halfway(), LocalGoalConfig(steps=10), MODEL.action_block)
    terms = cost(future([0.9, 0.3, 0.2]), aimed(0.2)).terms["local_goal"]
    torch.testing.assert_close(terms, torch.tensor([[[0.0, (0.2**2 / 3) ** 0.5, 0.0]]]))


def test_or_where_it_comes_nearest_be_it_late() -> None:
    cost = LocalGoalCost(Halfway(), LocalGoalConfig(steps=10, at="nearest"), MODEL.action_block)
    costs = cost(future([0.9, 0.3, 0.2]), aimed(0.2))
    assert costs.total.item() == 0.0
    assert cost(future([0.9, 0.3, 0.4]), aimed(0.2)).terms["local_goal"].nonzero().tolist() == [[0, 0, 1]]


def test_a_future_that_ends_before_and_a_goal_without_a_local_one_are_errors() -> None:
    cost = LocalGoalCost(Halfway(), LocalGoalConfig(steps=20), MODEL.action_block)
    with pytest.raises(ContractError, match="20 control steps ahead, and futures end after 15"):
        cost(future([0.1, 0.2, 0.3]), aimed(0.2))
    with pytest.raises(ContractError, match="this goal has none"):
        cost(future([0.1, 0.2, 0.3, 0.4]), Goal(torch.zeros(1, 8)))


def test_local_and_final_costs_add_up_and_steps_are_the_final_ones_alone() -> None:
    config = CostConfig(distance=0.0, latent=2.0, steps=StepWeights(0.0, 1.0), local_goal=LocalGoalConfig(weight=3.0))
    costs = build_cost(config, MODEL, local_goals=Halfway())(future([0.1, 0.3, 0.2]), aimed(0.2))
    assert set(costs.terms) == {"latent", "local_goal"}
    assert costs.total.item() == pytest.approx(2 * 0.2 / 8**0.5 + 3 * 0.2 / 3**0.5)
    alone = build_cost(config.final(), MODEL)(future([0.1, 0.3, 0.2]), Goal(torch.zeros(1, 8)))
    assert alone.total.item() == pytest.approx(2 * 0.2 / 8**0.5)


def test_a_final_cost_may_count_where_the_goal_is_nearest() -> None:
    goal = Goal(torch.zeros(1, 8))
    nearest = build_cost(CostConfig(distance=0.0, latent=1.0, steps=StepWeights(0.0, 0.0, 1.0)), MODEL)
    costs = nearest(future([0.3, 0.1, 0.2]), goal)
    assert costs.total.item() == pytest.approx(0.1 / 8**0.5) and costs.terms["latent"].nonzero().tolist() == [[0, 0, 1]]
    both = build_cost(CostConfig(distance=0.0, latent=1.0, steps=StepWeights(0.0, 1.0, 1.0)), MODEL)
    assert both(future([0.3, 0.1, 0.2]), goal).total.item() == pytest.approx(0.3 / 8**0.5)


def test_what_is_nan_at_one_step_is_not_lost_in_the_nearest() -> None:
    goal, broken = aimed(0.2), future([0.3, 0.1, 0.2])
    broken.latents[0, 0, 0] = torch.nan
    for config in (
        CostConfig(distance=0.0, latent=1.0, steps=StepWeights(0.0, 0.0, 1.0)),
        CostConfig(distance=0.0, local_goal=LocalGoalConfig(at="nearest")),
    ):
        assert build_cost(config, MODEL, local_goals=Halfway())(broken, goal).total.isnan().all()


def test_all_step_weights_at_0_and_a_model_without_local_goals_are_errors() -> None:
    with pytest.raises(ConfigError, match="nearest_weight at 0"):
        StepWeights(0.0, 0.0, 0.0)
    with pytest.raises(ConfigError, match=r"has learned no local goals.*cost\.local_goal to null.*stage=local_goals init=CHECKPOINT"):
        build_cost(CostConfig(distance=0.0, local_goal=LocalGoalConfig()), MODEL)


def test_a_local_goal_comes_from_its_problems_seed_alone() -> None:
    belief, goal = point_problems(3, 0.2, seed=0)
    drawn = LocalAim(Halfway(), LocalGoalConfig(temperature=1.0))
    local = drawn.of(belief, goal, [4, 5, 6]).local
    alone = drawn.of(Belief(belief.latent[1:2]), Goal(goal.latent[1:2]), [5]).local
    other = drawn.of(belief, goal, [7, 5, 6]).local
    assert local is not None and alone is not None and other is not None
    torch.testing.assert_close(local.numbers[1:2], alone.numbers)
    assert torch.equal(local.numbers[1:], other.numbers[1:]) and not torch.equal(local.numbers[0], other.numbers[0])
    likeliest = LocalAim(Halfway(), LocalGoalConfig()).of(belief, goal, [4, 5, 6]).local
    assert likeliest is not None
    torch.testing.assert_close(likeliest.numbers, 0.5 * (belief.latent + goal.latent)[:, :3])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_search_by_local_goals_goes_to_where_they_are_and_not_on(temperature: float) -> None:
    asked = LocalGoalConfig(steps=10, temperature=temperature)
    cost = build_cost(CostConfig(distance=0.0, local_goal=asked), MODEL, local_goals=Halfway())
    inner = PredictivePlanner(MODEL, cost, PredictiveConfig(horizon=2, num_samples=256))
    planner, (belief, goal) = AimedPlanner(inner, LocalAim(Halfway(), asked)), point_problems(2, 0.16, seed=1)
    plan = planner.plan(belief, goal, [0, 1])
    again = planner.plan(belief, goal, [0, 1])
    assert torch.equal(plan.actions, again.actions) and torch.equal(plan.trace.terms["local_goal"], again.trace.terms["local_goal"])
    local = planner.aim.of(belief, goal, [0, 1]).local
    assert local is not None
    before = (belief.latent[:, :3] - local.numbers).norm(dim=-1)
    assert ((plan.latents[:, 1, :3] - local.numbers).norm(dim=-1) < 0.5 * before).all()
    assert goal.local is None
    with pytest.raises(ContractError, match="2 beliefs, 2 goals and 1 seeds"):
        planner.plan(belief, replace(goal), [0])
