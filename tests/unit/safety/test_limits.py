"""Each safety check says nothing when all is well, and what is wrong when it is not."""

from dataclasses import fields, replace

import numpy as np
import pytest

from robo_dream.embodiment import Frame, Observation
from robo_dream.errors import ConfigError
from robo_dream.safety.limits import (
    PLAUSIBLE,
    SafetyLimits,
    action_reasons,
    belief_reasons,
    perception_reasons,
    repeated_frames,
    stale_reasons,
    state_reasons,
)
from robo_dream.testing.clocks import ManualClock
from robo_dream.testing.point_mass import point_action_spec
from robo_dream.testing.point_world import PointArm, PointCamera

LIMITS = SafetyLimits()


def observation(number: int = 1) -> Observation:
    arm = PointArm(ManualClock(5.0))
    return Observation(5.0, {"front": replace(PointCamera(arm).read(), number=number)}, arm.state())


def test_fresh_observation_gives_no_reason() -> None:
    assert stale_reasons(observation(), 5.04, LIMITS) == () and state_reasons(observation().arm) == ()


@pytest.mark.parametrize(
    ("now", "words"), [(5.1, "arm state is 0.100 s old"), (5.3, "camera 'front' is 0.300 s old"), (4.0, "another clock")]
)
def test_stale_or_foreign_stamps_are_named(now: float, words: str) -> None:
    assert words in " ".join(stale_reasons(observation(), now, LIMITS))


def test_frame_without_a_time_is_not_fresh() -> None:
    seen = observation()
    timeless = replace(seen, frames={"front": Frame(float("nan"), seen.frames["front"].image)})
    assert stale_reasons(timeless, 5.0, LIMITS) == ("frame of camera 'front' has no time",)


def test_arm_state_that_is_not_finite_is_named() -> None:
    state = replace(observation().arm, joint_pos=np.array([0.0, np.nan, 0.0, 0.0]))
    assert "joint_pos" in state_reasons(state)[0]


def test_repeats_are_counted_for_each_camera_until_a_new_exposure() -> None:
    counts = repeated_frames({}, observation(1), observation(1))
    counts = repeated_frames(counts, observation(1), observation(1))
    assert counts == {"front": 2}
    assert repeated_frames(counts, observation(1), observation(2)) == {"front": 0}


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.0])
def test_action_that_must_not_be_sent_is_named(value: float) -> None:
    action = np.zeros(5, np.float32)
    action[1] = value
    assert len(action_reasons(point_action_spec(), action)) == 1 and "action y" in action_reasons(point_action_spec(), action)[0]


def test_action_at_the_limit_may_be_sent() -> None:
    spec = point_action_spec()
    assert action_reasons(spec, spec.high) == () and action_reasons(spec, spec.low) == ()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_state_age", 50.0, r"max_state_age is 50 s; plausible is 0\.005 to 0\.5 s; did you mean 0\.05\?"),
        ("max_command_gap", 100.0, r"max_command_gap is 100 s; .*did you mean 0\.1\?"),
        ("max_tracking_error", float("inf"), r"max_tracking_error is inf rad; plausible is"),
        ("max_tracking_error", 11.5, r"max_tracking_error is 11\.5 rad; .*did you mean 0\.2007\? \(11\.5 degrees\)"),
        ("joint_acceleration", 1e308, r"joint_acceleration is 1e\+308 rad/s\^2"),
        ("joint_acceleration", 0.01, "joint_acceleration"),
        ("max_frame_age", 200.0, r"did you mean 0\.2\?"),
        ("max_tool_error", 30.0, r"max_tool_error is 30 m; .*did you mean 0\.03\?"),
        ("max_tool_error", float("inf"), "null"),
        ("max_repeated_frames", 10**9, "max_repeated_frames"),
        ("false_alarms", 5.0, r"false_alarms is 5 of usual decisions; plausible is 0\.0001 to 0\.2 .*null switches it off"),
        ("max_consecutive_holds", 10**9, "max_consecutive_holds"),
        ("max_late_steps", 10**9, "max_late_steps"),
        ("max_first_error", 3.0, r"did you mean 0\.05236\? \(3 degrees\)"),
        ("position_margin", 1.0, "position_margin"),
        ("gripper_speed", 1e9, "gripper_speed"),
        ("gripper_acceleration", 1e9, "gripper_acceleration"),
        ("rest_tolerance", 1.0, "rest_tolerance"),
        ("speed_factor", 3.0, "speed_factor"),
        ("max_plan_age", float("nan"), "max_plan_age"),
    ],
)
def test_a_limit_that_is_a_thousand_times_off_is_refused_with_what_was_meant(name: str, value: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SafetyLimits(**{name: value})  # type: ignore[arg-type]


def test_every_number_of_the_limits_has_a_plausible_range() -> None:
    assert {field.name for field in fields(SafetyLimits)} - {"clearance", "beyond"} == set(PLAUSIBLE)


@pytest.mark.parametrize("name", sorted(PLAUSIBLE))
def test_beyond_its_range_a_limit_is_taken_only_when_it_is_named(name: str) -> None:
    span = PLAUSIBLE[name]
    beyond = int(2 * span.high) if isinstance(getattr(SafetyLimits(), name), int) else 2 * span.high
    with pytest.raises(ConfigError, match=name if span.is_hard else rf"beyond: \[{name}\]"):
        SafetyLimits(**{name: beyond})  # type: ignore[arg-type]
    if span.is_hard:
        with pytest.raises(ConfigError, match=name):
            SafetyLimits(**{name: beyond}, beyond=(name,))  # type: ignore[arg-type]
        return
    assert getattr(SafetyLimits(**{name: beyond}, beyond=(name,)), name) == beyond  # type: ignore[arg-type]
    for senseless in (-1,) if isinstance(beyond, int) else (float("nan"), -1.0):
        with pytest.raises(ConfigError, match=name):
            SafetyLimits(**{name: senseless}, beyond=(name,))  # type: ignore[arg-type]


def test_an_override_that_does_nothing_or_names_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_state_age is 0\.05 s, which needs no override"):
        SafetyLimits(beyond=("max_state_age",))
    with pytest.raises(ConfigError, match=r"max_stat_age.*did you mean max_state_age"):
        SafetyLimits(beyond=("max_stat_age",))


def test_pictures_are_doubted_where_no_more_usual_ones_look_as_odd_than_false_alarms_are_allowed() -> None:
    limits = SafetyLimits(false_alarms=0.01)
    (reason,) = perception_reasons(0.003, "camera 'front' shows what the model cannot explain", limits)
    assert reason.startswith("camera 'front' shows what the model cannot explain: odder than 99.7 % of what is usual; allowed 99 %")
    assert perception_reasons(0.01, "", limits) and perception_reasons(0.0101, "", limits) == ()
    assert perception_reasons(1e-9, "", SafetyLimits()) == ()  # off


def test_without_a_limit_on_the_tool_error_no_belief_is_doubted() -> None:
    state = observation().arm
    assert belief_reasons(state.tool_pos + 9.0, state, SafetyLimits(max_tool_error=None)) == ()


def test_eyes_that_see_the_tool_elsewhere_than_the_joints_are_doubted() -> None:
    state = observation().arm
    assert belief_reasons(state.tool_pos + [0.02, 0.0, 0.0], state, LIMITS) == ()
    assert "0.050 m from where the joints have it; allowed 0.03 m" in belief_reasons(state.tool_pos + [0.03, 0.04, 0.0], state, LIMITS)[0]
    assert belief_reasons(np.full(3, np.nan), state, LIMITS)
