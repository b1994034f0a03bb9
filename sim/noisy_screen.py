"""A noisy television: a table with a block that can be pushed, and a screen that shows something new at random while one stands before it.

The test of what curiosity is about (Burda et al. 2018, arXiv 1808.04355): nobody can predict the screen, and there is
nothing to learn of it.
"""

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ContractError

SCREEN = 4  # pixels of its side, black or blue
PICTURE = 32  # pixels
REACH = 0.12  # from tool to block where they touch; the table is 1 by 1
PAD = 0.7  # both of the tool's numbers above this: it stands before the screen
_CAMERA = "above"


class NoisyScreen:
    """The tool (red) moves at most 0.1 a step in x and y, pushes the block (green), and at the pad switches the screen (blue)."""

    def __init__(self) -> None:
        self.action_spec = ActionSpec("command", ("x", "y"), ("1", "1"), np.full(2, -0.1), np.full(2, 0.1), 0.1)
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Tool and block at random, away from the pad; `rng` decides this and all pictures of the screen."""
        self._rng = rng
        self.tool, self.block = rng.uniform(0.1, 0.6, 2), rng.uniform(0.2, 0.6, 2)
        self.screen = np.zeros((SCREEN, SCREEN))

    @property
    def at_screen(self) -> bool:
        return bool((self.tool > PAD).all())

    @property
    def state(self) -> Float[np.ndarray, " state"]:
        """What a picture shows: tool, block, and the pixels of the screen."""
        return np.concatenate([self.tool, self.block, self.screen.ravel()])

    def play(self, action: Float[np.ndarray, " action"]) -> None:
        """One control step. Raises `ContractError` for an action that is not finite or of another size."""
        self.tool = np.clip(self.tool + self.action_spec.check(action), 0, 1)
        apart = self.block - self.tool
        distance = float(np.linalg.norm(apart))
        if distance < REACH:
            away = apart / distance if distance > 1e-6 else np.array([1.0, 0.0])
            self.block = np.clip(self.tool + REACH * away, 0, 1)
        if self.at_screen:
            self.screen = self._rng.integers(0, 2, (SCREEN, SCREEN)).astype(float)

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        if camera != _CAMERA:
            raise ContractError(f"no camera {camera!r} in this world; it has {_CAMERA!r}")
        picture = np.full((PICTURE, PICTURE, 3), 40, np.uint8)
        side = PICTURE // 8
        picture[-2 * side :, -2 * side :, 2] = 40 + 200 * np.kron(self.screen, np.ones((2 * side // SCREEN,) * 2))
        for place, channel in ((self.block, 1), (self.tool, 0)):
            column, row = np.round(place * (PICTURE - 3)).astype(int)
            picture[row : row + 3, column : column + 3] = 0
            picture[row : row + 3, column : column + 3, channel] = 255
        return picture
