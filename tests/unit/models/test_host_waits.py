"""A decision hands its work to the device and asks once, at its end; a step of training never asks. Seen on torch's `meta` device."""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from small import observation, small_spec
from squares import square_frames
from torch import Tensor, nn

from robo_dream.control.decision import Decider
from robo_dream.imagination import Cost, Goal, Imagination, Plan, StepCosts
from robo_dream.models.config import ModelConfig, ModelSpec, VideoSize
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.baselines import BestOfConfig
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.gradient import GradientConfig
from robo_dream.planning.hybrid import HybridConfig
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.local_goals import LocalGoalConfig
from robo_dream.planning.mppi import MppiConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.planning.predictive import PredictiveConfig
from robo_dream.planning.scoring import FuturesConfig, RiskConfig
from robo_dream.planning.video import VideoPlannerConfig
from robo_dream.runtime.planner import PlanningConfig, ProposalConfig, build_planner
from robo_dream.safety.limits import SafetyLimits
from robo_dream.testing.host_waits import HostWait, host_waits
from robo_dream.training.config import DreamConfig, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import DreamBatches, dream_losses, policy_losses
from robo_dream.training.frames import model_spec
from robo_dream.training.optimiser import optimisers
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.representation import Batches, representation_losses
from robo_dream.training.stage import MetricsLog, TrainingRun, learn, run_stage, stage_of

READ_OUT = HostWait("_to_copy", "Search._read_status", "search.py")
GUIDED = PolicyGuidedConfig(horizon=2, num_samples=16, num_iterations=2, num_elites=4, num_proposals=8)
PLAIN = PolicyGuidedConfig(horizon=1, num_samples=16, num_iterations=1, num_elites=4, num_proposals=0)
EVERYTHING = ProposalConfig(repeated=True, bridge=True, spread=True, goal_std=0.02, gripper_goal="above_object")
POSES = CostConfig(pose=1.0, latent=1.0, disagreement=0.1)
WAYS: Mapping[str, PlannerConfig] = {
    "policy_guided": GUIDED,
    "policy_guided, strategies": dataclasses.replace(GUIDED, horizon=1, action_selection="mode", least_gain=0.1),
    "policy_guided, risk": dataclasses.replace(GUIDED, horizon=1, risk=RiskConfig()),
    "cem": CemConfig(horizon=1, num_samples=16, num_iterations=2, num_elites=4, num_proposals=8),
    "mppi": MppiConfig(horizon=1, num_samples=16, num_iterations=2, num_elites=4, num_proposals=8),
    "best_of": BestOfConfig(horizon=1, num_samples=8),
    "icem": IcemConfig(horizon=1, num_samples=16, num_iterations=2, num_elites=4, num_proposals=8),
    "predictive": PredictiveConfig(horizon=1, num_samples=16, num_proposals=8),
    "hybrid": HybridConfig(horizon=1, num_samples=16, num_refined=4, num_iterations=2, num_proposals=8),
    "gradient": GradientConfig(horizon=1, num_samples=8, num_iterations=2, num_proposals=4),
}


def on_meta(spec: ModelSpec) -> LatentVideoModel:
    """Shapes alone: a model of size L costs nothing."""
    with torch.device("meta"):
        return LatentVideoModel(spec).to("meta")


@cache
def model_of(size: str) -> LatentVideoModel:
    return on_meta(small_spec(size=size)).eval().requires_grad_(False)


def waits_of_decisions(model: LatentVideoModel, planning: PlanningConfig) -> list[HostWait]:
    """Of two decisions for two problems, from pictures to plan; the second is warm-started."""
    planner = build_planner(planning.planner, model, planning.cost, planning.proposals, futures=planning.futures)
    previous: Plan | None = None
    with host_waits() as found:
        for step in (0, 1):
            belief = model.believe([[observation(step)], [observation(step + 1)]])
            previous = planner.plan(belief, Goal(belief.latent), [step, step + 1], previous)
            assert previous.actions.device.type == "meta"
    return found


def in_files(found: list[HostWait]) -> list[HostWait]:
    """Without numbers of lines."""
    return [dataclasses.replace(wait, line=wait.line.split(":")[0]) for wait in found]


@pytest.mark.parametrize(
    ("size", "way"), [*(("S", way) for way in WAYS), ("B", "policy_guided"), ("B", "cem"), ("L", "policy_guided"), ("L", "mppi")]
)
def test_a_decision_waits_once_for_the_device_when_it_is_made(size: str, way: str) -> None:
    proposals = EVERYTHING if size == "S" and way != "best_of" else ProposalConfig()
    assert in_files(waits_of_decisions(model_of(size), PlanningConfig(WAYS[way], POSES, proposals))) == [READ_OUT, READ_OUT]


def test_neither_memory_nor_several_futures_nor_local_goals_wait() -> None:
    spec = dataclasses.replace(small_spec(memory=16, outcomes=3), local_goals=(5, 10))
    model = on_meta(spec).eval().requires_grad_(False)
    local = dataclasses.replace(POSES, local_goal=LocalGoalConfig(steps=10, temperature=1.0))
    few = dataclasses.replace(PLAIN, horizon=2, num_proposals=4)
    planning = PlanningConfig(few, local, futures=FuturesConfig(2, risk=RiskConfig("cvar")))
    assert in_files(waits_of_decisions(model, planning)) == [READ_OUT, READ_OUT]
    with host_waits() as found:
        first = model.believe([[observation(0)]])
        model.update(first, torch.zeros(1, 3, 5), [observation(1)])  # as the loop has them
    assert found == []


def test_videos_that_are_checked_do_not_wait() -> None:
    model = on_meta(dataclasses.replace(small_spec(), video=VideoSize(steps=2, numbers=8, width=16, layers=1))).eval().requires_grad_(False)
    config = VideoPlannerConfig(horizon=2, num_samples=4, guidance=1.5, check=True)
    assert in_files(waits_of_decisions(model, PlanningConfig(config, POSES))) == [READ_OUT, READ_OUT]


def test_the_loop_asks_nothing_of_the_device_before_the_plan_is_made() -> None:
    model = model_of("S")
    goal = Goal(model.believe([[observation(9)]]).latent)
    decider = Decider(model, build_planner(PLAIN, model, POSES), goal, 0, time.monotonic, SafetyLimits())
    with host_waits() as first:
        decided = decider.decide([observation(0)], 0, None)
    with host_waits() as second:  # from where its actions lead, which are on the CPU
        decider.decide([observation(1)], 5, decided.plan, committed=np.zeros((5, 5), np.float32))
    for found in map(in_files, (first, second)):
        assert found[0] == READ_OUT
        assert {wait.line for wait in found[1:]} == {"decision.py"}  # what is kept of it


@dataclass(frozen=True)
class Asking:
    """A cost that asks something of what it scores."""

    cost: Cost
    ask: Callable[[Tensor], object]

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        costs = self.cost(imagination, goal)
        self.ask(costs.total)
        return costs


def assign_by_mask(totals: Tensor) -> None:
    totals.clone()[totals > 0] = 1.0


PLANTED: Mapping[str, tuple[Callable[[Tensor], object], str]] = {
    ".cpu()": (lambda totals: totals.cpu(), "_to_copy"),
    ".item()": (lambda totals: totals.sum().item(), "_local_scalar_dense"),
    ".tolist()": (lambda totals: totals.tolist(), "_to_copy"),
    "if": (lambda totals: 1 if totals.sum() > 0 else 0, "_local_scalar_dense"),
    "boolean mask": (lambda totals: totals[totals > 0], "index"),
    "assignment by boolean mask": (assign_by_mask, "index_put_"),
    "nonzero": (lambda totals: totals.nonzero(), "nonzero"),
    "torch.equal": (lambda totals: torch.equal(totals, totals), "equal"),
    "copy into memory of the host": (lambda totals: torch.zeros(totals.shape).copy_(totals), "copy_"),
    "upload that is waited for": (lambda totals: torch.zeros(2).to(totals.device), "_to_copy"),
    "numbers of Python": (lambda totals: totals.new_tensor([1.0, 2.0]), "new_tensor of numbers"),
    "index of Python": (lambda totals: totals[[0]], "index of numbers"),
    "index left on the CPU": (lambda totals: totals[torch.zeros(1, dtype=torch.int64)], "index"),
}


def planted(ask: Callable[[Tensor], object]) -> list[HostWait]:
    """The waits of a decision whose cost asks, beside the read-out."""
    model = model_of("S")
    planner = build_planner(PLAIN, model, POSES)
    assert isinstance(planner, PolicyGuidedPlanner)
    asking = dataclasses.replace(planner, cost=Asking(planner.cost, ask))
    belief = model.believe([[observation(0)]])
    with host_waits() as found:
        asking.plan(belief, Goal(belief.latent), [0])
    return [wait for wait in found if wait.function != READ_OUT.function]


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_wait_that_is_planted_in_a_decision_is_found_where_it_is(name: str) -> None:
    ask, operation = PLANTED[name]
    found = planted(ask)
    assert [wait.operation for wait in found] == [operation]
    assert {wait.line.split(":")[0] for wait in found} == {Path(__file__).name}


def test_a_tensor_left_on_the_cpu_fails_the_decision() -> None:
    with pytest.raises(RuntimeError, match="device"):
        planted(lambda totals: totals + torch.zeros(totals.shape))


def test_what_is_on_the_cpu_is_not_waited_for() -> None:
    with host_waits() as found:
        values = torch.arange(3.0)
        assert values[values > 0].sum().item() == 3.0 and torch.equal(values, values)
    assert found == []


FRAMES = square_frames(4, 24)


def training_of(size: str) -> TrainingConfig:
    config = TrainingConfig(
        model=ModelConfig(size=size, image_size=32),  # type: ignore[arg-type]
        representation=RepresentationConfig(steps=2, batch_windows=2, muon_lr=0.02),
        dream=DreamConfig(steps=2, batch=4, muon_lr=0.02, unroll=2),
        policy=PolicyConfig(steps=3, batch=4),
        log_steps=3,
    )
    object.__setattr__(config, "device", "meta")  # which no file may ask for
    return config


@pytest.fixture
def meta_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets AdamW fuse on meta, as it does on a GPU: the kernel has its shapes there, and torch does not list it."""
    monkeypatch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: ["cpu", "cuda", "meta"])


@pytest.mark.usefixtures("meta_optimiser")
@pytest.mark.parametrize("size", ["S", "B", "L"])
def test_a_step_of_training_never_waits_for_the_device(size: str) -> None:
    config = training_of(size)
    model = on_meta(model_spec(FRAMES, config.model)).train()
    latents = torch.zeros(4 * 24, model.spec.config.latent, device="meta")
    windows, dreams = Batches(FRAMES, config), DreamBatches(FRAMES, config, latents)
    pairs = PolicyBatches(FRAMES, config, torch.zeros(4 * 24, model.spec.num_seen, device="meta"))
    target = model_of(size).temporal_distance
    steps: list[tuple[nn.Module, float, Callable[[int], Mapping[str, Tensor]]]] = [
        (model, 0.02, lambda step: representation_losses(model, windows(step), config, [1.0, 1.0], np.random.default_rng(step))),
        (model.dynamics, 0.02, lambda step: dream_losses(model, target, dreams(step), config)),
        (model.policy, 0.0, lambda step: policy_losses(model, pairs(step))),
    ]
    for trained, muon_lr, losses in steps:
        parameters = list(trained.parameters())
        rates = list(optimisers(parameters, 1e-3, muon_lr, 0.01))
        with host_waits() as found:
            for step in range(2 if size == "S" else 1):
                norm = learn(parameters, rates, losses(step))
        assert found == [] and norm.device.type == "meta"


@pytest.mark.usefixtures("meta_optimiser")
def test_a_stage_reads_the_device_only_to_check_to_log_and_to_save(tmp_path: Path) -> None:
    config = training_of("S")
    model = on_meta(model_spec(FRAMES, config.model))
    pairs = PolicyBatches(FRAMES, config, torch.zeros(4 * 24, model.spec.num_seen, device="meta"))
    with host_waits() as found, MetricsLog(tmp_path) as log:
        run = TrainingRun(config, tmp_path, log)
        run_stage(run, stage_of("policy", config.policy), model.policy, [model.policy], lambda s: policy_losses(model, pairs(s)), "squares")
    read = [wait.function.split(".")[0] for wait in found if wait.function != "_stored"]
    assert read == ["run_stage"] * 3  # whether the first gradient is finite; once, at the end, the loss and the gradient
