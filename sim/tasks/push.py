"""Slide the object somewhere on the table."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sim.moment import Moment, moment_of, turn_between
from sim.start import draw_start
from sim.tasks.spots import free_spot, table_pose
from sim.world import World


@dataclass(frozen=True)
class Push:
    """Moderate: the object within 3 cm at some step. Strict: within 2 cm and 15 degrees for 5 steps, equal looks counted as equal."""

    name: str = "push"
    hold_steps: int = 5
    moderate_radius: float = 0.03  # m
    strict_radius: float = 0.02
    strict_turn: float = math.radians(15)
    least_motion: float = 0.06

    def draw_start(self, world: World, rng: np.random.Generator) -> None:
        draw_start(world, rng)

    def draw_goal(self, world: World, rng: np.random.Generator) -> Float[np.ndarray, " state"]:
        """The object at a random spot of the table, a little turned; the arm stays where it is."""
        before, start = world.state, moment_of(world)
        spot = free_spot(world, rng, least=self.least_motion, most=0.2)
        world.set_object(table_pose(start.object_pose, spot, rng.normal(0, 0.3)))
        goal = world.state
        world.set_state(before)
        return goal

    def moderate(self, now: Moment, goal: Moment) -> bool:
        return self.distance(now, goal) <= self.moderate_radius

    def strict(self, now: Moment, goal: Moment) -> bool:
        near = self.distance(now, goal) <= self.strict_radius
        return near and turn_between(now.object_pose[3:], goal.object_pose[3:], now.half_size) <= self.strict_turn

    def distance(self, now: Moment, goal: Moment) -> float:
        return float(np.linalg.norm(now.object_pose[:3] - goal.object_pose[:3]))

    def moved(self, start: Moment, goal: Moment) -> float:
        return self.distance(start, goal)
