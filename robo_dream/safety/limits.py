"""How much room an arm keeps from itself, the table and the walls of its box. Metres."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState, Observation
from robo_dream.errors import ConfigError

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Clearance:
    """How much room is kept. Metres, world frame."""

    links: float = 0.01  # between links of the arm, and between links and table
    gripper: float = 0.0  # between hand and table: a hand that picks from the table must come close to it
    workspace: tuple[Corner, Corner] | None = None  # low and high corner of the box that every link and finger stays in; None: no box

    def __post_init__(self) -> None:
        for name in ("links", "gripper"):
            if not -0.05 <= getattr(self, name) <= 0.2:
                raise ConfigError(f"clearance.{name} is {getattr(self, name)} m; allowed is -0.05 to 0.2")
        if self.workspace is not None and not np.less(*self.workspace).all():
            raise ConfigError(f"clearance.workspace is {self.workspace}; give the low corner and then the high one, in metres")


_CLOCK_TOLERANCE = 0.01  # s; a stamp this far in the future is rounding, more is another clock


@dataclass(frozen=True)
class Plausible:
    """The range in which a limit protects anybody. `is_hard`: nobody may go beyond it."""

    low: float
    high: float
    unit: str = ""
    is_hard: bool = False

    def said(self, name: str, value: float) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{name} is {value:.6g}{unit} (plausible {self.low:.6g} to {self.high:.6g}{unit})"

    def meant(self, value: float) -> str:
        """What somebody who mistook the unit wrote; empty where that explains nothing."""
        if not math.isfinite(value):
            return ""
        thousandth, turned = value / 1000, math.radians(value)
        if self.unit in ("s", "m") and self.low <= thousandth <= self.high:
            return f"; did you mean {thousandth:.4g}?"
        if self.unit.startswith("rad") and self.low <= turned <= self.high:
            return f"; did you mean {turned:.4g}? ({value:.4g} degrees)"
        return ""


PLAUSIBLE = {
    "max_frame_age": Plausible(0.01, 1.0, "s"), "max_frame_spread": Plausible(0.001, 0.5, "s"), "max_state_age": Plausible(0.005, 0.5, "s"),
    "max_repeated_frames": Plausible(1, 30), "max_plan_age": Plausible(0.05, 5.0, "s"), "max_tool_error": Plausible(0.001, 0.2, "m"),
    "false_alarms": Plausible(0.0001, 0.2, "of usual decisions"),
    "max_consecutive_holds": Plausible(1, 100), "max_late_steps": Plausible(0, 100),
    "max_command_gap": Plausible(0.02, 1.0, "s"), "max_first_error": Plausible(0.0, 0.2, "rad"),
    "max_tracking_error": Plausible(0.02, 0.5, "rad"), "max_tracking_seconds": Plausible(0.02, 1.0, "s"),
    "position_margin": Plausible(0.0, 0.2, "rad"), "speed_factor": Plausible(1.0, 2.0, "times the speed of tool moves", is_hard=True),
    "joint_acceleration": Plausible(0.1, 60.0, "rad/s^2"), "gripper_speed": Plausible(0.1, 20.0, "closures/s"),
    "gripper_acceleration": Plausible(1.0, 1000.0, "closures/s^2"), "rest_tolerance": Plausible(0.0, 0.2, "rad"),
}  # fmt: skip
"""Of every number of `SafetyLimits`. Source of each: below it the check fires on a healthy arm, above it an arm has gone a hand's breadth
further than anybody expects (at 1 rad/s a joint moves the tool of these arms by some 0.5 m/s), or the check never fires."""


@dataclass(frozen=True)
class SafetyLimits:
    """Every number of the safety checks: those of the loop, which looks and plans, and those of the guard, which ticks at the arm's rate.

    Seconds, metres, radians and counts, each within its range of `PLAUSIBLE`; beyond it only where `beyond` names it, which the record
    keeps and the page shows. What they promise of a stop is computed in `promises.py`. The guard is `robo_dream/safety/guard.py`.
    """

    max_frame_age: float = 0.2  # s; two frames of a 10 Hz camera
    max_frame_spread: float = 0.05  # s between the exposures of one observation; more is no pair
    max_state_age: float = 0.05  # s; half a control step at 10 Hz (MoveIt Servo stops at 0.1 s)
    max_repeated_frames: int = 3  # control steps in a row that show the same exposure; then the camera is frozen
    max_plan_age: float = 0.5  # s from observation to first action; older plans are not started
    max_tool_error: float | None = 0.03  # m; the released model is never beyond 0.023 in the scene it knows (trust.py); None: any
    false_alarms: float | None = None  # share of usual decisions that may count as odd to look at; None: how pictures look is not checked
    max_consecutive_holds: int = 5  # decisions in a row without a plan to trust
    max_late_steps: int = 5  # control steps that the last plan is followed on when the next one is late; then the arm stops

    max_command_gap: float = 0.1  # s without a command, then a controlled stop
    max_first_error: float = 0.05  # rad from the present pose to where the first command begins
    max_tracking_error: float = 0.2  # rad from everywhere the joint was told to be in the last `max_tracking_seconds`
    max_tracking_seconds: float = 0.15
    position_margin: float = 0.02  # rad kept from the arm's own joint limits
    speed_factor: float = 1.25  # of the speed that tool moves keep to: what is left lets an arm catch up
    joint_acceleration: float = 15.0  # rad/s^2, in starting, turning and braking; scripted play asks for 13
    gripper_speed: float = 5.0  # closures per second
    gripper_acceleration: float = 100.0  # closures per second squared
    rest_tolerance: float = 0.05  # rad from a declared rest pose within which torque may go off
    clearance: Clearance = field(default_factory=Clearance)  # of links and hand, and the box that all of them stay in
    beyond: tuple[str, ...] = ()  # the limits that are meant to be beyond their plausible range

    def __post_init__(self) -> None:
        for name in self.beyond:
            if name not in PLAUSIBLE:
                near = difflib.get_close_matches(name, PLAUSIBLE, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(PLAUSIBLE)}"
                raise ConfigError(f"limits.beyond names {name!r}, which is no limit{hint}")
        for name, span in PLAUSIBLE.items():
            value = getattr(self, name)
            if value is None:
                continue
            unit = f" {span.unit}" if span.unit else ""
            if span.low <= value <= span.high:  # NaN is not
                if name in self.beyond:
                    raise ConfigError(f"limits.{name} is {value:.6g}{unit}, which needs no override; take it out of limits.beyond")
            elif name not in self.beyond or span.is_hard:
                override = "" if span.is_hard else f". To have it all the same, add limits.beyond: [{name}]"
                switch = "; null switches it off" if name in ("max_tool_error", "false_alarms") else ""
                raise ConfigError(
                    f"limits.{name} is {value:.6g}{unit}; plausible is {span.low:.6g} to {span.high:.6g}{unit}{span.meant(value)}"
                    f"{switch}{override}"
                )
            elif not 0 <= value < math.inf or (value == 0 and span.low > 0):
                raise ConfigError(f"limits.{name} is {value:.6g}{unit}; beyond its plausible range, any positive number is taken")


def stale_reasons(observation: Observation, now: float, limits: SafetyLimits) -> tuple[str, ...]:
    """Why `observation` is too old (or not of this clock) to act on at `now`; empty when it is fresh."""
    return stale_frame_reasons(observation, now, limits) + stale_state_reasons(observation.arm, now, limits)


def stale_frame_reasons(observation: Observation, now: float, limits: SafetyLimits) -> tuple[str, ...]:
    """Which pictures are too old to plan from."""
    reasons = [
        _age_reason(f"frame of camera {name!r}", now - frame.time, limits.max_frame_age) for name, frame in observation.frames.items()
    ]
    return tuple(reason for reason in reasons if reason)


def stale_state_reasons(state: ArmState, now: float, limits: SafetyLimits) -> tuple[str, ...]:
    """Why the arm's own word is too old to move on."""
    reason = _age_reason("arm state", now - state.time, limits.max_state_age)
    return (reason,) if reason else ()


def state_reasons(state: ArmState) -> tuple[str, ...]:
    """Why the arm's own word cannot be trusted; empty when every number of it is finite."""
    values = {
        "joint_pos": state.joint_pos, "joint_vel": state.joint_vel, "tool_pos": state.tool_pos, "tool_quat": state.tool_quat,
        "tool_yaw": state.tool_yaw, "gripper": state.gripper,
    }  # fmt: skip
    return tuple(f"arm state {name} is {value}; expected finite numbers" for name, value in values.items() if not np.isfinite(value).all())


def repeated_frames(counts: Mapping[str, int], before: Observation, after: Observation) -> dict[str, int]:
    """For each camera, how many control steps in a row have shown the same exposure, given the `counts` at `before`."""
    return {
        name: counts.get(name, 0) + 1 if name in before.frames and before.frames[name].number == frame.number else 0
        for name, frame in after.frames.items()
    }


def frozen_reasons(counts: Mapping[str, int], limits: SafetyLimits) -> tuple[str, ...]:
    """Which cameras have shown the same exposure for too long."""
    return tuple(
        f"camera {name!r} has shown the same exposure for {count} control steps; allowed {limits.max_repeated_frames}"
        for name, count in counts.items()
        if count > limits.max_repeated_frames
    )


def unpaired_reasons(observation: Observation, limits: SafetyLimits) -> tuple[str, ...]:
    """Why the pictures of one observation do not belong together."""
    times = {name: frame.time for name, frame in observation.frames.items()}
    if len(times) < 2:
        return ()
    first, last = min(times, key=times.__getitem__), max(times, key=times.__getitem__)
    spread = times[last] - times[first]
    if spread <= limits.max_frame_spread:
        return ()
    return (f"cameras {first!r} and {last!r} were exposed {spread:.3f} s apart; allowed {limits.max_frame_spread} s",)


def rest_reasons(state: ArmState, rest: Float[np.ndarray, " joint"] | None, tolerance: float) -> tuple[str, ...]:
    """Why torque must stay on: no rest pose was declared, or the arm is not in it (radians)."""
    if rest is None:
        return ("no rest pose is declared for this arm, so its torque stays on",)
    off = np.abs(state.joint_pos - np.asarray(rest, float))
    if (off <= tolerance).all():  # NaN is not
        return ()
    joint = int(np.nanargmax(off)) if np.isfinite(off).any() else 0
    return (f"joint {joint + 1} is {off[joint]:.3f} rad from the rest pose; allowed {tolerance} rad: torque stays on",)


def action_reasons(spec: ActionSpec, action: np.ndarray) -> tuple[str, ...]:
    """Why `action` must not be sent; empty when it has the right shape, is finite and lies within the limits."""
    action = np.asarray(action)
    if action.shape != (spec.size,):
        return (f"action has shape {action.shape}; expected ({spec.size},) for {spec.names}",)
    tolerance = 1e-4 * (spec.high - spec.low)  # float32 round trips
    return tuple(
        f"action {name} is {action[i]:.4g} {spec.units[i]}; allowed {spec.low[i]:.4g} to {spec.high[i]:.4g}"
        for i, name in enumerate(spec.names)
        if not spec.low[i] - tolerance[i] <= action[i] <= spec.high[i] + tolerance[i]  # NaN fails both
    )


def plan_age_reasons(age: float, limits: SafetyLimits) -> tuple[str, ...]:
    """Why a plan made from an observation `age` seconds ago must not be started."""
    if age <= limits.max_plan_age:
        return ()
    return (f"the plan is made from an observation {age:.3f} s old; allowed {limits.max_plan_age} s. Shorten the search or its deadline.",)


def belief_reasons(believed: Float[np.ndarray, "3"], state: ArmState, limits: SafetyLimits) -> tuple[str, ...]:
    """Why what the model believes to see must not be acted on: it sees the tool elsewhere than the joints have it.

    The one thing that is known for sure of every picture is where the arm is. CameraSetup that are wrong about it (another light, a camera
    that was knocked) are wrong about the object too. Of beliefs in which the object is more than 2 cm off, a limit of 1 cm tells 82 % and
    one of 3 cm 20 %, among them 41 % of those under a dim lamp (benchmarks/trust.py).
    """
    error = float(np.linalg.norm(np.asarray(believed, float) - state.tool_pos))
    if error <= (math.inf if limits.max_tool_error is None else limits.max_tool_error):  # NaN is not
        return ()
    return (
        f"the model sees the tool {error:.3f} m from where the joints have it; allowed {limits.max_tool_error} m. "
        "Compare light and cameras with those it was trained on",
    )


def perception_reasons(usual: float, cause: str, limits: SafetyLimits) -> tuple[str, ...]:
    """Why pictures must not be acted on of which the model cannot explain something: `cause`, odder than all but a share `usual` of usual
    moments. See `robo_dream/models/perception_check.py`."""
    if limits.false_alarms is None or usual > limits.false_alarms:
        return ()
    return (
        f"{cause}: odder than {100 * (1 - usual):.4g} % of what is usual; allowed {100 * (1 - limits.false_alarms):.4g} %. "
        "Compare light, cameras and objects with those it was calibrated on",
    )


def _age_reason(thing: str, age: float, limit: float) -> str:
    if age > limit:
        return f"{thing} is {age:.3f} s old; allowed {limit} s"
    if age < -_CLOCK_TOLERANCE:
        return f"{thing} is {-age:.3f} s in the future; it is stamped by another clock"
    if math.isnan(age):
        return f"{thing} has no time"
    return ""
