"""What the default planner promises of learned proposals: they win where imagination confirms them, and only there."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Belief, Goal, PlanStatus, Proposals
from robo_dream.planning.candidates import origin_names
from robo_dream.planning.costs import DisagreementCost, PoseCost, PoseCostConfig, StepWeights, WeightedCost, WeightedSum
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.testing.point_mass import PointMassModel, point_action_spec, point_problems

MODEL = PointMassModel(point_action_spec())
COST = PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=1))


@dataclass(frozen=True)
class Fixed:
    """Suggests one sequence, again and again."""

    actions: Tensor  # (time, action)
    name: str = "fixed"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Proposals:
        return Proposals(self.actions.expand(len(seeds), num_samples, -1, -1))


def straight(belief: Belief, goal: Goal) -> Tensor:
    """At the limit towards the goal until there, of the first problem; (25, 5)."""
    move = torch.zeros(25, 5)
    move[:8, :3] = (goal.latent - belief.latent)[0, :3] / 8
    return move


def test_suggestion_that_imagination_confirms_is_chosen_and_named() -> None:
    belief, goal = point_problems(1, 0.15, seed=1)
    planner = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(num_iterations=1), (Fixed(straight(belief, goal)),))
    plan = planner.plan(belief, goal, [0])
    trace = plan.trace
    assert trace.origin_names[int(trace.origins[0, trace.elites[0, 0]])] == "fixed"
    torch.testing.assert_close(plan.actions[0], straight(belief, goal))


def test_suggestion_that_imagination_refutes_is_not_chosen() -> None:
    belief, goal = point_problems(1, 0.15, seed=1)
    planner = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(), (Fixed(-straight(belief, goal)),))
    still = COST(MODEL.imagine(belief, torch.zeros(1, 1, 25, 5)), goal).total[0, 0]
    assert planner.plan(belief, goal, [0]).total[0] < still


@dataclass(frozen=True)
class Imagined(Fixed):
    """Suggests one sequence with what it leads to."""

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Proposals:
        actions = self.actions.expand(len(seeds), num_samples, -1, -1)
        return Proposals(actions, MODEL.imagine(belief, actions))


def test_what_was_imagined_of_actions_beyond_the_limits_is_lost_and_counted() -> None:
    """It is of nothing that the arm can do, however well it ends."""
    belief, goal = point_problems(1, 0.15, seed=1)
    beyond = straight(belief, goal)
    beyond[:8] *= 20
    for actions, lost in ((straight(belief, goal), 0), (beyond, 48)):
        planner = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(num_iterations=1), (Imagined(actions),))
        plan = planner.plan(belief, goal, [0])
        assert int(plan.trace.num_not_finite[0]) == lost and plan.actions.isfinite().all()


def test_suggestion_beyond_the_limits_is_clipped_before_it_is_imagined() -> None:
    belief, goal = point_problems(1, 0.15, seed=1)
    planner = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(num_iterations=1), (Fixed(torch.full((25, 5), 9.0)),))
    trace = planner.plan(belief, goal, [0]).trace
    proposed = trace.candidates[0][trace.origins[0] == trace.origin_names.index("fixed")]
    assert (proposed == torch.as_tensor(MODEL.action_spec.high)).all()


def test_suggestion_that_is_not_a_number_is_counted_and_never_executed() -> None:
    belief, goal = point_problems(1, 0.15, seed=1)
    plan = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(num_proposals=48), (Fixed(torch.full((25, 5), torch.nan)),)).plan(
        belief, goal, [0]
    )
    assert plan.trace.num_not_finite[0] == 48 and plan.status == (PlanStatus.OK,)
    assert torch.isfinite(plan.actions).all()


def test_unknown_futures_cost_what_their_disagreement_costs() -> None:
    belief, goal = point_problems(1, 0.2, seed=1)
    model = dataclasses.replace(MODEL, known_radius=0.05)
    parts = {"tool": WeightedCost(COST, 1.0), "disagreement": WeightedCost(DisagreementCost(), 100.0)}
    cost = WeightedSum(parts, StepWeights(1.0, 1.0))
    plan = PolicyGuidedPlanner(model, cost, PolicyGuidedConfig(), (Fixed(straight(belief, goal)),)).plan(belief, goal, [0])
    assert (plan.latents[0, :, :3].norm(dim=-1) < 0.08).all()  # close to what it knows, though the goal is 0.2 m away


def test_plan_into_the_unknown_is_unsure_and_only_for_its_own_problem() -> None:
    belief, goal = point_problems(2, 0.3, seed=1)
    model = dataclasses.replace(MODEL, known_radius=0.15)
    one_near = Goal(torch.cat([belief.latent[:1], goal.latent[1:]]))
    plan = PolicyGuidedPlanner(model, COST, PolicyGuidedConfig(unsure_above=0.01)).plan(belief, one_near, [0, 0])
    assert plan.status == (PlanStatus.OK, PlanStatus.UNSURE)


def test_holding_still_and_the_previous_plan_moved_on_are_always_candidates() -> None:
    belief, goal = point_problems(1, 0.15, seed=1)
    planner = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(num_iterations=1))
    first = planner.plan(belief, goal, [0])
    trace = planner.plan(belief, goal, [1], first).trace
    previous = trace.candidates[0, trace.origins[0] == trace.origin_names.index("previous")]
    torch.testing.assert_close(previous[0, :20], first.actions[0, 5:])
    assert (previous[0, 20:] == 0).all()
    assert (trace.candidates[0, trace.origins[0] == trace.origin_names.index("hold")] == 0).all()


def test_scoring_in_small_pieces_changes_nothing() -> None:
    belief, goal = point_problems(3, 0.15, seed=1)
    whole = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig()).plan(belief, goal, [0, 1, 2])
    pieces = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(sample_budget=10)).plan(belief, goal, [0, 1, 2])
    assert torch.equal(whole.actions, pieces.actions) and torch.equal(whole.trace.totals, pieces.trace.totals)


def test_two_proposers_of_one_name_are_an_error() -> None:
    with pytest.raises(ContractError, match="own name"):
        origin_names((Fixed(torch.zeros(25, 5)), Fixed(torch.zeros(25, 5))))


@pytest.mark.parametrize("change", [{"horizon": 0}, {"num_elites": 500}, {"initial_std": math.nan}, {"num_proposals": 128}])
def test_impossible_configuration_names_its_field(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"PolicyGuidedConfig.{next(iter(change))}"):
        PolicyGuidedConfig(**change)  # type: ignore[arg-type]


def test_a_smaller_gain_than_imagination_errs_by_is_not_believed() -> None:
    belief, goal = point_problems(3, 0.15, seed=1)
    poor = 0.5 * straight(belief, goal)  # half of the first problem's way: something else is better
    free = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(), (Fixed(poor),)).plan(belief, goal, [0, 1, 2])
    proposed = COST(MODEL.imagine(belief, poor.expand(3, 1, -1, -1)), goal).total[:, 0]
    gains = proposed - free.total
    assert (gains > 0).all() and gains.max() > 1.1 * gains.min()
    between = float(gains.sort().values[:2].mean())  # above the smallest gain, below the next
    plan = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(least_gain=between), (Fixed(poor),)).plan(belief, goal, [0, 1, 2])
    for problem, gain in enumerate(gains):
        if gain > between:
            torch.testing.assert_close(plan.actions[problem], free.actions[problem], rtol=0, atol=0)
        else:
            torch.testing.assert_close(plan.actions[problem], poor)
            torch.testing.assert_close(plan.total[problem], proposed[problem])


def test_a_gain_that_can_be_over_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"least_gain is 1.0 and num_proposals 0"):
        PolicyGuidedConfig(least_gain=1.0, num_proposals=0)
    with pytest.raises(ConfigError, match=r"set num_samples to at most sample_budget, which is 100"):
        PolicyGuidedConfig(least_gain=1.0, sample_budget=100)
    belief, goal = point_problems(1, 0.15, seed=1)
    with pytest.raises(ContractError, match="no proposers over which to gain"):
        PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(least_gain=1.0)).plan(belief, goal, [0])
