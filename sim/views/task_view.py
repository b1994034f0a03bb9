"""What both views share: an environment, an attempt at one of its tasks, and what of them is observed."""

from collections.abc import Mapping

import numpy as np

from robo_dream.embodiment import PROPRIO_NAMES, ActionSpec, Observation
from robo_dream.errors import ConfigError, ContractError
from sim.attempt import Attempt
from sim.environment import Environment, observation_of, task_named
from sim.pairs import drawn_pair

MAX_STEPS = 50  # control steps; 5 s at 10 Hz


class TaskView:
    """Pictures and proprioception of now, under the camera's name and "proprio", and of the goal, under those with "goal_" before."""

    def __init__(self, environment: Environment, task: str, max_steps: int = MAX_STEPS) -> None:
        if max_steps < 1:
            raise ConfigError(f"max_steps is {max_steps}; an episode has at least 1 control step")
        task_named(environment, task)
        self.environment, self.task, self.max_steps = environment, task, max_steps
        self._attempt: Attempt | None = None
        self._goal: dict[str, np.ndarray] = {}
        self._num_resets = 0

    @property
    def attempt(self) -> Attempt:
        if self._attempt is None:
            raise ContractError("nothing is attempted yet; call reset first")
        return self._attempt

    @property
    def action_spec(self) -> ActionSpec:
        return self.environment.action_spec

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of each observed array; those of three axes are uint8 pictures, the others float32."""
        now: dict[str, tuple[int, ...]] = {camera.name: (camera.height, camera.width, 3) for camera in self.environment.cameras}
        now["proprio"] = (len(PROPRIO_NAMES),)
        return {**now, **{f"goal_{name}": shape for name, shape in now.items()}}

    def reset(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draws a start and a goal."""
        self._attempt = Attempt(self.environment, drawn_pair(self.environment, self.task, rng, self._num_resets))
        self._num_resets += 1
        self._goal = {f"goal_{name}": value for name, value in _arrays(self._attempt.goal_observation()).items()}
        return self.observe()

    def observe(self) -> dict[str, np.ndarray]:
        return _arrays(observation_of(self.environment)) | {name: value.copy() for name, value in self._goal.items()}

    def step(self, action: np.ndarray) -> float:
        """One control step; the reward after it. An action out of the limits is clipped, one that is not finite a `ContractError`."""
        self.environment.step(self.action_spec.clip(self.action_spec.numbers(action)))
        self.attempt.record()
        return float(self.attempt.reward)

    def picture(self) -> np.ndarray:
        """What the first camera shows."""
        return self.environment.image(self.environment.cameras[0].name)

    @property
    def done(self) -> bool:
        """Whether the strict condition has been held as long as the task asks."""
        return self.attempt.is_held

    @property
    def out_of_time(self) -> bool:
        return self.attempt.progress.step >= self.max_steps

    @property
    def score(self) -> dict[str, float | bool]:
        return {"distance": self.attempt.distance, "moderate": self.attempt.is_reached, "strict": self.done}


def _arrays(observation: Observation) -> dict[str, np.ndarray]:
    return {**{name: frame.image for name, frame in observation.frames.items()}, "proprio": observation.arm.proprio}
