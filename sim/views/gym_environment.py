"""A task of any environment as a `gymnasium.Env`."""

from typing import Any

import numpy as np

from robo_dream.errors import MissingExtraError
from sim.environment import Environment
from sim.views.task_view import MAX_STEPS, TaskView

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise MissingExtraError("gymnasium is not installed; run `pip install 'robo-dream[gym]'`") from error


class GymEnvironment(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Actions are in physical units; see `TaskView` for observations. Closing it closes the environment.

    The reward is 1 where the strict condition is met, else minus the metres left. Terminated when the strict condition was held,
    truncated after `max_steps`. `info` gives the metres left and whether each condition has been met. `render` is the first camera.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's own convention)

    def __init__(self, environment: Environment, task: str, max_steps: int = MAX_STEPS, render_mode: str | None = None) -> None:
        self._view = TaskView(environment, task, max_steps)
        self.render_mode = render_mode
        spec = self._view.action_spec
        self.action_space = spaces.Box(spec.low, spec.high, dtype=np.float32)
        arrays: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0, 255, shape, np.uint8) if len(shape) == 3 else spaces.Box(-np.inf, np.inf, shape, np.float32)
            for name, shape in self._view.shapes.items()
        }
        self.observation_space = spaces.Dict(arrays)  # pyright: ignore[reportAttributeAccessIssue]  (Gymnasium's types)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        return self._view.reset(self.np_random), self._view.score

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        reward = self._view.step(action)
        return self._view.observe(), reward, self._view.done, self._view.out_of_time, self._view.score

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The picture of the first camera in mode "rgb_array", else None."""
        if self.render_mode != "rgb_array":
            return None
        return self._view.picture()

    def close(self) -> None:
        self._view.environment.close()
