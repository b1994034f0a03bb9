"""Planners by the configuration that describes them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from robo_dream.errors import ConfigError
from robo_dream.imagination import Cost, Planner, Proposer, WorldModel
from robo_dream.planning.baselines import (
    BestOfConfig,
    BestOfPlanner,
    PolicyAloneConfig,
    PolicyAlonePlanner,
    RandomConfig,
    RandomPlanner,
    ZeroActionConfig,
    ZeroActionPlanner,
)
from robo_dream.planning.cem import CemConfig, CemPlanner
from robo_dream.planning.gradient import GradientConfig, GradientPlanner
from robo_dream.planning.hybrid import HybridConfig, HybridPlanner
from robo_dream.planning.icem import IcemConfig, IcemPlanner
from robo_dream.planning.mppi import MppiConfig, MppiPlanner
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.planning.predictive import PredictiveConfig, PredictivePlanner
from robo_dream.planning.video import VideoPlanner, VideoPlannerConfig

PlannerConfig = Annotated[
    PolicyGuidedConfig | CemConfig | IcemConfig | MppiConfig | PredictiveConfig | GradientConfig | HybridConfig | BestOfConfig
    | VideoPlannerConfig | PolicyAloneConfig | RandomConfig | ZeroActionConfig,
    Field(discriminator="kind"),
]  # fmt: skip

PLANNER_CONFIGS: Mapping[str, type[PlannerConfig]] = {
    "policy_guided": PolicyGuidedConfig,
    "cem": CemConfig,
    "icem": IcemConfig,
    "mppi": MppiConfig,
    "predictive": PredictiveConfig,
    "gradient": GradientConfig,
    "hybrid": HybridConfig,
    "best_of": BestOfConfig,
    "video": VideoPlannerConfig,
    "policy_alone": PolicyAloneConfig,
    "random": RandomConfig,
    "zero_action": ZeroActionConfig,
}


def planner_of(
    config: PlannerConfig,
    model: WorldModel,
    cost: Cost,
    proposers: Sequence[Proposer] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Planner:
    """The planner that `config` describes; `clock` is what deadlines and timings are measured with."""
    match config:
        case PolicyGuidedConfig():
            return PolicyGuidedPlanner(model, cost, config, proposers, clock)
        case CemConfig():
            return CemPlanner(model, cost, config, proposers, clock)
        case IcemConfig():
            return IcemPlanner(model, cost, config, proposers, clock)
        case MppiConfig():
            return MppiPlanner(model, cost, config, proposers, clock)
        case PredictiveConfig():
            return PredictivePlanner(model, cost, config, proposers, clock)
        case GradientConfig():
            return GradientPlanner(model, cost, config, proposers, clock)
        case HybridConfig():
            return HybridPlanner(model, cost, config, proposers, clock)
        case BestOfConfig():
            return BestOfPlanner(model, cost, config, proposers, clock)
        case VideoPlannerConfig():
            return VideoPlanner(model, cost, config, proposers, clock)
        case PolicyAloneConfig():
            return PolicyAlonePlanner(model, cost, config, proposers, clock)
        case RandomConfig():
            return RandomPlanner(model, cost, config, proposers, clock)
        case ZeroActionConfig():
            return ZeroActionPlanner(model, cost, config, proposers, clock)
    raise ConfigError(f"no planner for {type(config).__name__}; there are {sorted(PLANNER_CONFIGS)}")
