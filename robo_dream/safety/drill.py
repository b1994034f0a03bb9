"""Before a day's work: stops an arm by each means once, gently, and measures how long that took and how far it went on."""

import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robo_dream.embodiment import Clock
from robo_dream.errors import SafetyStopError
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.promises import Promise

SPEED = 0.15  # rad/s of the one joint that moves
ROOM = 0.1  # rad that it goes to and fro
STILL = 0.002  # rad by which a joint at rest may seem to move between two looks
_LOOK = 0.01  # s between looks
_UNDERWAY = 0.6  # s of motion before a stop
_LONGEST = 5.0  # s that a stop is waited for


@dataclass(frozen=True)
class Drilled:
    """One means: seconds until the joints were at rest, rad that the one that moved went on, and what the limits in force allow."""

    means: str
    seconds: float
    travel: float
    stated_seconds: float
    stated_travel: float
    problem: str = ""  # empty when it stopped as stated

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def drill(
    arm: GuardProcess,
    clock: Clock,
    *,
    joint: int = -1,
    lag: float = 0.3,
    press: Callable[[], None] | None = None,
    rest: float = 0.0,
) -> tuple[Drilled, ...]:
    """Moves one joint (the last one, where nothing is) to and fro at 0.15 rad/s, and stops it: told to, by silence, by an emergency stop
    from this process, by a signal to the guard, and by `press` (a key, where somebody or something presses it).

    What is stated is the promise of the limits in force (from full speed, so it holds all the more), and `lag` seconds by which the arm is
    behind its commands. A latched stop of the drill's own is reset. Raises `SafetyStopError` when the arm is stopped before it begins.
    """
    if arm.reasons:
        raise SafetyStopError(f"the arm is stopped before the drill begins: {'; '.join(arm.reasons)}")
    means: dict[str, tuple[str, Callable[[], None]]] = {
        "told to stop": ("told to stop", lambda: arm.stop("drill")),
        "silence": ("no command", lambda: None),
        "emergency stop": ("emergency stop", lambda: arm.emergency_stop("drill")),
        "signal": ("emergency stop", lambda: os.kill(arm.pid, signal.SIGUSR1)),
    }
    if press is not None:
        means["key"] = ("emergency stop", press)
    found = []
    for name, (cause, stop) in means.items():
        promise = arm.promises[cause]
        found.append(_one(arm, clock, joint, name, stop, promise, lag, must_latch=cause == "emergency stop"))
        _ready_again(arm, clock, rest)
    return tuple(found)


def _one(
    arm: GuardProcess, clock: Clock, joint: int, name: str, stop: Callable[[], None], promise: Promise, lag: float, must_latch: bool
) -> Drilled:
    state = arm.state()
    start = state.joint_pos if state.joint_target is None else state.joint_target
    target, gone, end = np.append(start, state.target_gripper), 0.0, clock.now() + _UNDERWAY
    index = joint if joint >= 0 else len(start) + joint
    towards = -1.0 if start[index] > 0 else 1.0
    while clock.now() < end and gone < ROOM:
        gone += SPEED * arm.command_dt
        target[index] += towards * SPEED * arm.command_dt
        arm.send(target)
        clock.sleep_until(clock.now() + arm.command_dt)
    moment, there = clock.now(), arm.state().joint_pos[index]
    stop()
    seconds, travel = _until_rest(arm, clock, index, moment, there)
    problems = []
    if seconds > promise.seconds + lag:
        problems.append(f"it took {seconds:.2f} s to come to rest")
    if travel > promise.travel + SPEED * lag:
        problems.append(f"it went on by {travel:.3f} rad")
    if must_latch and not arm.reasons:
        problems.append("the guard does not say that it was stopped")
    return Drilled(name, seconds, travel, promise.seconds + lag, promise.travel + SPEED * lag, " and ".join(problems))


def _until_rest(arm: GuardProcess, clock: Clock, index: int, moment: float, there: float) -> tuple[float, float]:
    """Seconds from `moment` until the joints stayed where they are, and rad from `there`."""
    last, last_moved, travel = arm.state().joint_pos, moment, 0.0
    while clock.now() - last_moved < 0.3 and clock.now() - moment < _LONGEST:
        clock.sleep_until(clock.now() + _LOOK)
        now = arm.state()
        travel = max(travel, abs(float(now.joint_pos[index] - there)))
        if np.abs(now.joint_pos - last).max() > STILL:
            last, last_moved = now.joint_pos, clock.now()
    return last_moved - moment, travel


def _ready_again(arm: GuardProcess, clock: Clock, rest: float) -> None:
    end = clock.now() + _LONGEST
    if arm.reasons:
        arm.reset()
    while arm.reasons and clock.now() < end:
        clock.sleep_until(clock.now() + _LOOK)
    clock.sleep_until(clock.now() + rest)
