"""Take the object up in the hand."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robo_dream.control.cartesian import downward_quat, downward_yaw
from robo_dream.embodiment import Pose
from sim.ground_truth import GroundTruth
from sim.tabletop.start import draw_start
from sim.tabletop.world import World

_GRIP = 0.6  # closure at which the hand is drawn in a generated goal


@dataclass(frozen=True)
class Lift:
    """Moderate: the object's lowest corner 5 cm above the table and the object in the hand, at some step. Strict: for 10 steps."""

    name: str = "lift"
    hold_steps: int = 10
    least_height: float = 0.05  # m
    least_motion: float = 0.06
    is_about_objects: bool = True

    def draw_start(self, world: World, rng: np.random.Generator) -> None:
        draw_start(world, rng)

    def draw_goal(self, world: World, rng: np.random.Generator) -> Float[np.ndarray, " state"]:
        """The object between the fingers above where it lies: a picture to aim for, not a state at rest."""
        before, start = world.state, world.ground_truth()
        pos = start.object_pose[:3] + [0, 0, rng.uniform(0.08, 0.16)]
        yaw = downward_yaw(world.kinematics.forward(world.measured[:-1]).quat)
        world.set_arm(world.kinematics.inverse(world.measured[:-1], Pose(pos, downward_quat(yaw)), 200), _GRIP)
        world.set_object(np.concatenate([pos, start.object_pose[3:]]))
        goal = world.state
        world.set_state(before)
        return goal

    def moderate(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return now.clearance >= self.least_height and now.in_hand

    def strict(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.moderate(now, goal)

    def distance(self, now: GroundTruth, goal: GroundTruth) -> float:
        """The tool's way to the object, and the object's way up."""
        return float(np.linalg.norm(now.tool_pos - now.object_pose[:3])) + max(0.0, self.least_height - now.clearance)

    def moved(self, start: GroundTruth, goal: GroundTruth) -> float:
        return float(np.linalg.norm(goal.object_pose[:3] - start.object_pose[:3]))
