"""Whatever the body, settings and seed, no planner offers an action outside the limits."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_dream.embodiment import ActionSpec
from robo_dream.imagination import Belief, Goal
from robo_dream.planning.baselines import BestOfConfig
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import LatentCost
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.kinds import PlannerConfig, planner_of
from robo_dream.planning.mppi import MppiConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.predictive import PredictiveConfig
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel

CONFIGS: tuple[PlannerConfig, ...] = (
    PolicyGuidedConfig(horizon=2, num_samples=16, num_proposals=4, num_elites=4, initial_std=3.0),
    CemConfig(horizon=2, num_samples=16, num_iterations=2, num_elites=4, num_proposals=4, initial_std=3.0),
    IcemConfig(horizon=2, num_samples=16, num_iterations=2, num_elites=4, num_proposals=4, initial_std=3.0, action_selection="mean"),
    MppiConfig(horizon=2, num_samples=16, num_iterations=2, num_elites=4, num_proposals=4, initial_std=3.0),
    PredictiveConfig(horizon=2, num_samples=16, num_elites=4, num_proposals=4, std=3.0),
    BestOfConfig(horizon=2, num_samples=16),
)
ROUNDING = 1e-6  # a mean of actions at the limit


@settings(max_examples=25, deadline=None)
@given(
    config=st.sampled_from(CONFIGS),
    low=st.lists(st.floats(-2, 1, width=32), min_size=5, max_size=5),
    width=st.floats(0.125, 2, width=32),
    seed=st.integers(-(2**31), 2**62),
    warm=st.booleans(),
)
def test_no_candidate_and_no_plan_leaves_the_limits(config: PlannerConfig, low: list[float], width: float, seed: int, warm: bool) -> None:
    lowest = np.array(low, np.float32)
    spec = ActionSpec("tool_move", ("x", "y", "z", "yaw", "gripper"), ("1",) * 5, lowest, lowest + np.float32(width), 0.1)
    model = PointMassModel(spec)
    planner = planner_of(config, model, LatentCost(), (PolicyProposer(model, PointMassInverse(model, std=2.0)),))
    belief, goal = Belief(torch.zeros(1, 8)), Goal(torch.full((1, 8), 3.0))
    previous = planner.plan(belief, goal, [seed]) if warm else None
    plan = planner.plan(belief, goal, [seed + 1], previous)
    for actions in (plan.actions, plan.trace.candidates):
        assert (actions >= torch.as_tensor(spec.low) - ROUNDING).all() and (actions <= torch.as_tensor(spec.high) + ROUNDING).all()
