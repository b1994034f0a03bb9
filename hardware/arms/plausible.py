"""Whether a joint reading can be true: in range, and within reach of the one before."""

from collections.abc import Sequence

import numpy as np

_SLACK = 0.03  # rad between two readings beyond what speed explains: noise and jitter of their times
_FORGET = 0.5  # s after which the arm may be anywhere in its range


class Plausible:
    """Keeps the last reading that was believed. Times in seconds, positions in rad, speeds in rad/s."""

    def __init__(self, arm: str, joints: Sequence[str], low: float | np.ndarray, high: float | np.ndarray, max_speed: float) -> None:
        self._arm = arm
        self._joints = joints
        self._low, self._high = np.broadcast_to(low, len(joints)), np.broadcast_to(high, len(joints))
        self._max_speed = max_speed
        self._last: tuple[float, np.ndarray] | None = None

    def problem(self, time: float, pos: np.ndarray, vel: np.ndarray) -> str:
        """What cannot be true of the reading; empty, and the reading kept, when nothing speaks against it."""
        finite = np.isfinite(pos) & np.isfinite(vel)
        if not finite.all():
            return f"{self._joints[int(np.argmin(finite))]} is not finite"
        outside = (pos < self._low) | (pos > self._high)
        if outside.any():
            joint = int(np.argmax(outside))
            return f"{self._joints[joint]} says {pos[joint]:.3g} rad, out of its range {self._low[joint]:.2f} to {self._high[joint]:.2f}"
        fast = np.abs(vel) > self._max_speed
        if fast.any():
            joint = int(np.argmax(fast))
            return f"{self._joints[joint]} says {vel[joint]:.3g} rad/s; it cannot exceed {self._max_speed:.2f}"
        if self._last is not None and time - self._last[0] < _FORGET:
            moved = np.abs(pos - self._last[1])
            joint = int(np.argmax(moved))
            if moved[joint] > self._max_speed * max(time - self._last[0], 0.0) + _SLACK:
                return f"{self._joints[joint]} says it jumped by {moved[joint]:.2f} rad in {time - self._last[0]:.3f} s"
        self._last = time, pos
        return ""
