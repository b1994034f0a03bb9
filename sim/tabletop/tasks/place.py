"""Put the object down somewhere: on the table, or on another object where the scene has one."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sim.ground_truth import GroundTruth, turn_between
from sim.tabletop.start import draw_start
from sim.tabletop.tasks.spots import free_spot, table_pose
from sim.tabletop.world import World


@dataclass(frozen=True)
class Place:
    """Moderate: the object within 3 cm of the goal and released. Strict: within 2 cm and 15 degrees, released and at rest."""

    name: str = "place"
    hold_steps: int = 1  # resting is what holds it
    moderate_radius: float = 0.03  # m
    strict_radius: float = 0.02
    strict_turn: float = math.radians(15)
    least_motion: float = 0.06
    is_about_objects: bool = True

    def draw_start(self, world: World, rng: np.random.Generator) -> None:
        draw_start(world, rng)

    def draw_goal(self, world: World, rng: np.random.Generator) -> Float[np.ndarray, " state"]:
        """The object on the next one when there is one, else at a random spot of the table; the arm stays where it is."""
        before, start, boxes = world.state, world.ground_truth(), world.scene.config.objects
        if len(boxes) > 1:
            other = (world.target + 1) % len(boxes)
            under = world.object_poses[other]
            height = under[2] + world.half_size(other)[2] + world.half_size()[2]
            pose = np.array([under[0], under[1], height, *under[3:]])
        else:
            pose = table_pose(start.object_pose, free_spot(world, rng, least=self.least_motion, most=0.25), rng.uniform(-np.pi, np.pi))
        world.set_object(pose)
        goal = world.state
        world.set_state(before)
        return goal

    def moderate(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return now.released and self.distance(now, goal) <= self.moderate_radius

    def strict(self, now: GroundTruth, goal: GroundTruth) -> bool:
        near = self.distance(now, goal) <= self.strict_radius
        turned = turn_between(now.object_pose[3:], goal.object_pose[3:], now.half_size, now.object_symmetry)
        return now.released and now.at_rest and near and turned <= self.strict_turn

    def distance(self, now: GroundTruth, goal: GroundTruth) -> float:
        return float(np.linalg.norm(now.object_pose[:3] - goal.object_pose[:3]))

    def moved(self, start: GroundTruth, goal: GroundTruth) -> float:
        return self.distance(start, goal)
