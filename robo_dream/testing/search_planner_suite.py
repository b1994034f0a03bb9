"""What every planner that searches must do beyond `PlannerSuite`."""

import dataclasses

import pytest
import torch

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, PlanStatus
from robo_dream.planning.baselines import RandomConfig, RandomPlanner, ZeroActionConfig, ZeroActionPlanner
from robo_dream.testing.clocks import TickingClock
from robo_dream.testing.planner_suite import PlannerSuite, assert_same_plan
from robo_dream.testing.point_mass import FailingModel


class SearchPlannerSuite(PlannerSuite):
    """`class TestMyPlanner(SearchPlannerSuite)`. `iterates`: whether a deadline can cut the search short."""

    iterates = True
    opens_with_the_optimum = False  # whether a proposer knows the answer, so that a previous plan cannot help
    final_distance = 0.05  # m of the 0.2 m to the goal that may be left at the end of one plan

    def test_candidates_that_fail_are_counted_and_never_chosen(self) -> None:
        belief, goal, seeds = self.problems()
        plan = self.planner(FailingModel(self.model(), fails_above=0.0)).plan(belief, goal, seeds)
        assert (plan.trace.num_not_finite > 0).all()
        assert torch.isfinite(plan.total).all() and torch.isfinite(plan.latents).all()
        assert (plan.actions[:, 0, 0] <= 0).all()

    def test_beats_doing_nothing_and_moving_at_random(self) -> None:
        belief, goal, seeds = self.problems()
        total = self.planner().plan(belief, goal, seeds).total
        idle = ZeroActionPlanner(self.model(), self.cost(), ZeroActionConfig()).plan(belief, goal, seeds).total
        random = RandomPlanner(self.model(), self.cost(), RandomConfig()).plan(belief, goal, seeds).total
        assert (total < idle).all() and (total < random).all()

    def test_repeated_decisions_arrive(self) -> None:
        belief, goal, seeds = self.problems()
        model, planner, plan = self.model(), self.planner(), None
        for step in range(8):  # blocks of 5: twice the time that the straight way takes at the limit, and settling
            plan = planner.plan(belief, goal, [seed + 1000 * step for seed in seeds], plan)
            belief = Belief(model.imagine(belief, plan.actions[:, None, : model.action_block]).latents[:, 0, -1])
        left = (belief.latent - goal.latent)[:, :3].norm(dim=1)
        assert (left < self.final_distance).all(), left

    def test_deadline_ends_the_search_early_with_the_best_so_far(self) -> None:
        if not self.iterates:
            return
        belief, goal, seeds = self.problems()
        full = self.planner(clock=TickingClock()).plan(belief, goal, seeds)
        late = self.planner(clock=TickingClock()).plan(belief, goal, seeds, deadline=0.0)
        assert late.status == (PlanStatus.OUT_OF_TIME,) * self.num_problems
        assert late.trace.best_by_iteration.shape[1] == 1 < full.trace.best_by_iteration.shape[1]
        assert torch.isfinite(late.total).all()

    def test_deadline_far_away_changes_nothing(self) -> None:
        belief, goal, seeds = self.problems()
        plan = self.planner(clock=TickingClock()).plan(belief, goal, seeds, deadline=1e9)
        assert_same_plan(plan, self.planner().plan(belief, goal, seeds))

    def test_good_previous_plan_makes_a_hurried_search_better(self) -> None:
        if not self.iterates:
            return
        belief, goal, seeds = self.problems()
        previous = self.planner().plan(belief, goal, seeds)
        moved = Belief(previous.latents[:, 0])
        other = [seed + 7 for seed in seeds]
        cold = self.planner(clock=TickingClock()).plan(moved, goal, other, deadline=0.0)
        warm = self.planner(clock=TickingClock()).plan(moved, goal, other, previous, deadline=0.0)
        if self.opens_with_the_optimum:
            torch.testing.assert_close(warm.total, cold.total)
        else:
            assert warm.total.mean() < cold.total.mean()

    def test_previous_plan_of_another_length_is_an_error(self) -> None:
        belief, goal, seeds = self.problems()
        previous = self.planner().plan(belief, goal, seeds)
        shorter = dataclasses.replace(previous, actions=previous.actions[:, :-1])
        with pytest.raises(ContractError, match="previous"):
            self.planner().plan(belief, goal, seeds, shorter)
