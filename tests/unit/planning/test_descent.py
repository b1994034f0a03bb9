"""Gradient steps, on a bowl whose slope is known and on the learned model."""

import pytest
import torch

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Imagination, StepCosts
from robo_dream.models.config import ModelConfig, ModelSpec, Normaliser
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.candidates import NOISE, of_origin
from robo_dream.planning.costs import LatentCost, PoseCost, PoseCostConfig
from robo_dream.planning.gradient import GradientConfig, GradientPlanner, score_with_slopes
from robo_dream.planning.search import Problems, Search
from robo_dream.testing.clocks import TickingClock
from robo_dream.testing.point_mass import PointMassModel, point_action_spec, point_problems

MODEL = PointMassModel(point_action_spec())
COST = PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=1))


def search(cost: object = COST, model: object = MODEL) -> Search:
    belief, goal = point_problems(2, 0.2, seed=1)
    return Search(
        model, cost, Problems(belief, goal, [1, 2]), planner="test", horizon=2, sample_budget=100, clock=TickingClock(),  # type: ignore[arg-type]
    )  # fmt: skip


def test_slopes_are_those_of_the_total() -> None:
    here, generator = search(), torch.Generator().manual_seed(1)
    actions = here.bounds.clip(0.01 * torch.randn(2, 3, 10, 5, generator=generator))
    slopes = score_with_slopes(here, of_origin(actions, NOISE, (NOISE,)))
    nudge = torch.zeros_like(actions)
    nudge[:, :, 3, 1] = 1e-3
    up, down = (here.score(of_origin(actions + sign * nudge, NOISE, (NOISE,))).totals for sign in (1, -1))
    torch.testing.assert_close(slopes.gradient[:, :, 3, 1], (up - down) / 2e-3, rtol=1e-2, atol=1e-3)


def test_a_first_step_moves_every_number_that_matters_by_the_rate() -> None:
    here = search()
    slopes = score_with_slopes(here, of_origin(here.bounds.held(2, 1, 10), NOISE, (NOISE,)))
    actions, after = slopes.moved(here.bounds, 0.1)
    torch.testing.assert_close(actions[..., :3].abs(), (0.1 * here.bounds.half_range[:3]).expand(2, 1, 10, 3))
    assert (actions[..., 3:] == 0).all() and after.num_steps == 1  # yaw and gripper cost nothing


def test_a_candidate_without_a_slope_stays_and_the_others_move() -> None:
    def broken(imagination: Imagination, goal: Goal) -> StepCosts:
        costs = COST(imagination, goal)
        return StepCosts(costs.terms, torch.cat([costs.total[:, :1] * torch.nan, costs.total[:, 1:]], dim=1))

    here = search(broken)
    slopes = score_with_slopes(here, of_origin(here.bounds.held(2, 2, 10), NOISE, (NOISE,)))
    actions, _ = slopes.moved(here.bounds, 0.1)
    assert (actions[:, 0] == 0).all() and (actions[:, 1] != 0).any() and torch.isinf(slopes.scored.totals[:, 0]).all()


def test_what_gradients_cannot_follow_is_refused() -> None:
    class Opaque(PointMassModel):
        def imagine(self, belief: Belief, actions: torch.Tensor) -> Imagination:
            return super().imagine(belief, actions.detach())

    here = search(model=Opaque(point_action_spec()))
    with pytest.raises(ContractError, match="use a planner that samples"):
        score_with_slopes(here, of_origin(here.bounds.held(2, 1, 10), NOISE, (NOISE,)))


def test_gradients_pass_through_the_learned_model() -> None:
    unit = Normaliser((0.0,) * 11, (0.5,) * 11)
    model = LatentVideoModel(ModelSpec(ModelConfig(image_size=32), ("front",), point_action_spec(), unit, unit), seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    belief, goal = (torch.randn(2, model.spec.config.latent, generator=generator) for _ in range(2))
    plan = GradientPlanner(model, LatentCost(), GradientConfig(horizon=2)).plan(Belief(belief), Goal(goal), [1, 2])
    assert (plan.trace.best_by_iteration[:, -1] < plan.trace.best_by_iteration[:, 0]).all()
    assert not plan.trace.totals.requires_grad and not plan.latents.requires_grad
