"""Each safety check says nothing when all is well, and what is wrong when it is not."""

from dataclasses import replace

import numpy as np
import pytest

from robo_dream.embodiment import Frame, Observation
from robo_dream.errors import ConfigError
from robo_dream.safety.limits import SafetyLimits, action_reasons, belief_reasons, repeated_frames, stale_reasons, state_reasons
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


def test_limit_that_is_not_a_limit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="max_frame_age"):
        SafetyLimits(max_frame_age=float("inf"))


def test_eyes_that_see_the_tool_elsewhere_than_the_joints_are_doubted() -> None:
    state = observation().arm
    assert belief_reasons(state.tool_pos + [0.02, 0.0, 0.0], state, LIMITS) == ()
    assert "0.050 m from where the joints have it; allowed 0.03 m" in belief_reasons(state.tool_pos + [0.03, 0.04, 0.0], state, LIMITS)[0]
    assert belief_reasons(np.full(3, np.nan), state, LIMITS)
