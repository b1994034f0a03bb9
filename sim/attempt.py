"""One attempt at a task: a goal that is kept, and what has been achieved of it. It judges by the truth, which no planner sees."""

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import Observation
from robo_dream.evaluation.manifest import Pair
from robo_dream.evaluation.results import Progress
from sim.environment import Environment, goal_observation, ground_truth_at, task_named
from sim.goals import Criterion


class Attempt:
    """`record` after every control step, or `is_done` at every observation; `distance`, `reward` and `success` only look."""

    def __init__(self, environment: Environment, pair: Pair) -> None:
        """Puts `environment` at the start of `pair`. Raises `ConfigError` for a task that it does not have."""
        self.environment, self.pair = environment, pair
        self._task = task_named(environment, pair.task)
        self.criterion: Criterion = self._task.criterion
        environment.set_state(pair.start)
        self.goal = ground_truth_at(environment, pair.goal)
        self.progress = Progress()
        self.distances = [self.distance]  # metres, at the start and after every step that was counted
        self._time = environment.time

    @property
    def goal_state(self) -> Float[np.ndarray, " state"]:
        return self.pair.goal

    def goal_observation(self) -> Observation:
        """What cameras and joints say at the goal, and what is known there; the environment is left as it is."""
        return goal_observation(self.environment, self.pair.goal, self._task.shown_at_rest)

    def record(self) -> Progress:
        """Counts the control step that has just passed."""
        now, criterion = self.environment.ground_truth(), self.criterion
        self.progress = self.progress.after(criterion.moderate(now, self.goal), criterion.strict(now, self.goal), criterion.hold_steps)
        self.distances.append(criterion.distance(now, self.goal))
        return self.progress

    def is_done(self, observation: Observation) -> bool:
        """Counts the control step that led to `observation`, once; whether the goal has been held as long as the task asks."""
        if observation.time > self._time:
            self._time = observation.time
            self.record()
        return self.progress.strict_step is not None

    @property
    def distance(self) -> float:
        """Metres that are left now."""
        return self.criterion.distance(self.environment.ground_truth(), self.goal)

    @property
    def reward(self) -> float:
        """1 where the strict condition is met, else minus the metres left."""
        now = self.environment.ground_truth()
        return 1.0 if self.criterion.strict(now, self.goal) else -self.criterion.distance(now, self.goal)

    @property
    def success(self) -> bool:
        """Whether the moderate condition is met now."""
        return self.criterion.moderate(self.environment.ground_truth(), self.goal)

    @property
    def is_reached(self) -> bool:
        """Whether the moderate condition was met at some step."""
        return self.progress.moderate_step is not None

    @property
    def is_held(self) -> bool:
        return self.progress.strict_step is not None
