"""Slide the object somewhere on the table."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sim.goals import ObjectGoal
from sim.tabletop.start import draw_start
from sim.tabletop.tasks.spots import free_spot, table_pose
from sim.tabletop.world import World


@dataclass(frozen=True)
class Push(ObjectGoal):
    """Moderate: the object within 3 cm at some step. Strict: within 2 cm and 15 degrees for 5 steps, equal looks counted as equal."""

    name: str = "push"
    hold_steps: int = 5
    moderate_radius: float = 0.03  # m
    strict_radius: float = 0.02
    least_motion: float = 0.06

    def draw_start(self, world: World, rng: np.random.Generator) -> None:
        draw_start(world, rng)

    def draw_goal(self, world: World, rng: np.random.Generator) -> Float[np.ndarray, " state"]:
        """The object at a random spot of the table, a little turned; the arm stays where it is."""
        before, start = world.state, world.ground_truth()
        spot = free_spot(world, rng, least=self.least_motion, most=0.2)
        world.set_object(table_pose(start.object_pose, spot, rng.normal(0, 0.3)))
        goal = world.state
        world.set_state(before)
        return goal
