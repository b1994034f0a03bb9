"""What the limits in force promise of a stop: how long it takes at most, and how far a joint goes meanwhile. For commands; an arm lags."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robo_dream.safety.limits import PLAUSIBLE, SafetyLimits
from robo_dream.safety.motion import MotionLimits, braking_seconds, braking_travel

BEYOND = "beyond its plausible range"  # what a line of an override begins with
EMERGENCY = 0.02  # s from key, pipe or signal to the driver's own stop, in 99 of 100 (benchmarks/stops.py)


@dataclass(frozen=True)
class Promise:
    """From full speed: seconds until commands are at rest, and rad that the joint goes which goes furthest."""

    does: str
    seconds: float
    travel: float
    joint: str


def promises(motion: MotionLimits, limits: SafetyLimits, command_dt: float, give: float = 0.0) -> Mapping[str, Promise]:
    """By what happens, worst cases from full speed. `give` (rad) is as the guard has it, `command_dt` (s) of one target to the next."""
    dt, speed = motion.dt, motion.speed[:-1]
    brake, brake_way = braking_seconds(motion), braking_travel(motion)[:-1]
    off = limits.max_tracking_error + give

    def braked(noticed: float) -> tuple[float, np.ndarray]:
        return noticed + brake, speed * noticed + brake_way

    noticed = max(limits.max_command_gap, command_dt) + 2.5 * dt
    silent = (
        noticed + max(brake, finish_seconds(motion, limits.max_first_error)),
        speed * noticed + np.maximum(brake_way, 2 * limits.max_first_error),
    )
    softly, hard = "decelerates, holds", "the driver's own stop, latched"
    cases = {
        "told to stop": (softly, *braked(2 * dt)),
        "no command": (softly, *silent),
        "joint states are old": (softly, *braked(limits.max_state_age + 2 * dt)),
        "emergency stop": (hard, EMERGENCY, speed * (EMERGENCY + dt)),
        "a reading does not change": (hard, float((off / speed).max()), np.full_like(speed, off)),
        "a joint is elsewhere": (hard, float((off / speed).max()) + limits.max_tracking_seconds, off + speed * limits.max_tracking_seconds),
    }
    return {
        cause: Promise(does, float(seconds), float(ways.max()), motion.names[int(np.argmax(ways))])
        for cause, (does, seconds, ways) in cases.items()
    }


def finish_seconds(motion: MotionLimits, room: float) -> float:
    """How long a guard goes on to a last target within `room` (rad): it is not braked before, perhaps passed (by `room` at most), and gone
    back to."""
    speed, acceleration = motion.speed[:-1], motion.acceleration[:-1]
    short = 2 * np.sqrt(room / acceleration)  # from rest to rest, too short for full speed
    way = np.where(room <= speed**2 / acceleration, short, room / speed + speed / acceleration)
    return float((np.minimum(short, speed / acceleration) + way).max() + 2 * motion.dt)


def worst(promised: Mapping[str, Promise]) -> tuple[float, float]:
    """Seconds and rad of the longest and of the farthest of them."""
    return max(one.seconds for one in promised.values()), max(one.travel for one in promised.values())


def promise_lines(motion: MotionLimits, limits: SafetyLimits, command_dt: float, give: float = 0.0) -> tuple[str, ...]:
    """What is said before anything moves: the worst case, then each promise, then every limit that is beyond its plausible range."""
    promised = promises(motion, limits, command_dt, give)
    longest, farthest = (max(promised, key=key) for key in (lambda cause: promised[cause].seconds, lambda cause: promised[cause].travel))
    seconds, travel = worst(promised)
    return (
        f"worst case by these limits: commands at rest within {seconds:.2f} s ({longest}) and {travel:.2f} rad of "
        f"{promised[farthest].joint} ({farthest})",
        *(f"  {cause}: {one.does}, within {one.seconds:.2f} s and {one.travel:.2f} rad" for cause, one in promised.items()),
        *beyond_lines(limits),
    )


def beyond_lines(limits: SafetyLimits) -> tuple[str, ...]:
    """Every limit that is beyond its plausible range because somebody said so; what a record and a page show in red."""
    return tuple(f"{BEYOND}, as limits.beyond says: {PLAUSIBLE[name].said(name, getattr(limits, name))}" for name in limits.beyond)
