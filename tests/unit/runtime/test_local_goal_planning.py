"""Local goals from a checkpoint to a decision: what is asked for and not there, and decisions that are the same again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kept_decisions import two_decisions

from robo_dream.cli import main
from robo_dream.config import parse
from robo_dream.errors import ConfigError
from robo_dream.imagination import Belief, Goal
from robo_dream.models import checkpoint
from robo_dream.models.checkpoint import CheckpointInfo, Settings
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.baselines import PolicyAloneConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.goals import AimedPlanner
from robo_dream.planning.local_goals import LocalGoalConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.runtime.evaluate import EvaluateConfig
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, build_planner
from robo_dream.runtime.train import TrainConfig, train
from robo_dream.training.config import LocalGoalStage, TrainingConfig

RELEASED = EvaluateConfig().checkpoint
SEARCH = PolicyGuidedConfig(horizon=3, num_samples=16, num_iterations=2, num_elites=4, num_proposals=4)
LOCAL = CostConfig(distance=0.0, pose=1.0, local_goal=LocalGoalConfig(steps=10, temperature=1.0))


@pytest.fixture(scope="module")
def model() -> LatentVideoModel:
    """The released one with untrained local goals."""
    return load_checkpoint_model(RELEASED).with_local_goals((5, 10)).requires_grad_(False)


def problem(model: LatentVideoModel) -> tuple[Belief, Goal]:
    latents = torch.randn(2, 1, model.spec.config.latent, generator=torch.Generator().manual_seed(0))
    return Belief(latents[0]), Goal(latents[1])


def test_a_checkpoint_without_what_is_asked_for_says_what_there_is(model: LatentVideoModel) -> None:
    with pytest.raises(ConfigError, match=r"has learned no local goals; set cost\.local_goal to null, or train them"):
        build_planner(SEARCH, load_checkpoint_model(RELEASED), LOCAL)
    with pytest.raises(ConfigError, match="steps is 15 control steps; this checkpoint learned local goals 5, 10 control steps ahead"):
        build_planner(SEARCH, model, replace(LOCAL, local_goal=LocalGoalConfig(steps=15)))
    with pytest.raises(ConfigError, match=r"planner\.horizon 1 ends after 5; set the horizon higher"):
        build_planner(replace(SEARCH, horizon=1), model, LOCAL)
    build_planner(replace(SEARCH, horizon=1), model, replace(LOCAL, local_goal=LocalGoalConfig(steps=10, at="nearest")))


def test_off_nothing_is_decided_otherwise_by_who_has_learned_them(model: LatentVideoModel) -> None:
    cost, (belief, goal) = LOCAL.final(), problem(model)
    with_them, without = build_planner(SEARCH, model, cost), build_planner(SEARCH, load_checkpoint_model(RELEASED), cost)
    assert isinstance(with_them, PolicyGuidedPlanner)
    one, other = (planner.plan(belief, goal, [3]) for planner in (with_them, without))
    assert torch.equal(one.actions, other.actions) and torch.equal(one.trace.totals, other.trace.totals)


def test_on_the_cost_of_a_decision_has_it_as_a_part_and_the_seed_decides(model: LatentVideoModel) -> None:
    planner, (belief, goal) = build_planner(SEARCH, model, LOCAL), problem(model)
    assert isinstance(planner, AimedPlanner) and planner.name == "policy_guided"
    plan, again, other = (planner.plan(belief, goal, [seed]) for seed in (3, 3, 4))
    local = plan.trace.terms["local_goal"]
    assert (local[..., 1] > 0).all() and (local[..., [0, 2]] == 0).all()  # 10 control steps are the second imagined step
    assert torch.equal(local, again.trace.terms["local_goal"]) and not torch.equal(local, other.trace.terms["local_goal"])
    torch.testing.assert_close(torch.stack(list(plan.trace.terms.values())).sum(dim=(0, -1)), plan.trace.totals)


def test_who_chooses_by_no_cost_is_told_none(model: LatentVideoModel) -> None:
    alone = build_planner(PolicyAloneConfig(horizon=1), model, LOCAL)
    assert not isinstance(alone, AimedPlanner)


def test_recorded_decisions_with_drawn_local_goals_are_the_same_again(
    model: LatentVideoModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    belief, goal = problem(model)
    record = two_decisions(tmp_path, model, PlanningConfig(SEARCH, LOCAL), belief, goal)
    assert main.main(["replay", str(record), "--recompute"]) == 0
    assert "2 of 2 decisions are exactly the same" in capsys.readouterr().out
    words = ["replay", str(record), "--decision", "5", "--what-if"]
    assert main.main([*words, "cost.local_goal=null"]) == 0
    told = capsys.readouterr().out
    assert "local_goal" in told and "recorded cost" in told


def test_settings_of_a_file_can_ask_for_them() -> None:
    planning = parse(PlanningConfig, {"cost": {"distance": 0.0, "local_goal": {"steps": 5, "at": "nearest"}}}, "a file")
    assert planning.cost.local_goal == LocalGoalConfig(steps=5, at="nearest")
    assert parse(PlanningConfig, {}, "a file").cost.local_goal is None


def test_adding_them_needs_a_finished_checkpoint_of_the_same_regime_and_says_so(tmp_path: Path, model: LatentVideoModel) -> None:
    with pytest.raises(ConfigError, match=r"stage is local_goals.*training\.local_goals is null"):
        TrainConfig(stage="local_goals", init=RELEASED)
    with pytest.raises(ConfigError, match=r"stage is local_goals.*init is null"):
        TrainConfig(stage="local_goals", training=TrainingConfig(local_goals=LocalGoalStage()))
    with pytest.raises(ConfigError, match="growing multiples of the action block, 5"):
        TrainingConfig(local_goals=LocalGoalStage(ahead=(5, 7)))
    settings = Settings(planning={}, regime="privileged")
    path = checkpoint.save(model, tmp_path / "model.safetensors", settings=settings)
    asked = TrainConfig(stage="local_goals", init=path, training=TrainingConfig(local_goals=LocalGoalStage()), out=tmp_path / "run")
    assert isinstance(checkpoint.read_info(path), CheckpointInfo)
    with pytest.raises(ConfigError, match=r"regime is recorded, and .* learned in the privileged one"):
        train(asked, lambda _: None, lambda name, names, unit: pytest.fail(f"{name} began"))
