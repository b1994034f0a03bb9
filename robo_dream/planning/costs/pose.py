"""How far object and tool are from where they should be, read from imagined states by the model's pose head."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ConfigError
from robo_dream.imagination import Goal, Imagination, ScenePose, StepCosts, WorldModel
from robo_dream.planning.ranges import require_between


@dataclass(frozen=True)
class PoseCostConfig:
    """Weights: what one metre, one unit of turn or one full closure costs. A part with weight 0 is not computed.

    Turns are compared as (cos, sin) vectors of the symmetric angle: 0 when equal looks, 2 when as different as can be.
    Those of several objects add up. `tool_to_object` draws the tool towards the object (of several, the one farthest from its goal),
    without which moving an object out of reach has no first step.
    """

    object_pos: float = 1.0
    object_turn: float = 0.0
    tool_pos: float = 0.0
    tool_turn: float = 0.0
    gripper: float = 0.0
    tool_to_object: float = 0.0

    def __post_init__(self) -> None:
        names = ("object_pos", "object_turn", "tool_pos", "tool_turn", "gripper", "tool_to_object")
        require_between(self, 0, math.inf, *names)
        if not any(getattr(self, name) for name in names):
            raise ConfigError(f"all weights of PoseCostConfig are 0; give at least one of {names} a positive weight")


@dataclass(frozen=True)
class PoseCost:
    """Weighted distances between imagined poses and the goal's: those given in the goal, else those read from its latent."""

    model: WorldModel
    config: PoseCostConfig

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        weights = self.config
        pose, wanted = self._seen(imagination, goal)
        terms = {}
        if weights.object_pos:
            terms["object_pos"] = weights.object_pos * _distance(pose.object_pos, wanted.object_pos).sum(-1)
        if weights.object_turn:
            terms["object_turn"] = weights.object_turn * _distance(_unit(pose.object_turn), _unit(wanted.object_turn)).sum(-1)
        if weights.tool_pos:
            terms["tool_pos"] = weights.tool_pos * _distance(pose.tool_pos, wanted.tool_pos)
        if weights.tool_turn:
            terms["tool_turn"] = weights.tool_turn * _distance(_unit(pose.tool_turn), _unit(wanted.tool_turn))
        if weights.gripper:
            terms["gripper"] = weights.gripper * (pose.gripper - wanted.gripper[:, None, None]).abs()
        if weights.tool_to_object:
            away = (pose.tool_pos[..., None, :] - pose.object_pos).norm(dim=-1)
            left = _distance(pose.object_pos, wanted.object_pos)
            terms["tool_to_object"] = weights.tool_to_object * away.take_along_dim(left.argmax(-1, keepdim=True), -1).squeeze(-1)
        return StepCosts(terms, torch.stack(list(terms.values())).sum(dim=(0, -1)))

    def _seen(self, imagination: Imagination, goal: Goal) -> tuple[ScenePose, ScenePose]:
        """Poses imagined and poses wanted; read from latents in one call, as a call costs more than a row."""
        latents, num_goals = imagination.latents, len(goal.latent)
        read = vars(self.model.poses(torch.cat([latents.flatten(0, 2), goal.latent.to(latents)])))
        pose = ScenePose(**{name: rows[:-num_goals].unflatten(0, latents.shape[:3]) for name, rows in read.items()})
        wanted = ScenePose(**{name: rows[-num_goals:] for name, rows in read.items()})
        if goal.object_pos is not None:
            given = goal.object_pos.to(wanted.object_pos)
            wanted = replace(wanted, object_pos=torch.where(given.isnan(), wanted.object_pos, given))
        if goal.tool_pos is not None:
            wanted = replace(wanted, tool_pos=goal.tool_pos)
        return pose, wanted


def _distance(
    imagined: Float[Tensor, "batch sample horizon *thing part"], wanted: Float[Tensor, "batch *thing part"]
) -> Float[Tensor, "batch sample horizon *thing"]:
    return (imagined - wanted[:, None, None]).norm(dim=-1)


def _unit(turn: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    return turn / turn.norm(dim=-1, keepdim=True).clamp(min=1e-6)
