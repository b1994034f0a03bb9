"""ViZDoom's TakeCover: monsters throw fireballs along a room, and who stays alive longest wins. Left, stay or right; no arm, no goal.

As in Ha and Schmidhuber, "World Models", arXiv 1803.10122: what counts is the number of ticks survived, at most 2,100, at 35 a second.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import Field

from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ContractError
from robo_dream.schema import Unit, configuration
from sim.adapters.extras import extra_module
from sim.environment import Outcome

_CAMERA = "player"
_TICK = 1 / 35  # s
_ROWS = slice(28, 92)  # of the 120: walls, monsters and fireballs; above and below is nothing but grey ceiling and floor
_BUTTONS = {"left": [True, False], "stay": [False, False], "right": [False, True]}  # of MOVE_LEFT and MOVE_RIGHT, as the scenario has them
_SEED_LIMIT = 2**31


@configuration
class VizdoomConfig:
    """`ticks_per_step`: a choice lasts so long. `longest`: then the game is broken off, which is no end of its own."""

    kind: Literal["vizdoom"] = "vizdoom"
    env: Literal["take-cover"] = "take-cover"
    size: Annotated[int, Field(ge=32, le=256, multiple_of=16), Unit("px")] = 64  # pixels of a picture's side
    ticks_per_step: Annotated[int, Field(ge=1, le=35), Unit("ticks")] = 4
    longest: Annotated[int, Field(ge=35, le=100_000), Unit("ticks")] = 2100


class Vizdoom:
    """A `Game`. The reward is a point for each tick survived. No weapon, no bar and no flashes are drawn."""

    counts = "frames"

    def __init__(self, config: VizdoomConfig) -> None:
        doom = extra_module("vizdoom", "vizdoom")
        self._game, self._notes = doom.DoomGame(), TemporaryDirectory()
        self._game.set_doom_config_path(str(Path(self._notes.name) / "vizdoom.ini"))  # else it leaves one where it is run
        self._game.load_config(str(Path(doom.scenarios_path) / "take_cover.cfg"))
        self._game.set_screen_resolution(doom.ScreenResolution.RES_160X120)
        self._game.set_screen_format(doom.ScreenFormat.RGB24)
        self._game.set_window_visible(False)
        self._game.set_sound_enabled(False)
        self._game.set_render_weapon(False)
        self._game.init()
        self._config, self._last = config, np.zeros((config.size, config.size, 3), np.uint8)
        self.ticks_per_step = config.ticks_per_step
        self.action_spec = ActionSpec.choices(tuple(_BUTTONS), config.ticks_per_step * _TICK)
        self.cameras = (CameraSpec(_CAMERA, config.size, config.size),)
        self.about = {"package": f"vizdoom {doom.__version__}", "picture": f"rows {_ROWS.start} to {_ROWS.stop} of 120, no weapon, no bar"}
        self.reset(np.random.default_rng(0))

    def __enter__(self) -> "Vizdoom":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._game.close()
        self._notes.cleanup()

    @property
    def time(self) -> float:
        return self._steps * self.action_spec.control_dt

    @property
    def num_ticks(self) -> int:
        """Survived since the game began."""
        return int(self._game.get_total_reward())

    @property
    def longest_steps(self) -> int:
        """Control steps after which a game is broken off."""
        return self._config.longest // self.ticks_per_step

    def reset(self, rng: np.random.Generator) -> None:
        self._game.set_seed(int(rng.integers(_SEED_LIMIT)))
        self._game.new_episode()
        self._steps = 0
        self._look()

    def play(self, action: Float[np.ndarray, " action"]) -> Outcome:
        if self._game.is_episode_finished():
            raise ContractError("the game is over; begin another with reset")
        chosen = self.action_spec.names[int(np.argmax(self.action_spec.check(action)))]
        reward = self._game.make_action(_BUTTONS[chosen], self.ticks_per_step)
        self._steps += 1
        if not (over := self._game.is_episode_finished()):  # a player who is dead sees nothing new
            self._look()
        return Outcome(float(reward), over)

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        if camera != _CAMERA:
            raise ContractError(f"no camera {camera!r} in this world; it has {_CAMERA!r}")
        return self._last.copy()

    def _look(self) -> None:
        seen: Any = self._game.get_state()
        side = self._config.size
        self._last = np.asarray(Image.fromarray(seen.screen_buffer[_ROWS]).resize((side, side), Image.Resampling.BOX))
