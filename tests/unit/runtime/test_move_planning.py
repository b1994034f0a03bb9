"""Moves from a checkpoint to a decision: what is asked for and not there, and decisions that are the same again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kept_decisions import two_decisions

from robo_dream.cli import main
from robo_dream.config import parse
from robo_dream.errors import ConfigError
from robo_dream.imagination import Belief, Goal
from robo_dream.models.config import Normaliser
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import CostConfig, PoseCostConfig
from robo_dream.planning.goals import AimedPlanner
from robo_dream.planning.local_goals import LocalGoalConfig
from robo_dream.planning.moves import MoveConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, ProposalConfig, build_planner
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.config import MoveStage, TrainingConfig

RELEASED = Path("configs/checkpoints/ogbench_cube_double_recorded_s.safetensors")
WITHOUT_MOVES = Path("configs/checkpoints/ogbench_cube_single_recorded_s.safetensors")
SEARCH = PolicyGuidedConfig(horizon=3, num_samples=16, num_iterations=2, num_elites=4, num_proposals=4)
COST = CostConfig(distance=0.0, pose=1.0, pose_parts=PoseCostConfig(object_pos=100.0))
MOVES = ProposalConfig(moves=MoveConfig())


@pytest.fixture(scope="module")
def model() -> LatentVideoModel:
    """The released one of two cubes with untrained affordances."""
    plain = load_checkpoint_model(RELEASED)
    return plain.extended(replace(plain.spec, waypoints=2)).requires_grad_(False)


def problem(model: LatentVideoModel) -> tuple[Belief, Goal]:
    latents = torch.randn(2, 1, model.spec.config.latent, generator=torch.Generator().manual_seed(0))
    return Belief(latents[0]), Goal(latents[1])


def test_a_checkpoint_that_has_not_learned_them_and_what_does_not_go_together_are_errors(model: LatentVideoModel) -> None:
    with pytest.raises(ConfigError, match=r"proposals\.moves is set, but this model has not learned what can be moved; set it to null"):
        build_planner(SEARCH, load_checkpoint_model(WITHOUT_MOVES), COST, MOVES)
    with pytest.raises(ConfigError, match=r"proposals\.moves and cost\.local_goal are both set"):
        build_planner(SEARCH, model.with_local_goals((10,)), replace(COST, local_goal=LocalGoalConfig(steps=10)), MOVES)
    with pytest.raises(ConfigError, match=r"stage is moves.*training\.moves is null"):
        TrainConfig(stage="moves", init=RELEASED)
    with pytest.raises(ConfigError, match=r"stage is moves.*init is null"):
        TrainConfig(stage="moves", training=TrainingConfig(moves=MoveStage()))
    mean, std = (torch.tensor(values) for values in (model.spec.pose.mean, model.spec.pose.std))
    pose = Normaliser(*(tuple(torch.cat([values, values[6:], values[6:]]).tolist()) for values in (mean, std)))
    crowded = LatentVideoModel(replace(model.spec, pose=pose, waypoints=4))
    with pytest.raises(ConfigError, match=r"weigh 6 places of 6 things, 46,656 arrangements, at each decision; allowed are 10,000"):
        build_planner(SEARCH, crowded, COST, MOVES)
    by_latents = LatentVideoModel(replace(model.spec, config=replace(model.spec.config, policy_input="latents")))
    with pytest.raises(ConfigError, match=r"this checkpoint sees latents.*set it to null, or train with model\.policy_input=poses"):
        build_planner(SEARCH, by_latents, COST, MOVES)


def test_a_decision_goes_by_the_next_move_and_is_the_same_again_from_its_record(
    model: LatentVideoModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planner, (belief, goal) = build_planner(SEARCH, model, COST, MOVES), problem(model)
    assert isinstance(planner, AimedPlanner)
    whole = build_planner(SEARCH, model, COST).plan(belief, goal, [0])
    assert not torch.equal(whole.actions, planner.plan(belief, goal, [0]).actions)
    record = two_decisions(tmp_path, model, PlanningConfig(SEARCH, COST, MOVES), belief, goal)
    assert main.main(["replay", str(record), "--recompute"]) == 0
    assert "2 of 2 decisions are exactly the same" in capsys.readouterr().out


def test_a_switch_that_is_no_more_is_passed_over_where_it_was_off() -> None:
    assert parse(PlanningConfig, {"proposals": {"one_at_a_time": False, "spread": True}}, "a file").proposals.spread
    with pytest.raises(ConfigError, match=r"unknown key proposals\.one_at_a_time"):
        parse(PlanningConfig, {"proposals": {"one_at_a_time": True}}, "a file")
