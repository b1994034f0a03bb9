"""How far a future is from the goal in the latents themselves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from robo_dream.errors import ConfigError
from robo_dream.imagination import Cost, Goal, Imagination, ScenePose, StepCosts, WorldModel
from robo_dream.planning.local_goals import LocalGoalConfig, LocalGoalCost, LocalGoalModel
from robo_dream.schema import configuration

Weight = Annotated[float, Field(ge=0, le=1e6)]


@dataclass(frozen=True)
class LatentCost:
    """Euclidean distance to the goal's latent over the root of the number of channels: the typical difference of one channel.

    On the released encoder it ranks candidates about as `DistanceCost` and `PoseCost` do (benchmarks/cost_ranking.py), and yet the loop
    ends less precisely with it: 23 points fewer strict successes than with poses (benchmarks/far_goals.py, 30 pushes).
    """

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        difference = imagination.latents - goal.latent[:, None, None]
        distance = difference.square().mean(dim=-1).sqrt()
        return StepCosts({"latent": distance}, distance.sum(dim=-1))


@runtime_checkable
class TemporalDistance(Protocol):
    """Steps from each latent to its goal, learned (HILP, Park et al. 2024; quasimetrics, Wang et al. 2023)."""

    def __call__(self, latents: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*#batch channel"], /) -> Float[Tensor, "*batch"]:
        """`goals` may have axes of size 1, so that each goal is encoded once."""
        ...


@dataclass(frozen=True)
class DistanceCost:
    """The learned number of steps from each imagined state to the goal, as `distance` gives it."""

    distance: TemporalDistance

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        steps = self.distance(imagination.latents, goal.latent[:, None, None])
        return StepCosts({"distance": steps}, steps.sum(dim=-1))


@dataclass(frozen=True)
class DisagreementCost:
    """The spread of the model's heads at each imagined step, so that a search does not seek out what the model does not know."""

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        return StepCosts({"disagreement": imagination.disagreement}, imagination.disagreement.sum(dim=-1))


@dataclass(frozen=True)
class CuriosityCost:
    """Minus the spread of the model's heads at each imagined step, so that a search seeks out what they do not agree on.

    Plan2Explore (Sekar et al. 2020, arXiv 2005.05960): what heads disagree on can still be learned, while what is random by nature they
    come to predict alike. The goal is not looked at.
    """

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        return StepCosts({"curiosity": -imagination.disagreement}, -imagination.disagreement.sum(dim=-1))


@configuration
class PoseCostConfig:
    """Weights: what one metre, one unit of turn or one full closure costs. A part with weight 0 is not computed.

    Turns are compared as (cos, sin) vectors of the symmetric angle: 0 when equal looks, 2 when as different as can be.
    Those of several objects add up. `tool_to_object` draws the tool towards the object (of several, the one farthest from its goal),
    without which moving an object out of reach has no first step.
    """

    object_pos: Weight = 1.0
    object_yaw: Weight = 0.0
    tool_pos: Weight = 0.0
    tool_yaw: Weight = 0.0
    gripper: Weight = 0.0
    tool_to_object: Weight = 0.0

    def __post_init__(self) -> None:
        names = ("object_pos", "object_yaw", "tool_pos", "tool_yaw", "gripper", "tool_to_object")
        if not any(getattr(self, name) for name in names):
            raise ConfigError(f"all weights of PoseCostConfig are 0; give at least one of {names} a positive weight")


@dataclass(frozen=True)
class PoseCost:
    """Weighted distances between imagined poses and the goal's: those given in the goal, else those read from its latent."""

    model: WorldModel
    config: PoseCostConfig

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        weights = self.config
        pose, desired = self._seen(imagination, goal)
        terms = {}
        if weights.object_pos:
            terms["object_pos"] = weights.object_pos * _distance(pose.object_pos, desired.object_pos).sum(-1)
        if weights.object_yaw:
            terms["object_yaw"] = weights.object_yaw * _distance(_unit(pose.object_yaw), _unit(desired.object_yaw)).sum(-1)
        if weights.tool_pos:
            terms["tool_pos"] = weights.tool_pos * _distance(pose.tool_pos, desired.tool_pos)
        if weights.tool_yaw:
            terms["tool_yaw"] = weights.tool_yaw * _distance(_unit(pose.tool_yaw), _unit(desired.tool_yaw))
        if weights.gripper:
            terms["gripper"] = weights.gripper * (pose.gripper - desired.gripper[:, None, None]).abs()
        if weights.tool_to_object:
            away = (pose.tool_pos[..., None, :] - pose.object_pos).norm(dim=-1)
            left = _distance(pose.object_pos, desired.object_pos)
            terms["tool_to_object"] = weights.tool_to_object * away.take_along_dim(left.argmax(-1, keepdim=True), -1).squeeze(-1)
        return StepCosts(terms, torch.stack(list(terms.values())).sum(dim=(0, -1)))

    def _seen(self, imagination: Imagination, goal: Goal) -> tuple[ScenePose, ScenePose]:
        """Poses imagined and poses desired; read from latents in one call, as a call costs more than a row."""
        latents, num_goals = imagination.latents, len(goal.latent)
        read = vars(self.model.poses(torch.cat([latents.flatten(0, 2), goal.latent.to(latents)])))
        pose = ScenePose(**{name: rows[:-num_goals].unflatten(0, latents.shape[:3]) for name, rows in read.items()})
        desired = ScenePose(**{name: rows[-num_goals:] for name, rows in read.items()})
        if goal.next is not None:
            desired = goal.next
        elif goal.object_pos is not None:
            given = goal.object_pos.to(desired.object_pos)
            desired = replace(desired, object_pos=torch.where(given.isnan(), desired.object_pos, given))
        if goal.tool_pos is not None:
            desired = replace(desired, tool_pos=goal.tool_pos)
        return pose, desired


def _distance(
    imagined: Float[Tensor, "batch sample horizon *thing part"], desired: Float[Tensor, "batch *thing part"]
) -> Float[Tensor, "batch sample horizon *thing"]:
    return (imagined - desired[:, None, None]).norm(dim=-1)


def _unit(turn: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    return turn / turn.norm(dim=-1, keepdim=True).clamp(min=1e-6)


@configuration
class StepWeights:
    """What each imagined step counts: `final_weight` the last, `step_weight` the mean of those before it, `nearest_weight` the cheapest.

    DINO-WM and LeWM score the last step only (0 and 1). A little weight on the way there prefers arriving early, which is what
    a loop that executes only the first block needs. The weight is of the mean, so the horizon does not change the balance.
    The cheapest step is LeWM++'s minimum over the horizon: a future that passes the goal need not stay there.
    """

    step_weight: Weight = 0.3
    final_weight: Weight = 1.0
    nearest_weight: Weight = 0.0

    def __post_init__(self) -> None:
        if self.step_weight == self.final_weight == self.nearest_weight == 0:
            raise ConfigError(
                "StepWeights has step_weight, final_weight and nearest_weight at 0, so every future costs nothing; set one above 0"
            )

    def of(self, horizon: int, like: Tensor) -> Float[Tensor, " horizon"]:
        weights = torch.full((horizon,), self.step_weight / max(1, horizon - 1), device=like.device, dtype=like.dtype)
        weights[-1] = self.final_weight
        return weights

    def of_nearest(self, costs: Float[Tensor, "batch sample horizon"]) -> Float[Tensor, "batch sample horizon"]:
        """What the cheapest step of each future counts beside that; one that is NaN is taken for the cheapest, so that it is not lost."""
        return self.nearest_weight * nn.functional.one_hot(costs.argmin(dim=-1), costs.shape[-1]).to(costs)


@dataclass(frozen=True)
class WeightedCost:
    """One cost of the sum, and what it counts."""

    cost: Cost
    weight: float
    weighs_steps: bool = False  # it says itself what each step counts


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
        horizon = imagination.disagreement.shape[-1]
        first = 0 if self.steps.step_weight or self.steps.nearest_weight else horizon - 1
        counted = Imagination(imagination.latents[:, :, first:], imagination.disagreement[:, :, first:])
        terms: dict[str, Tensor] = {}
        to_weigh: dict[str, tuple[float, Tensor]] = {}
        for name, part in self.costs.items():
            if part.weight:
                parts = part.cost(imagination if part.weighs_steps else counted, goal).terms
                for inner, values in parts.items():
                    term = name if len(parts) == 1 else f"{name}.{inner}"
                    if part.weighs_steps:
                        terms[term] = part.weight * values
                    else:
                        to_weigh[term] = part.weight, values
        if to_weigh:
            steps: Tensor = self.steps.of(horizon, imagination.disagreement)[first:]
            if self.steps.nearest_weight:
                steps = steps + self.steps.of_nearest(torch.stack([weight * values for weight, values in to_weigh.values()]).sum(dim=0))
            terms = {term: nn.functional.pad(weight * steps * values, (first, 0)) for term, (weight, values) in to_weigh.items()} | terms
        return StepCosts(terms, torch.stack(list(terms.values())).sum(dim=(0, -1)))


@configuration
class CostConfig:
    """Weights of the parts; 0 leaves a part out. `distance` is per control step to the goal, `pose` scales `pose_parts`.

    `disagreement` keeps away from what the model's heads do not agree on, `curiosity` seeks it out and needs no goal.
    """

    distance: Weight = 1.0
    latent: Weight = 0.0
    pose: Weight = 0.0
    disagreement: Weight = 0.0
    curiosity: Weight = 0.0
    pose_parts: PoseCostConfig = field(default_factory=PoseCostConfig)
    steps: StepWeights = field(default_factory=StepWeights)
    local_goal: LocalGoalConfig | None = None  # how far futures are from where things should be shortly; `steps` is not about it

    def __post_init__(self) -> None:
        if self.curiosity and self.disagreement:
            raise ConfigError(
                f"CostConfig has curiosity {self.curiosity} and disagreement {self.disagreement}, which ask for the opposite; set one to 0"
            )
        if not (self.distance or self.latent or self.pose or self.local_goal or self.curiosity):
            raise ConfigError(
                "CostConfig has distance, latent, pose and curiosity at 0, so no future is better than another; set one above 0"
            )

    def final(self) -> "CostConfig":
        """The same without local goals, for who asks about the final goal alone; by latents where nothing else is left."""
        if self.distance or self.latent or self.pose:
            return replace(self, local_goal=None)
        return replace(self, local_goal=None, latent=1.0)


def build_cost(
    config: CostConfig, model: WorldModel, distance: TemporalDistance | None = None, local_goals: LocalGoalModel | None = None
) -> WeightedSum:
    """The weighted sum that `config` describes; `distance` and `local_goals` are the model's learned ones, needed where they count.

    Goals of a cost with local goals need one each: see `LocalAim`.
    """
    parts = {
        "latent": WeightedCost(LatentCost(), config.latent),
        "pose": WeightedCost(PoseCost(model, config.pose_parts), config.pose),
        "disagreement": WeightedCost(DisagreementCost(), config.disagreement),
        "curiosity": WeightedCost(CuriosityCost(), config.curiosity),
    }
    if config.distance:
        if distance is None:
            raise ConfigError(
                f"the cost has distance {config.distance}, but this model has learned no temporal distance; "
                "set distance to 0 and latent or pose above 0"
            )
        parts["distance"] = WeightedCost(DistanceCost(distance), config.distance)
    if config.local_goal is not None:
        if local_goals is None:
            raise ConfigError(
                f"the cost has a local_goal of weight {config.local_goal.weight}, but this model has learned no local goals; "
                "set cost.local_goal to null, or train them with `robo-dream train stage=local_goals init=CHECKPOINT`"
            )
        local = LocalGoalCost(local_goals, config.local_goal, model.action_block)
        parts["local_goal"] = WeightedCost(local, config.local_goal.weight, weighs_steps=True)
    return WeightedSum({name: part for name, part in parts.items() if part.weight}, config.steps)
