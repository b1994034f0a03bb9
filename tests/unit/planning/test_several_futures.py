"""Where there are two good ways, the average of both is none: a world whose obstacle stands exactly in between."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robo_dream.control.decision import decision_of
from robo_dream.imagination import Belief, Goal, Plan
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.elites import FOLLOWED, NO_VOTE
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.kinds import planner_of
from robo_dream.planning.mppi import MppiConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.testing.detour import DetourCost, TwoWays, collides, detour_model, detour_problems, passes_left

MODEL = detour_model()
SEEDS = 50
SEARCHES = (
    CemConfig(horizon=20, num_samples=96, num_iterations=2, num_elites=16, noise_beta=2.0),
    IcemConfig(horizon=20, num_samples=96, num_iterations=2),
    MppiConfig(horizon=20, num_samples=96, num_iterations=2, num_elites=16, temperature=0.5),
    PolicyGuidedConfig(horizon=20, num_samples=96, num_iterations=2),
)
each_search = pytest.mark.parametrize("config", SEARCHES, ids=[config.kind for config in SEARCHES])
SearchConfig = CemConfig | IcemConfig | MppiConfig | PolicyGuidedConfig


def planned(config: SearchConfig, belief: Belief, goal: Goal, seeds: list[int] | None = None, left_share: float = 0.5) -> Plan:
    planner = planner_of(config, MODEL, DetourCost(MODEL), (TwoWays(MODEL, left_share),))
    return planner.plan(belief, goal, list(range(len(belief.latent))) if seeds is None else seeds)


def test_straight_on_leads_through_the_obstacle_and_a_suggested_arc_does_not() -> None:
    belief, goal = detour_problems(SEEDS, seed=2)
    straight = ((goal.latent - belief.latent)[:, None, None, :5] / 20).repeat(1, 1, 20, 1)
    assert collides(belief, straight).all()
    arcs = TwoWays(MODEL).propose(belief, goal, 8, 20, list(range(SEEDS))).actions
    assert not collides(belief, arcs).any()
    assert passes_left(belief, goal, arcs).float().mean() == pytest.approx(0.5, abs=0.1)


@each_search
def test_the_mean_of_two_ways_goes_through_the_obstacle_and_the_mode_never(config: SearchConfig) -> None:
    belief, goal = detour_problems(SEEDS, seed=2)
    averaged = planned(replace(config, action_selection="mean"), belief, goal)
    followed = planned(replace(config, action_selection="mode"), belief, goal)
    assert collides(belief, averaged.actions[:, None]).any(), "this world shows nothing"
    assert not collides(belief, followed.actions[:, None]).any()


@each_search
def test_the_mode_is_chosen_alike_alone_and_among_eight(config: SearchConfig) -> None:
    belief, goal = detour_problems(8, seed=3)
    config = replace(config, action_selection="mode")
    together = planned(config, belief, goal)
    for b in range(8):
        alone = planned(config, Belief(belief.latent[b : b + 1]), Goal(goal.latent[b : b + 1]), [b])
        assert torch.equal(alone.actions[0], together.actions[b])
        assert alone.trace.modes is not None and together.trace.modes is not None
        assert torch.equal(alone.trace.modes[0], together.trace.modes[b])


@each_search
def test_where_there_is_one_way_the_mode_is_as_good_as_the_mean_and_about_the_best(config: SearchConfig) -> None:
    belief, goal = detour_problems(8, seed=4)
    cost, seeds = PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=1)), list(range(8))
    plans = {
        returns: planner_of(replace(config, action_selection=returns, num_iterations=4), MODEL, cost).plan(belief, goal, seeds)
        for returns in ("best", "mean", "mode")
    }
    modes = plans["mode"].trace.modes
    assert modes is not None and modes.max() == FOLLOWED
    assert (plans["mode"].total <= plans["mean"].total + 1e-5).all()  # the rounding of totals about 3
    assert (plans["mode"].total <= 1.05 * plans["best"].total).all()  # "best" may be of an earlier iteration


def test_the_side_with_more_elites_is_taken() -> None:
    belief, goal = detour_problems(SEEDS, seed=5)
    config = PolicyGuidedConfig(horizon=20, num_samples=64, num_proposals=48, num_iterations=1, action_selection="mode")
    plan = planned(config, belief, goal, left_share=0.7)
    assert plan.trace.modes is not None
    left = passes_left(belief, goal, plan.trace.candidates)
    votes = torch.stack([((plan.trace.modes != NO_VOTE) & side).sum(dim=1) for side in (left, ~left)], dim=1)
    clear = (votes[:, 0] - votes[:, 1]).abs() > 4  # of 12, whatever stragglers there are
    assert clear.sum() > SEEDS / 4
    assert torch.equal(passes_left(belief, goal, plan.actions[:, None])[clear, 0], (votes[:, 0] > votes[:, 1])[clear])


def test_record_of_a_decision_keeps_the_strategies_and_says_none_where_nobody_looked() -> None:
    belief, goal = detour_problems(2, seed=6)
    config = PolicyGuidedConfig(horizon=20, num_samples=64, num_iterations=1)
    plan = planned(replace(config, action_selection="mode"), belief, goal)
    record = decision_of(plan, 1, 0, 0.0, belief, goal)
    assert plan.trace.modes is not None and record.modes is not None
    assert np.array_equal(record.modes, plan.trace.modes[1]) and (record.modes != NO_VOTE).sum() == config.num_elites
    assert decision_of(planned(config, belief, goal), 1, 0, 0.0, belief, goal).modes is None
