"""What is promised of a stop is computed from the limits in force, and kept by the guard that has them."""

import numpy as np
import pytest
from arms import DT, JOINT_SPEED, Bench, joint_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_dream.safety.guard import Guard, motion_limits
from robo_dream.safety.limits import PLAUSIBLE, SafetyLimits
from robo_dream.safety.promises import promise_lines, promises, worst

COMMAND_DT = 0.1


@st.composite
def limits_within(draw: st.DrawFn) -> SafetyLimits:
    names = ("max_state_age", "max_command_gap", "max_tracking_error", "max_tracking_seconds", "joint_acceleration", "max_first_error")
    return SafetyLimits(**{name: draw(st.floats(PLAUSIBLE[name].low, PLAUSIBLE[name].high)) for name in names})


def at_full_speed(limits: SafetyLimits) -> Bench:
    """In motion at the speed limit of joint a, or as fast as it gets in its range."""
    motion = motion_limits(joint_spec(), JOINT_SPEED, limits)
    bench = Bench(Guard(motion, limits), at=np.array([-1.9, 0.0, 0.0]))
    target = -1.9
    while bench.now < 20.0 and target < 0.5:
        target += min(0.125, limits.max_first_error + 0.1) if not bench.commands else 0.125
        bench.want(min(target, 1.9), 0.0, 0.0)
        bench.tick(5)
        if len(bench.commands) > 1 and bench.speeds()[-1][0] > 1.2:
            break
    return bench


@settings(max_examples=30)
@given(limits_within(), st.sampled_from(["told to stop", "no command", "joint states are old"]))
def test_whatever_the_accepted_limits_the_guard_keeps_what_they_promise(limits: SafetyLimits, cause: str) -> None:
    bench = at_full_speed(limits)
    promised = promises(bench.guard.motion_limits, limits, COMMAND_DT)[cause]
    began, at = bench.now - DT, bench.commands[-1].copy()
    if cause == "told to stop":
        bench.guard.stop("asked")
    elif cause == "joint states are old":
        bench.state_age = limits.max_state_age  # and it grows
    while bench.now < began + promised.seconds:
        bench.tick()
        bench.state_age += DT if cause == "joint states are old" else 0.0
    rest = bench.commands[-1].copy()
    bench.tick(5)
    np.testing.assert_array_equal(bench.commands[-1], rest)
    assert np.abs(rest - at)[0] <= promised.travel + 1e-9


def test_a_commander_that_falls_silent_in_a_turn_leaves_an_arm_that_rests_as_promised() -> None:
    """The last target is near, so the guard goes back to it instead of braking where it is."""
    limits = SafetyLimits(max_first_error=0.2)
    bench = at_full_speed(limits)
    promised = promises(bench.guard.motion_limits, limits, COMMAND_DT)["no command"]
    at = bench.commands[-1].copy()
    bench.want(at[0] - 0.14, 0.0, 0.0)
    began = bench.now - DT
    while bench.now < began + promised.seconds:
        bench.tick()
    rest = bench.commands[-1].copy()
    bench.tick(20)
    np.testing.assert_array_equal(bench.commands[-1], rest)
    assert 0.1 < np.abs(rest - at)[0] <= promised.travel


def test_promises_grow_with_the_limits_and_the_worst_is_the_longest() -> None:
    strict, lax = SafetyLimits(), SafetyLimits(joint_acceleration=0.4, max_state_age=0.5, max_command_gap=1.0)
    before, after = (promises(motion_limits(joint_spec(), JOINT_SPEED, one), one, COMMAND_DT) for one in (strict, lax))
    assert all(after[cause].seconds >= promise.seconds and after[cause].travel >= promise.travel for cause, promise in before.items())
    seconds, travel = worst(after)
    assert seconds == max(promise.seconds for promise in after.values()) and travel == max(promise.travel for promise in after.values())
    assert seconds == pytest.approx(1.0 + 1.25 / 0.4, abs=0.1)


def test_what_a_run_says_first_names_the_worst_case_and_every_override() -> None:
    limits = SafetyLimits(max_state_age=2.0, beyond=("max_state_age",))
    lines = promise_lines(motion_limits(joint_spec(), JOINT_SPEED, limits), limits, COMMAND_DT)
    assert "2.1" in lines[0] and "rad" in lines[0] and "joint states are old" in lines[0]
    assert lines[-1] == "beyond its plausible range, as limits.beyond says: max_state_age is 2 s (plausible 0.005 to 0.5 s)"
