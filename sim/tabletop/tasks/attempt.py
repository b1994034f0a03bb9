"""One attempt at a task: a goal that is kept, and what has been achieved of it. What environments hold on to."""

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import Observation
from robo_dream.evaluation.results import Progress
from sim.ground_truth import GroundTruth, ground_truth_of
from sim.tabletop.tasks.task import Task, goal_observation, ground_truth_at
from sim.tabletop.world import World


class Attempt:
    """`reset` or `begin`, then `record` after every control step; `reward` and `success` only look."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.goal_state: Float[np.ndarray, " state"] | None = None
        self._goal: GroundTruth | None = None
        self.progress = Progress()

    def reset(self, world: World, rng: np.random.Generator) -> None:
        """Draws a start and a goal; `world` is at the start."""
        self.task.draw_start(world, rng)
        self.begin(world, self.task.draw_goal(world, rng))

    def begin(self, world: World, goal_state: Float[np.ndarray, " state"]) -> None:
        """Starts over, from where `world` is, towards `goal_state`."""
        self.goal_state = np.array(goal_state)
        self._goal = ground_truth_at(world, goal_state)
        self.progress = Progress()

    def record(self, world: World) -> Progress:
        """Counts the control step that has just passed."""
        now, task = ground_truth_of(world), self.task
        self.progress = self.progress.after(task.moderate(now, self.goal), task.strict(now, self.goal), task.hold_steps)
        return self.progress

    @property
    def goal(self) -> GroundTruth:
        assert self._goal is not None, "reset or begin comes first"
        return self._goal

    def goal_observation(self, world: World) -> Observation:
        assert self.goal_state is not None, "reset or begin comes first"
        return goal_observation(world, self.goal_state)

    def distance(self, world: World) -> float:
        return self.task.distance(ground_truth_of(world), self.goal)

    def reward(self, world: World) -> float:
        """1 where the strict condition is met, else minus the metres left."""
        now = ground_truth_of(world)
        return 1.0 if self.task.strict(now, self.goal) else -self.task.distance(now, self.goal)

    def success(self, world: World) -> bool:
        """Whether the moderate condition is met now."""
        return self.task.moderate(ground_truth_of(world), self.goal)
