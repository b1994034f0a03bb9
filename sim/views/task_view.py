"""What both environments share: a world, an attempt at a task, and what of them is observed."""

from collections.abc import Mapping

import numpy as np

from robo_dream.embodiment import PROPRIO_NAMES, ActionSpec, Observation
from robo_dream.errors import ConfigError
from sim.tabletop.tasks.attempt import Attempt
from sim.tabletop.tasks.task import Task
from sim.tabletop.world import World

MAX_STEPS = 50  # control steps; 5 s at 10 Hz


class TaskView:
    """Pictures and proprioception of now, under the camera's name and "proprio", and of the goal, under those with "goal_" before."""

    def __init__(self, world: World, task: Task, max_steps: int = MAX_STEPS) -> None:
        if max_steps < 1:
            raise ConfigError(f"max_steps is {max_steps}; an episode has at least 1 control step")
        self.world = world
        self.max_steps = max_steps
        self._attempt = Attempt(task)
        self._goal: dict[str, np.ndarray] = {}

    @property
    def action_spec(self) -> ActionSpec:
        return self.world.moves.spec

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of each observed array; those of three axes are uint8 pictures, the others float32."""
        now: dict[str, tuple[int, ...]] = {camera.name: (camera.height, camera.width, 3) for camera in self.world.scene.config.cameras}
        now["proprio"] = (len(PROPRIO_NAMES),)
        return {**now, **{f"goal_{name}": shape for name, shape in now.items()}}

    def reset(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draws a start and a goal."""
        self._attempt.reset(self.world, rng)
        self._goal = {f"goal_{name}": value for name, value in _arrays(self._attempt.goal_observation(self.world)).items()}
        return self.observe()

    def observe(self) -> dict[str, np.ndarray]:
        return _arrays(self.world.observe()) | {name: value.copy() for name, value in self._goal.items()}

    def step(self, action: np.ndarray) -> float:
        """One control step; the reward after it. An action out of the limits is clipped, one that is not finite a `ContractError`."""
        self.world.step_move(action)
        self._attempt.record(self.world)
        return float(self._attempt.reward(self.world))

    @property
    def done(self) -> bool:
        """Whether the strict condition has been held as long as the task asks."""
        return self._attempt.progress.strict_step is not None

    @property
    def out_of_time(self) -> bool:
        return self._attempt.progress.step >= self.max_steps

    @property
    def score(self) -> dict[str, float | bool]:
        progress = self._attempt.progress
        return {"distance": self._attempt.distance(self.world), "moderate": progress.moderate_step is not None, "strict": self.done}


def _arrays(observation: Observation) -> dict[str, np.ndarray]:
    return {**{name: frame.image for name, frame in observation.frames.items()}, "proprio": observation.arm.proprio}
