"""What every `Planner` must do, searching or not. Inherit in a test file, give `make`, and pytest does the rest."""

import time
from collections.abc import Callable

import pytest
import torch

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Cost, Goal, Plan, Planner, PlanStatus, WorldModel
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.testing.point_mass import PointMassModel, point_action_spec, point_problems


class PlannerSuite:
    """`class TestMyPlanner(PlannerSuite)`. The world is a point mass whose goals are 20 cm away: 8 control steps at the limit."""

    is_random = True  # whether another seed draws other candidates
    num_problems = 3

    def make(self, model: WorldModel, cost: Cost, clock: Callable[[], float]) -> Planner:
        raise NotImplementedError

    def planner(self, model: WorldModel | None = None, clock: Callable[[], float] = time.monotonic) -> Planner:
        return self.make(self.model() if model is None else model, self.cost(), clock)

    def model(self) -> PointMassModel:
        return PointMassModel(point_action_spec())

    def cost(self) -> Cost:
        """Metres from the tool to its goal, summed over the imagined steps."""
        return PoseCost(self.model(), PoseCostConfig(object_pos=0, tool_pos=1))

    def problems(self) -> tuple[Belief, Goal, list[int]]:
        return *point_problems(self.num_problems, 0.2, seed=1), [10 + b for b in range(self.num_problems)]

    def test_is_a_planner_with_a_name(self) -> None:
        planner = self.planner()
        assert isinstance(planner, Planner) and planner.name

    def test_plan_names_its_planner_and_has_a_status_for_each_problem(self) -> None:
        belief, goal, seeds = self.problems()
        plan = self.planner().plan(belief, goal, seeds)
        assert plan.planner == self.planner().name and plan.seeds == tuple(seeds)
        assert plan.status == (PlanStatus.OK,) * self.num_problems
        assert plan.seconds["total"] >= 0

    def test_same_arguments_give_the_same_plan(self) -> None:
        belief, goal, seeds = self.problems()
        planner = self.planner()
        first = planner.plan(belief, goal, seeds)
        planner.plan(Belief(goal.latent), goal, seeds)  # nothing of this may be remembered
        assert_same_plan(first, planner.plan(belief, goal, seeds))

    def test_plan_does_not_depend_on_the_other_problems(self) -> None:
        belief, goal, seeds = self.problems()
        planner = self.planner()
        previous = planner.plan(belief, goal, seeds)
        together = planner.plan(belief, goal, [seed + 50 for seed in seeds], previous)
        for b in range(self.num_problems):
            row = Belief(belief.latent[b : b + 1]), Goal(goal.latent[b : b + 1])
            alone_before = planner.plan(*row, [seeds[b]])
            alone = planner.plan(*row, [seeds[b] + 50], alone_before)
            assert torch.equal(alone.actions[0], together.actions[b])
            assert torch.equal(alone.trace.totals[0], together.trace.totals[b])

    def test_another_seed_draws_other_candidates(self) -> None:
        if not self.is_random:
            return
        belief, goal, seeds = self.problems()
        planner = self.planner()
        first, second = planner.plan(belief, goal, seeds), planner.plan(belief, goal, [seed + 100 for seed in seeds])
        assert all(not torch.equal(a, b) for a, b in zip(first.trace.candidates, second.trace.candidates, strict=True))

    def test_every_candidate_and_the_plan_keep_the_action_limits(self) -> None:
        belief, goal, seeds = self.problems()
        far = Goal(goal.latent + 5.0)
        plan = self.planner().plan(belief, far, seeds)
        spec = self.model().action_spec
        for actions in (plan.actions, plan.trace.candidates):
            assert (actions >= torch.as_tensor(spec.low)).all() and (actions <= torch.as_tensor(spec.high)).all()

    def test_plan_shows_what_the_model_imagines_of_its_actions(self) -> None:
        belief, goal, seeds = self.problems()
        plan = self.planner().plan(belief, goal, seeds)
        imagined = self.model().imagine(belief, plan.actions[:, None])
        torch.testing.assert_close(plan.latents, imagined.latents[:, 0])
        torch.testing.assert_close(plan.total, self.cost()(imagined, goal).total[:, 0])

    def test_trace_explains_itself(self) -> None:
        belief, goal, seeds = self.problems()
        trace = self.planner().plan(belief, goal, seeds).trace
        torch.testing.assert_close(torch.stack(list(trace.terms.values())).sum(dim=(0, -1)), trace.totals)
        lowest = trace.totals.sort(dim=1).values[:, : trace.elites.shape[1]]
        torch.testing.assert_close(trace.totals.gather(1, trace.elites), lowest)
        assert ((trace.origins >= 0) & (trace.origins < len(trace.origin_names))).all()
        assert (trace.best_by_iteration.diff(dim=1) <= 0).all()

    def test_arguments_are_left_alone(self) -> None:
        belief, goal, seeds = self.problems()
        kept = belief.latent.clone(), goal.latent.clone(), list(seeds)
        previous = self.planner().plan(belief, goal, seeds)
        kept_actions = previous.actions.clone()
        self.planner().plan(belief, goal, seeds, previous)
        assert torch.equal(belief.latent, kept[0]) and torch.equal(goal.latent, kept[1]) and seeds == kept[2]
        assert torch.equal(previous.actions, kept_actions)

    def test_nothing_finite_holds_still_and_says_so(self) -> None:
        belief, goal, seeds = self.problems()
        broken = Goal(torch.cat([torch.full_like(goal.latent[:1], torch.nan), goal.latent[1:]]))
        plan = self.planner().plan(belief, broken, seeds)
        assert plan.status == (PlanStatus.NO_FINITE_ROLLOUT,) + (PlanStatus.OK,) * (self.num_problems - 1)
        assert (plan.actions[0] == 0).all() and torch.isinf(plan.total[0])
        assert plan.trace.num_not_finite[0] > 0 and (plan.trace.num_not_finite[1:] == 0).all()

    def test_another_number_of_seeds_is_an_error(self) -> None:
        belief, goal, seeds = self.problems()
        with pytest.raises(ContractError, match="seeds"):
            self.planner().plan(belief, goal, seeds[:-1])


def assert_same_plan(first: Plan, second: Plan) -> None:
    assert torch.equal(first.actions, second.actions) and torch.equal(first.total, second.total)
    assert torch.equal(first.trace.candidates, second.trace.candidates) and torch.equal(first.trace.elites, second.trace.elites)
    assert first.status == second.status
