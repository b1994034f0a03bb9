"""Where configuration becomes objects: the world, the model of a checkpoint, and the planner with its cost and proposers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from robo_dream.errors import ConfigError
from robo_dream.imagination import Planner, Proposer, WorldModel
from robo_dream.models import checkpoint
from robo_dream.models.compiled import Precision, row_runner
from robo_dream.models.policy_prior import Bridge, GripperGoal, PolicyPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning import kinds
from robo_dream.planning.baselines import PolicyAloneConfig, RandomConfig, ZeroActionConfig
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig, build_cost
from robo_dream.planning.hybrid import HybridConfig
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.mppi import MppiConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.predictive import PredictiveConfig
from robo_dream.planning.proposals import BridgeProposer, PolicyProposer, RepeatedPolicyProposer
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import SimCamera, World


@dataclass(frozen=True)
class ProposalConfig:
    """What learned policies propose to a search. `temperature` scales their spread; 0 draws among modes only.

    `hand` says what is asked of the hand: that it ends as the goal's picture shows it, or, where only the object matters, that it
    opens and rises once the object is where it should be. A bridge always goes for all of the picture.
    """

    policy: bool = True  # proposals closed over the model's own imagination
    repeated: bool = False  # the first proposal held over the horizon
    bridge: bool = False  # straight through latent space at several speeds; needs a checkpoint trained with a bridge
    temperature: float = 1.0
    spread: bool = False  # samples of the policy are shared among its modes, not drawn one by one
    gripper_goal: GripperGoal = "as_shown"

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise ConfigError(f"proposals.temperature is {self.temperature}; allowed is 0 to 10")


@dataclass(frozen=True)
class PlanningConfig:
    """How decisions are made: the search, what it judges by and what it is proposed."""

    planner: PlannerConfig = field(default_factory=PolicyGuidedConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)


def build_world(scene: SceneConfig | None = None) -> World:
    """The world of `scene`, the default one without; close it when done."""
    return World(scene or SceneConfig())


def build_cameras(world: World, model: WorldModel) -> list[SimCamera]:
    """The cameras that `model` looks through; raises `ContractError` for one that the scene lacks."""
    return [SimCamera(world, name) for name in model.cameras]


def load_checkpoint_model(
    path: Path | str, device: str | torch.device = "cpu", compiled: bool = False, precision: Precision = "float32"
) -> LatentVideoModel:
    """The model in a checkpoint, ready to use; raises `CheckpointError`, or `ConfigError` for a device or a compiler that is not here.

    `compiled` imagines with code made for this machine: some minutes at the first decision ever, some seconds at later starts. A
    `precision` of bfloat16 halves the time of matrix products where the processor has them, and rounds what is imagined.
    """
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device is {device!r}; allowed are cpu, cuda and cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {device}, but this PyTorch sees no CUDA device; set device=cpu, or see `robo-dream doctor`")
    return checkpoint.load(path, device).running(row_runner(compiled, precision))


def build_planner(
    planner: PlannerConfig,
    model: WorldModel,
    cost: CostConfig | None = None,
    proposals: ProposalConfig | None = None,
    clock: Callable[[], float] = time.monotonic,
    teacher: LatentVideoModel | None = None,
) -> Planner:
    """The planner that `planner` describes, judging by `cost`. Raises `ConfigError` for a cost that the model cannot give.

    Proposals come from the policy of `teacher`, without it of the model itself; one that has learned none (true physics)
    then gets no proposers.
    """
    learned = isinstance(model, LatentVideoModel)
    judged_by = build_cost(cost or CostConfig(), model, model.distance if learned else None)
    teacher = teacher or (model if isinstance(model, LatentVideoModel) else None)
    proposers = _proposers(model, teacher, proposals or ProposalConfig()) if teacher is not None else []
    if isinstance(planner, PolicyAloneConfig):
        proposers = proposers[:1]
        if not proposers:
            raise ConfigError(
                "the policy_alone planner executes a policy's proposal: set proposals.policy=true (or bridge), use a learned model"
            )
    elif isinstance(planner, ZeroActionConfig | RandomConfig):
        proposers = []
    return kinds.planner_of(planner, model, judged_by, proposers, clock)


def rollouts_a_decision(planner: PlannerConfig) -> int:
    """How many futures a decision of `planner` imagines, about: the chosen one that is imagined once more left out."""
    match planner:
        case PolicyAloneConfig() | ZeroActionConfig() | RandomConfig():
            return 0
        case PredictiveConfig():
            return planner.num_samples
        case HybridConfig():
            return planner.num_samples + planner.num_refined * planner.num_iterations
        case IcemConfig():
            drawn = [max(2 * planner.num_elites, int(planner.num_samples / planner.decay**i)) for i in range(planner.num_iterations)]
            return sum(drawn) + (planner.num_elites * planner.num_iterations if planner.action_selection == "mode" else 0)
        case PolicyGuidedConfig(action_selection="mode") | CemConfig(action_selection="mode") | MppiConfig(action_selection="mode"):
            return (planner.num_samples + planner.num_elites) * planner.num_iterations
        case _:
            return planner.num_samples * planner.num_iterations


def _proposers(model: WorldModel, teacher: LatentVideoModel, config: ProposalConfig) -> Sequence[Proposer]:
    prior = PolicyPrior(teacher, model, config.gripper_goal)
    proposers: list[Proposer] = []
    if config.policy:
        proposers.append(PolicyProposer(model, prior, config.temperature, config.spread))
    if config.repeated:
        proposers.append(RepeatedPolicyProposer(model, prior, config.temperature, config.spread))
    if config.bridge and isinstance(model, LatentVideoModel):  # nobody else's latents are points of its bridges
        proposers.append(BridgeProposer(model, Bridge(model)))
    return proposers
