"""Gymnasium's CarRacing-v3: a car seen from above on a track that is drawn anew for every game; each piece of it that is driven on counts.

As in Ha and Schmidhuber, "World Models", arXiv 1803.10122: 1,000 points for the whole track less 0.1 a tick, in 1,000 ticks, 50 a second;
to leave the field costs 100 and ends the game. Steering and pedals are a choice of nine; the source's are three numbers.
"""

import os
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

_CAMERA = "above"
_TICK = 1 / 50  # s
_STEER, _GAS, _BRAKE = 0.6, 0.5, 0.5  # of what the game allows
_WAYS = {"left": -_STEER, "straight": 0.0, "right": _STEER}
_PEDALS = {"gas": (_GAS, 0.0), "roll": (0.0, 0.0), "brake": (0.0, _BRAKE)}
_CHOICES = {f"{way} {pedal}": (steer, *pressed) for pedal, pressed in _PEDALS.items() for way, steer in _WAYS.items()}
_SEED_LIMIT = 2**31


@configuration
class CarRacingConfig:
    """`ticks_per_step`: a choice lasts so long. `longest`: then the game is broken off, which is no end of its own."""

    kind: Literal["car_racing"] = "car_racing"
    env: Literal["car-racing-v3"] = "car-racing-v3"
    size: Annotated[int, Field(ge=32, le=96, multiple_of=16), Unit("px")] = 64  # pixels of a picture's side
    ticks_per_step: Annotated[int, Field(ge=1, le=50), Unit("ticks")] = 4
    longest: Annotated[int, Field(ge=50, le=100_000), Unit("ticks")] = 1000


class CarRacing:
    """A `Game`. The reward is the game's own, in points. Between control steps nothing is drawn: nobody looks."""

    counts = "points"

    def __init__(self, config: CarRacingConfig) -> None:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws into memory, also where there is a screen
        gymnasium = extra_module("gymnasium", "car-racing")
        extra_module("Box2D", "car-racing")
        self._game: Any = extra_module("gymnasium.envs.box2d.car_racing", "car-racing").CarRacing()
        self._draw, self._is_seen = self._game._render, True
        self._game._render = lambda mode: self._draw(mode) if self._is_seen else None
        self._config, self._last = config, np.zeros((config.size, config.size, 3), np.uint8)
        self.ticks_per_step = config.ticks_per_step
        self.action_spec = ActionSpec.choices(tuple(_CHOICES), config.ticks_per_step * _TICK)
        self.cameras = (CameraSpec(_CAMERA, config.size, config.size),)
        self.about = {"package": f"gymnasium {gymnasium.__version__}", "picture": f"all of it, 96 px made {config.size}"}
        self.reset(np.random.default_rng(0))

    def __enter__(self) -> "CarRacing":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._game.close()

    @property
    def time(self) -> float:
        return self._steps * self.action_spec.control_dt

    @property
    def longest_steps(self) -> int:
        """Control steps after which a game is broken off."""
        return self._config.longest // self.ticks_per_step

    def reset(self, rng: np.random.Generator) -> None:
        self._is_seen = True
        seen, _ = self._game.reset(seed=int(rng.integers(_SEED_LIMIT)))
        self._steps, self._over = 0, False
        self._look(seen)

    def play(self, action: Float[np.ndarray, " action"]) -> Outcome:
        if self._over:
            raise ContractError("the game is over; begin another with reset")
        pressed = np.array(_CHOICES[self.action_spec.names[int(np.argmax(self.action_spec.check(action)))]])
        reward = 0.0
        for tick in range(self.ticks_per_step):
            self._is_seen = tick == self.ticks_per_step - 1
            seen, gained, self._over, _, _ = self._game.step(pressed)
            reward += float(gained)
            if self._over:
                break
        self._steps += 1
        if not self._over:
            self._look(seen)
        return Outcome(reward, self._over)

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        if camera != _CAMERA:
            raise ContractError(f"no camera {camera!r} in this world; it has {_CAMERA!r}")
        return self._last.copy()

    def _look(self, seen: UInt8[np.ndarray, "96 96 3"]) -> None:
        side = self._config.size
        self._last = np.asarray(Image.fromarray(seen).resize((side, side), Image.Resampling.BOX))
