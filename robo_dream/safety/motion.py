"""The next command on the way to a target, such that position, speed and acceleration limits hold now and while braking."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robo_dream.errors import ContractError

Joints = Float[np.ndarray, " joint"]
_ROUNDING = 1e-9  # relative; steps that are at their limit but for rounding are within it


@dataclass(frozen=True)
class MotionLimits:
    """What commands keep to, for each joint and then the gripper's closure. Radians (closure), per second, per second squared; seconds."""

    names: tuple[str, ...]
    low: Joints
    high: Joints
    speed: Joints
    acceleration: Joints
    dt: float  # between two commands

    def __post_init__(self) -> None:
        for name in ("low", "high", "speed", "acceleration"):
            value = np.asarray(getattr(self, name), np.float64)
            object.__setattr__(self, name, value)
            if value.shape != (len(self.names),) or np.isnan(value).any():
                raise ContractError(f"motion limit {name} is {value}; give one number for each of {self.names}")
        if not (self.low < self.high).all() or not (self.speed > 0).all() or not (self.acceleration > 0).all() or not self.dt > 0:
            raise ContractError(
                f"motion limits need low < high and positive speed, acceleration and dt; got low {self.low}, high {self.high}, "
                f"speed {self.speed}, acceleration {self.acceleration}, dt {self.dt}"
            )


@dataclass(frozen=True)
class Motion:
    """The command on the wire, and how fast it moves: this command minus the one before, by dt."""

    command: Joints
    velocity: Joints

    @property
    def is_at_rest(self) -> bool:
        return not self.velocity.any()


def at_rest(command: Joints) -> Motion:
    command = np.array(command, np.float64)
    return Motion(command, np.zeros_like(command))


def toward(motion: Motion, target: Joints, limits: MotionLimits, is_end: bool = False) -> tuple[Motion, Mapping[str, int]]:
    """One command on, as near to `target` as the limits allow, and what held it back: "position", "speed" or "acceleration", each with
    the joint that it held back most.

    From the new command the arm can always brake within its acceleration before its position limits; where `motion` is already beyond
    one, it may only go back. `is_end` says that the target stands still: the arm then comes to rest there without passing it (but for a
    joint that is already too fast). A target within the limits is passed on to the bit.
    """
    dt, step_v = limits.dt, limits.acceleration * limits.dt
    inside = np.clip(target, limits.low, limits.high)
    desired = (inside - motion.command) / dt
    reachable = limits.speed * (1 + _ROUNDING)
    up, down = motion.velocity + step_v * (1 + _ROUNDING), motion.velocity - step_v * (1 + _ROUNDING)
    room_up, room_down = limits.high - motion.command, motion.command - limits.low
    if is_end:  # also stop for the target, where that is ahead
        gap = inside - motion.command
        room_up = np.where(gap >= 0, np.minimum(room_up, gap), room_up)
        room_down = np.where(gap <= 0, np.minimum(room_down, -gap), room_down)
    most = np.minimum(_fastest(room_up, step_v, dt), reachable)
    least = -np.minimum(_fastest(room_down, step_v, dt), reachable)
    velocity = np.clip(desired, least, most)
    velocity = np.clip(velocity, down, up)  # last: a joint that is too fast brakes as fast as it may
    exact = velocity == desired
    command = np.where(exact, inside, motion.command + velocity * dt)
    beyond = {
        "position": np.abs(target - inside),
        "speed": np.maximum(np.abs(desired) - reachable, 0.0),
        "acceleration": np.zeros_like(desired) if is_end else np.maximum(desired - up, 0.0) + np.maximum(down - desired, 0.0),
    }
    return Motion(command, velocity), {kind: int(np.argmax(by)) for kind, by in beyond.items() if by.any()}


def braked(motion: Motion, limits: MotionLimits) -> Motion:
    """One command on while braking as hard as allowed."""
    step_v = limits.acceleration * limits.dt
    velocity = np.sign(motion.velocity) * np.maximum(np.abs(motion.velocity) - step_v, 0.0)
    return Motion(motion.command + velocity * limits.dt, velocity)


def rest_of(motion: Motion, limits: MotionLimits) -> Joints:
    """Where braking from `motion` ends. Braking on the way there does not change it."""
    return motion.command + np.sign(motion.velocity) * _braking_way(np.abs(motion.velocity), limits.acceleration * limits.dt, limits.dt)


def braking_seconds(limits: MotionLimits) -> float:
    """The longest that braking takes, from full speed of the slowest joint to stop, in whole commands."""
    return float(np.ceil(limits.speed / (limits.acceleration * limits.dt)).max() * limits.dt)


def braking_travel(limits: MotionLimits) -> Joints:
    """How far each joint goes on while it brakes from full speed (rad; closure)."""
    return _braking_way(limits.speed, limits.acceleration * limits.dt, limits.dt)


def _braking_way(speed: Joints, step_v: Joints, dt: float) -> Joints:
    """Way of the commands after this one, when each is slower than the one before by `step_v`."""
    num = np.floor(speed / step_v)
    return dt * (num * speed - step_v * num * (num + 1) / 2)


def _fastest(room: Joints, step_v: Joints, dt: float) -> Joints:
    """The largest speed of the next command from which braking ends within `room`; 0 where there is none.

    With n = floor(u / step), going dt u and then braking takes dt ((n + 1) u - step n (n + 1) / 2), which grows with u.
    """
    room = np.maximum(room, 0.0)
    num = np.floor((np.sqrt(1 + 8 * np.where(np.isinf(room), 0, room) / (step_v * dt)) - 1) / 2)
    speed = (room / dt + step_v * num * (num + 1) / 2) / (num + 1)
    return np.where(np.isinf(room), np.inf, speed)
