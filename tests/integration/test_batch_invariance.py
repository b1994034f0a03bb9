"""The plan for a problem is the same alone and among 64, with the released checkpoint.

Matrix products of another number of methods add in another order, so totals differ by about 1e-5 of their size. What is compared is the
plan: the same candidates win, and what differs is rounding.
"""

import pytest
import torch

from robo_dream.imagination import Belief, Goal
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.scoring import RiskConfig
from robo_dream.runtime.evaluate import EvaluateConfig
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import build_planner

ROUNDING = 1e-5  # of actions, in metres, radians and closure; another candidate would differ by a thousand times that

SEARCHES = [
    PolicyGuidedConfig(horizon=5, num_samples=32, num_iterations=2, num_proposals=16),
    PolicyGuidedConfig(horizon=3, num_samples=32, num_iterations=2, num_proposals=16, risk=RiskConfig("cvar")),
    PolicyGuidedConfig(horizon=3, num_samples=32, num_iterations=2, num_proposals=16, action_selection="mode"),
    CemConfig(horizon=3, num_samples=64, num_iterations=3, num_elites=8, num_proposals=16),
]


@pytest.mark.parametrize("search", SEARCHES, ids=["policy_guided", "risk", "mode", "cem"])
def test_the_plan_for_a_problem_is_the_same_alone_and_among_64(search: PlannerConfig) -> None:
    model = load_checkpoint_model(EvaluateConfig().checkpoint)
    cost = CostConfig(distance=1.0, disagreement=1.0)
    planner = build_planner(search, model, cost)
    generator = torch.Generator().manual_seed(0)
    latents, goals = torch.randn(2, 64, model.spec.config.latent, generator=generator)
    seeds = list(range(100, 164))
    together = planner.plan(Belief(latents), Goal(goals), seeds)
    for b in range(64):
        alone = planner.plan(Belief(latents[b : b + 1]), Goal(goals[b : b + 1]), seeds[b : b + 1])
        torch.testing.assert_close(alone.actions[0], together.actions[b], atol=ROUNDING, rtol=0)
        torch.testing.assert_close(alone.total[0], together.total[b], atol=1e-3, rtol=1e-4)
        assert alone.status[0] == together.status[b]
