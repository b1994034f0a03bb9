"""Goals: from a picture of how it should be, from poses given outright, and what a planner is told of one at each decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.embodiment import Observation
from robo_dream.imagination import Belief, Goal, Plan, Planner, WorldModel


def goal_from_observation(model: WorldModel, observation: Observation) -> Goal:
    """The belief one would have on seeing `observation` at rest: a goal picture (all cameras and proprioception), encoded."""
    return goals_from_observations(model, [observation])


def goals_from_observations(model: WorldModel, observations: Sequence[Observation]) -> Goal:
    """One goal for each observation."""
    with torch.no_grad():
        return Goal(model.believe([[observation] for observation in observations]).latent)


def goal_from_positions(
    latent: Float[Tensor, "batch channel"],
    object_pos: Float[Tensor, "batch object 3"] | None = None,
    tool_pos: Float[Tensor, "batch 3"] | None = None,
) -> Goal:
    """A goal without a goal picture: positions in metres, world frame.

    `latent` stands for all that is not given (the present belief, so that nothing else need change); use it with `PoseCost`.
    """
    return Goal(latent, object_pos, tool_pos)


@runtime_checkable
class Aim(Protocol):
    """Tells more of a goal than who asks a planner does: where things should be shortly, or which move comes next."""

    def of(self, belief: Belief, goal: Goal, seeds: Sequence[int], /) -> Goal:
        """`goal` with what is to be aimed at now, of each problem by itself."""
        ...


@dataclass(frozen=True)
class AimedPlanner:
    """`planner`, which is told at each decision what to aim at."""

    planner: Planner
    aim: Aim

    @property
    def name(self) -> str:
        return self.planner.name

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`."""
        if not len(goal.latent) == len(seeds) == len(belief.latent):
            return self.planner.plan(belief, goal, seeds, previous, deadline)  # which says what is wrong
        with torch.no_grad():
            aimed = self.aim.of(belief, goal, seeds)
        return self.planner.plan(belief, aimed, seeds, previous, deadline)
