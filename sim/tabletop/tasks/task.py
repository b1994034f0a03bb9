"""What a task of the tabletop is: a criterion, and starts and goals that can be drawn for it."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from sim.goals import Criterion
from sim.tabletop.world import World


@runtime_checkable
class Task(Criterion, Protocol):
    """A task of our own world: goals, and when one is met."""

    def draw_start(self, world: World, rng: np.random.Generator) -> None:
        """Puts `world` at a random start."""
        ...

    def draw_goal(self, world: World, rng: np.random.Generator) -> Float[np.ndarray, " state"]:
        """A random goal for the start that `world` is at, as a state of the world; `world` is left as it was."""
        ...
