"""How far each joint was told to go since its reading last changed: a sensor that is frozen, or a joint that is stuck."""

import numpy as np
from jaxtyping import Float

Joints = Float[np.ndarray, " joint"]
_CHANGED = 0.004  # rad by which a reading changes when its joint moves; more than two ticks of an encoder


class FrozenReadings:
    """Keeps, for each joint, its reading when that last changed and what it was told then (rad)."""

    def __init__(self) -> None:
        self._changed: tuple[Joints, Joints] | None = None

    def forget(self) -> None:
        self._changed = None

    def run(self, reading: Joints, command: Joints) -> Joints:
        """How far each joint was told to go on since its reading last changed."""
        if self._changed is None:
            self._changed = reading.copy(), command.copy()
        seen, told = self._changed
        moved = np.abs(reading - seen) > _CHANGED
        self._changed = np.where(moved, reading, seen), np.where(moved, command, told)
        return np.where(moved, 0.0, np.abs(command - told))
