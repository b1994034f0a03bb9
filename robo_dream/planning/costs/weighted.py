"""Several costs added up, over parts and over imagined steps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.errors import ConfigError
from robo_dream.imagination import Cost, Goal, Imagination, StepCosts
from robo_dream.planning.ranges import require_between


@dataclass(frozen=True)
class StepWeights:
    """What each imagined step counts: `final_weight` the last, `step_weight` the mean of those before it.

    DINO-WM and LeWM judge the last step only (0 and 1). A little weight on the way there prefers arriving early, which is what
    a loop that executes only the first block needs. The weight is of the mean, so the horizon does not change the balance.
    """

    step_weight: float = 0.3
    final_weight: float = 1.0

    def __post_init__(self) -> None:
        require_between(self, 0, math.inf, "step_weight", "final_weight")
        if self.step_weight == self.final_weight == 0:
            raise ConfigError("StepWeights has step_weight 0 and final_weight 0, so every future costs nothing; set one above 0")

    def of(self, horizon: int, like: Tensor) -> Float[Tensor, " horizon"]:
        weights = torch.full((horizon,), self.step_weight / max(1, horizon - 1), device=like.device, dtype=like.dtype)
        weights[-1] = self.final_weight
        return weights


@dataclass(frozen=True)
class WeightedCost:
    """One cost of the sum, and what it counts."""

    cost: Cost
    weight: float


@dataclass(frozen=True)
class WeightedSum:
    """Named costs, weighted, over weighted steps. Every part is kept, already weighted: parts sum to the total.

    A cost of several parts gives `name.part`. What has weight 0 is not computed, a cost or all steps but the last, so that it
    cannot spread NaN.
    """

    costs: Mapping[str, WeightedCost]
    steps: StepWeights

    def __post_init__(self) -> None:
        if not any(part.weight for part in self.costs.values()):
            raise ConfigError(f"the weights of costs {sorted(self.costs)} are all 0; give at least one cost a positive weight")
        for name, part in self.costs.items():
            if not (math.isfinite(part.weight) and part.weight >= 0):
                raise ConfigError(f"weight of cost {name!r} is {part.weight}; allowed are numbers from 0")

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        steps = self.steps.of(imagination.disagreement.shape[-1], imagination.disagreement)
        unjudged = 0 if self.steps.step_weight else len(steps) - 1
        imagination = Imagination(imagination.latents[:, :, unjudged:], imagination.disagreement[:, :, unjudged:])
        terms: dict[str, Tensor] = {}
        for name, part in self.costs.items():
            if part.weight:
                judged = part.cost(imagination, goal).terms
                for inner, values in judged.items():
                    weighted = part.weight * steps[unjudged:] * values
                    terms[name if len(judged) == 1 else f"{name}.{inner}"] = nn.functional.pad(weighted, (unjudged, 0))
        return StepCosts(terms, torch.stack(list(terms.values())).sum(dim=(0, -1)))
