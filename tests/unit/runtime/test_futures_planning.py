"""Several futures from a checkpoint to a decision: what is asked for and not there, and recorded decisions that are the same again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kept_decisions import two_decisions

from robo_dream.cli import main
from robo_dream.config import parse
from robo_dream.errors import ConfigError
from robo_dream.imagination import Belief, Goal
from robo_dream.models.config import ModelConfig
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.planning.scoring import FuturesConfig, FuturesPlanner, RiskConfig
from robo_dream.recording.record import read_run
from robo_dream.runtime.evaluate import EvaluateConfig
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, build_planner, rollouts_a_decision
from robo_dream.runtime.train import TrainConfig
from robo_dream.testing.point_mass import PointMassModel, point_action_spec
from robo_dream.training.config import TrainingConfig

RELEASED = EvaluateConfig().checkpoint
SEARCH = PolicyGuidedConfig(horizon=3, num_samples=16, num_iterations=2, num_elites=4, num_proposals=4)
COST = CostConfig(distance=0.0, pose=1.0)
FUTURES = FuturesConfig(count=6, risk=RiskConfig("cvar", tail=0.5))


@pytest.fixture(scope="module")
def model() -> LatentVideoModel:
    """The released one with untrained outcomes, which are far apart."""
    released = load_checkpoint_model(RELEASED)
    made = LatentVideoModel(replace(released.spec, config=replace(released.spec.config, outcomes=3))).eval().requires_grad_(False)
    made.load_state_dict({**made.state_dict(), **released.state_dict()})
    assert made.outcomes is not None
    last = made.outcomes.shift[-1]
    assert isinstance(last, torch.nn.Linear)
    last.weight.data *= 5
    return made


def problem(model: LatentVideoModel) -> tuple[Belief, Goal]:
    latents = torch.randn(2, 1, model.spec.config.latent, generator=torch.Generator().manual_seed(0))
    return Belief(latents[0]), Goal(latents[1])


def test_a_model_of_one_future_says_so_and_what_to_do() -> None:
    with pytest.raises(
        ConfigError, match=r"this checkpoint has learned one future only; set futures to null, or train.*stage=futures init="
    ):
        build_planner(SEARCH, load_checkpoint_model(RELEASED), COST, futures=FUTURES)
    with pytest.raises(ConfigError, match="PointMassModel knows one future only"):
        build_planner(SEARCH, PointMassModel(point_action_spec()), COST, futures=FUTURES)


def test_heads_and_chance_are_not_weighed_at_once(model: LatentVideoModel) -> None:
    with pytest.raises(ConfigError, match=r"set planner\.risk or futures to null"):
        PlanningConfig(replace(SEARCH, risk=RiskConfig()), COST, futures=FUTURES)
    with pytest.raises(ConfigError, match=r"a file: .*set planner\.risk or futures to null"):
        parse(PlanningConfig, {"planner": {"kind": "policy_guided", "risk": {}}, "futures": {}}, "a file")


def test_off_nothing_is_decided_otherwise_by_who_has_learned_them(model: LatentVideoModel) -> None:
    belief, goal = problem(model)
    with_them, without = build_planner(SEARCH, model, COST), build_planner(SEARCH, load_checkpoint_model(RELEASED), COST)
    assert isinstance(with_them, PolicyGuidedPlanner) and parse(PlanningConfig, {}, "a file").futures is None
    one, other = (planner.plan(belief, goal, [3]) for planner in (with_them, without))
    assert torch.equal(one.actions, other.actions) and torch.equal(one.trace.totals, other.trace.totals)
    assert one.futures is None


def test_recorded_decisions_with_drawn_futures_are_the_same_again(
    model: LatentVideoModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planner, (belief, goal) = build_planner(SEARCH, model, COST, futures=FUTURES), problem(model)
    assert isinstance(planner, FuturesPlanner) and planner.name == "policy_guided"
    record = two_decisions(tmp_path, model, PlanningConfig(SEARCH, COST, futures=FUTURES), belief, goal)
    kept = read_run(record).decisions[1]
    assert kept.futures is not None and kept.future_totals is not None and kept.futures.shape == (6, 3, model.spec.config.latent)
    assert np.sort(kept.future_totals)[3:].mean() == pytest.approx(kept.total, rel=1e-5)  # the worst half
    assert main.main(["replay", str(record), "--recompute"]) == 0
    assert "2 of 2 decisions are exactly the same" in capsys.readouterr().out
    words = ["replay", str(record), "--decision", "5", "--what-if"]
    assert main.main([*words, "futures.risk.measure=worst"]) == 0
    told = capsys.readouterr().out
    assert "recorded cost" in told and "changed cost" in told


def test_imagining_several_futures_takes_as_many_rollouts() -> None:
    assert rollouts_a_decision(SEARCH, FUTURES) == 7 * rollouts_a_decision(SEARCH)


def test_they_are_added_to_a_finished_checkpoint_only() -> None:
    chancy = TrainingConfig(model=ModelConfig(outcomes=4))
    with pytest.raises(ConfigError, match=r"stage is futures with init None and training\.model\.outcomes 4"):
        TrainConfig(stage="futures", training=chancy)
    with pytest.raises(ConfigError, match=r"such as training\.model\.outcomes=4"):
        TrainConfig(stage="futures", init=RELEASED)
    with pytest.raises(ConfigError, match="then stage=futures init="):
        TrainConfig(training=chancy)
    assert "futures" in chancy.to_json() and not {"futures"} & set(TrainingConfig().to_json())
