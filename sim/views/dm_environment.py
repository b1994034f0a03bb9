"""A task of any environment as a `dm_env.Environment`."""

import dm_env
import numpy as np
from dm_env import specs

from sim.environment import Environment
from sim.views.task_view import MAX_STEPS, TaskView


class DmEnvironment(dm_env.Environment):
    """Actions are in physical units; see `TaskView` for observations. Closing it closes the environment.

    The reward is 1 where the strict condition is met, else minus the metres left. An episode ends with discount 0 when the strict
    condition was held, with discount 1 after `max_steps`. The same seed gives the same sequence of episodes.
    """

    def __init__(self, environment: Environment, task: str, seed: int = 0, max_steps: int = MAX_STEPS) -> None:
        self._view = TaskView(environment, task, max_steps)
        self._rng = np.random.default_rng(seed)
        self._over = True

    def reset(self) -> dm_env.TimeStep:
        self._over = False
        return dm_env.restart(self._view.reset(self._rng))

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        if self._over:
            return self.reset()
        reward = self._view.step(action)
        observation = self._view.observe()
        self._over = self._view.done or self._view.out_of_time
        if self._view.done:
            return dm_env.termination(reward, observation)
        return dm_env.truncation(reward, observation) if self._over else dm_env.transition(reward, observation)

    def action_spec(self) -> specs.BoundedArray:
        spec = self._view.action_spec
        return specs.BoundedArray((spec.size,), np.float32, spec.low, spec.high, name=spec.kind.replace("_", " "))

    def observation_spec(self) -> dict[str, specs.Array]:
        return {
            name: specs.BoundedArray(shape, np.uint8, 0, 255, name=name) if len(shape) == 3 else specs.Array(shape, np.float32, name=name)
            for name, shape in self._view.shapes.items()
        }

    def close(self) -> None:
        self._view.environment.close()
