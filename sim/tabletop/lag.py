"""Joints that follow late and with play, as geared servos on a bus do: between what is commanded and what a servo is told."""

import numpy as np
from jaxtyping import Float


class Lag:
    """Passes targets on, one every `dt` seconds, `delay` seconds late; joints, not the gripper, then turn back only after `backlash` rad.

    `state` is all that it remembers, of a size that depends on `longest_delay` alone.
    """

    def __init__(self, num_targets: int, dt: float, longest_delay: float) -> None:
        self._dt = dt
        self._targets = np.zeros((int(np.ceil(longest_delay / dt - 1e-9)) + 1, num_targets))  # commanded, newest first
        self._turned = np.zeros(num_targets)  # where the play has let each joint get to
        self.delay, self.backlash = 0.0, 0.0

    @property
    def commanded(self) -> Float[np.ndarray, " target"]:
        return self._targets[0].copy()

    @property
    def state(self) -> Float[np.ndarray, " lag"]:
        return np.concatenate([self._targets.reshape(-1), self._turned])

    @state.setter
    def state(self, state: Float[np.ndarray, " lag"]) -> None:
        self._targets[:] = state[: self._targets.size].reshape(self._targets.shape)
        self._turned[:] = state[self._targets.size :]

    def settle(self, target: Float[np.ndarray, " target"]) -> None:
        """As if `target` had been commanded for ever."""
        self._targets[:], self._turned[:] = target, target

    def passed_on(self, target: Float[np.ndarray, " target"]) -> Float[np.ndarray, " target"]:
        """What the servos are told now that `target` is commanded."""
        self._targets[1:] = self._targets[:-1].copy()
        self._targets[0] = target
        ages = self.delay / self._dt
        late = min(int(ages), len(self._targets) - 1)
        later = min(late + 1, len(self._targets) - 1)
        arrived = self._targets[late] + (ages - late) * (self._targets[later] - self._targets[late])
        play = np.full(len(target), self.backlash / 2)
        play[-1] = 0.0
        self._turned = np.clip(self._turned, arrived - play, arrived + play)
        return self._turned.copy()
