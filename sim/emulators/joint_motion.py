"""How an arm's controller moves its joints from one target to the next: streamed targets, moves, speeds and stopping."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

MAX_SPEED = 3.1416  # rad/s; 180 degrees a second is in the data sheets of both the UR5e and the xArm 6
MAX_ACCELERATION = 40.0  # rad/s^2, the most that UR scripts accept
_HOLD = np.zeros(6)


@dataclass
class JointMotion:
    """The commanded joints (rad, rad/s) at each step of the controller, and what moves them."""

    pos: Float[np.ndarray, "6"]
    vel: Float[np.ndarray, "6"]
    kind: Literal["hold", "servo", "move", "speed", "stop"] = "hold"
    target: Float[np.ndarray, "6"] = field(default_factory=lambda: np.zeros(6))
    speed: float = 0.0
    acceleration: float = 0.0
    lookahead: float = 0.1
    gain: float = 300.0
    too_fast: int | None = None  # joint that was asked to exceed its speed

    def servo(self, target: np.ndarray, lookahead: float, gain: float) -> None:
        self.kind, self.target, self.lookahead, self.gain = "servo", target, lookahead, gain

    def move(self, target: np.ndarray, speed: float, acceleration: float) -> None:
        self.kind, self.target, self.speed, self.acceleration = "move", target, speed, acceleration

    def run(self, velocity: np.ndarray, acceleration: float) -> None:
        self.kind, self.target, self.acceleration = "speed", velocity, acceleration

    def stop(self, deceleration: float) -> None:
        self.kind, self.acceleration = "stop", max(deceleration, 0.1)

    @property
    def done(self) -> bool:
        """At rest, and where it was to go."""
        return self.kind == "hold"

    def step(self, dt: float) -> None:
        """Moves the command on by `dt` seconds."""
        if self.kind == "hold":
            self.vel = _HOLD
            return
        if self.kind == "servo":
            # critically damped; a shorter lookahead and a higher gain follow more closely, as the script manual describes
            rate = 2.0 / self.lookahead * np.sqrt(self.gain / 300.0)
            pull = rate**2 * (self.target - self.pos) - 2 * rate * self.vel
            vel = self.vel + np.clip(pull, -MAX_ACCELERATION, MAX_ACCELERATION) * dt
        else:
            vel = self.vel + np.clip(self._wanted() - self.vel, -self.acceleration * dt, self.acceleration * dt)
        fast = np.abs(vel) > MAX_SPEED
        if fast.any():
            self.too_fast = int(np.argmax(np.abs(vel)))
            vel = np.clip(vel, -MAX_SPEED, MAX_SPEED)
        self.pos, self.vel = self.pos + vel * dt, vel
        if self.kind == "stop" and not np.abs(vel).max() > 1e-9:
            self.kind = "hold"
        elif self.kind == "move" and np.abs(self.target - self.pos).max() < 1e-4 and np.abs(vel).max() < 0.02:
            self.pos, self.vel, self.kind = self.target.copy(), _HOLD, "hold"

    def _wanted(self) -> np.ndarray:
        if self.kind == "speed":
            return self.target
        if self.kind == "stop":
            return _HOLD
        left = self.target - self.pos
        longest = float(np.abs(left).max())
        if longest < 1e-9:
            return _HOLD
        braking = np.sqrt(2 * 0.9 * self.acceleration * longest)  # a little early, for the steps are finite
        return left / longest * min(self.speed, float(braking), longest / 0.004)
