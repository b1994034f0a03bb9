"""The cost of a run from its configuration."""

import math
from dataclasses import dataclass, field

from robo_dream.errors import ConfigError
from robo_dream.imagination import WorldModel
from robo_dream.planning.costs.disagreement import DisagreementCost
from robo_dream.planning.costs.distance import DistanceCost, TemporalDistance
from robo_dream.planning.costs.latent import LatentCost
from robo_dream.planning.costs.pose import PoseCost, PoseCostConfig
from robo_dream.planning.costs.weighted import StepWeights, WeightedCost, WeightedSum
from robo_dream.planning.ranges import require_between


@dataclass(frozen=True)
class CostConfig:
    """Weights of the parts; 0 leaves a part out. `distance` is per control step to the goal, `pose` scales `pose_parts`."""

    distance: float = 1.0
    latent: float = 0.0
    pose: float = 0.0
    disagreement: float = 0.0
    pose_parts: PoseCostConfig = field(default_factory=PoseCostConfig)
    steps: StepWeights = field(default_factory=StepWeights)

    def __post_init__(self) -> None:
        require_between(self, 0, math.inf, "distance", "latent", "pose", "disagreement")
        if not (self.distance or self.latent or self.pose):
            raise ConfigError("CostConfig has distance, latent and pose at 0, so no future is nearer to the goal; set one above 0")


def build_cost(config: CostConfig, model: WorldModel, distance: TemporalDistance | None = None) -> WeightedSum:
    """The weighted sum that `config` describes; `distance` is the model's learned one, needed when its weight is not 0."""
    parts = {
        "latent": WeightedCost(LatentCost(), config.latent),
        "pose": WeightedCost(PoseCost(model, config.pose_parts), config.pose),
        "disagreement": WeightedCost(DisagreementCost(), config.disagreement),
    }
    if config.distance:
        if distance is None:
            raise ConfigError(
                f"the cost has distance {config.distance}, but this model has learned no temporal distance; "
                "set distance to 0 and latent or pose above 0"
            )
        parts["distance"] = WeightedCost(DistanceCost(distance), config.distance)
    return WeightedSum({name: part for name, part in parts.items() if part.weight}, config.steps)
