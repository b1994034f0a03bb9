"""When a goal is met, in our worlds and in those that others wrote: the object, or the tool, is where the goal shows it."""

import math
from dataclasses import dataclass

import numpy as np

from sim.ground_truth import GroundTruth, turn_between


@dataclass(frozen=True)
class ObjectGoal:
    """Moderate: every object within a radius at some step. Strict: nearer, turned alike (equal looks counted as equal) and held."""

    name: str
    moderate_radius: float  # m
    strict_radius: float
    strict_turn: float = math.radians(15)
    hold_steps: int = 3
    least_motion: float = 0.0

    def moderate(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.distance(now, goal) <= self.moderate_radius

    def strict(self, now: GroundTruth, goal: GroundTruth) -> bool:
        if self.distance(now, goal) > self.strict_radius:
            return False
        pairs = zip(now.object_poses[:, 3:], goal.object_poses[:, 3:], strict=True)
        return all(turn_between(one, other, now.half_size, now.object_symmetry) <= self.strict_turn for one, other in pairs)

    def distance(self, now: GroundTruth, goal: GroundTruth) -> float:
        """Of the object that is farthest away."""
        return max(float(np.linalg.norm(one - other)) for one, other in zip(now.object_poses[:, :3], goal.object_poses[:, :3], strict=True))

    def moved(self, start: GroundTruth, goal: GroundTruth) -> float:
        return self.distance(start, goal)


@dataclass(frozen=True)
class ToolGoal:
    """Moderate: the tool within a radius at some step. Strict: nearer, and held."""

    name: str
    moderate_radius: float  # m
    strict_radius: float
    hold_steps: int = 5
    least_motion: float = 0.0

    def moderate(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.distance(now, goal) <= self.moderate_radius

    def strict(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.distance(now, goal) <= self.strict_radius

    def distance(self, now: GroundTruth, goal: GroundTruth) -> float:
        return float(np.linalg.norm(now.tool_pos - goal.tool_pos))

    def moved(self, start: GroundTruth, goal: GroundTruth) -> float:
        return self.distance(start, goal)
