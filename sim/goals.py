"""When a goal is met: a criterion judges by where the object, or the tool, is and where the goal has it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from robo_dream.evaluation.results import Progress
from sim.ground_truth import GroundTruth, turn_between


@runtime_checkable
class Criterion(Protocol):
    """When a goal is met. Immutable; the goal is an argument."""

    @property
    def name(self) -> str: ...

    @property
    def hold_steps(self) -> int:
        """Control steps in a row for which the strict condition must be met."""
        ...

    @property
    def least_motion(self) -> float:
        """Metres by which a goal must differ from its start to count."""
        ...

    @property
    def is_about_objects(self) -> bool:
        """Whether objects must be somewhere, not the tool alone: then a cost that leaves them out plans for nothing."""
        ...

    def moderate(self, now: GroundTruth, goal: GroundTruth) -> bool: ...

    def strict(self, now: GroundTruth, goal: GroundTruth) -> bool:
        """The condition that must be held; it implies the moderate one."""
        ...

    def distance(self, now: GroundTruth, goal: GroundTruth) -> float:
        """Metres that are left; what the reward counts."""
        ...

    def moved(self, start: GroundTruth, goal: GroundTruth) -> float:
        """Metres by which the goal differs from the start in what the task is about."""
        ...


@dataclass(frozen=True)
class ObjectGoal:
    """Moderate: every object within a radius at some step. Strict: nearer, turned alike (equal looks counted as equal) and held."""

    name: str
    moderate_radius: float  # m
    strict_radius: float
    strict_turn: float = math.radians(15)
    hold_steps: int = 3
    least_motion: float = 0.0
    is_about_objects: bool = True

    def moderate(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.distance(now, goal) <= self.moderate_radius

    def strict(self, now: GroundTruth, goal: GroundTruth) -> bool:
        if self.distance(now, goal) > self.strict_radius:
            return False
        pairs = zip(now.object_poses[:, 3:], goal.object_poses[:, 3:], now.kinds, strict=True)
        return all(turn_between(one, other, *kind) <= self.strict_turn for one, other, kind in pairs)

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
    is_about_objects: bool = False

    def moderate(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.distance(now, goal) <= self.moderate_radius

    def strict(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.distance(now, goal) <= self.strict_radius

    def distance(self, now: GroundTruth, goal: GroundTruth) -> float:
        return float(np.linalg.norm(now.tool_pos - goal.tool_pos))

    def moved(self, start: GroundTruth, goal: GroundTruth) -> float:
        return self.distance(start, goal)


def progress_of(criterion: Criterion, goal: GroundTruth, truths: Iterable[GroundTruth]) -> Progress:
    """The progress after `truths`, one for each control step, the start left out."""
    progress = Progress()
    for now in truths:
        progress = progress.after(criterion.moderate(now, goal), criterion.strict(now, goal), criterion.hold_steps)
    return progress
