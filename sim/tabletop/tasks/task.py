"""What a task is, and how an attempt at it is scored."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import Observation
from robo_dream.evaluation.results import Progress
from sim.ground_truth import GroundTruth, ground_truth_of
from sim.tabletop.world import World


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


@runtime_checkable
class Task(Criterion, Protocol):
    """A task of our own worlds: goals, and when one is met."""

    def draw_start(self, world: World, rng: np.random.Generator) -> None:
        """Puts `world` at a random start."""
        ...

    def draw_goal(self, world: World, rng: np.random.Generator) -> Float[np.ndarray, " state"]:
        """A random goal for the start that `world` is at, as a state of the world; `world` is left as it was."""
        ...


def progress_of(task: Task, goal: GroundTruth, truths: Iterable[GroundTruth]) -> Progress:
    """The progress after `truths`, one for each control step, the start left out."""
    progress = Progress()
    for now in truths:
        progress = progress.after(task.moderate(now, goal), task.strict(now, goal), task.hold_steps)
    return progress


def reset_to(world: World, state: Float[np.ndarray, " state"]) -> GroundTruth:
    """Restores a stored state and says what is true there."""
    world.set_state(state)
    return ground_truth_of(world)


def ground_truth_at(world: World, state: Float[np.ndarray, " state"]) -> GroundTruth:
    """What is true at `state`; `world` is left as it was."""
    before = world.state
    moment = reset_to(world, state)
    world.set_state(before)
    return moment


def goal_observation(world: World, goal_state: Float[np.ndarray, " state"]) -> Observation:
    """What cameras and joints would say at the goal; `world` is left as it was."""
    before = world.state
    world.set_state(goal_state)
    observation = world.observe()
    world.set_state(before)
    return observation
