"""Goals: from a picture of how it should be, or from poses given outright."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.embodiment import Observation
from robo_dream.imagination import Goal, WorldModel


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
