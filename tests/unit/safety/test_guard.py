"""Every promise of the guard, in a time that only the test moves."""

from dataclasses import replace

import numpy as np
import pytest
from arms import DT, JOINT_SPEED, Bench, joint_spec, joint_state, new_guard

from robo_dream.errors import ContractError
from robo_dream.safety.collision import Breach, CollisionCheck
from robo_dream.safety.guard import Guard, Request, motion_limits
from robo_dream.safety.limits import SafetyLimits

LIMITS = SafetyLimits()
ROUNDING = 1e-6


def moving(bench: Bench, num_targets: int = 3) -> Bench:
    """Underway in both joints, a target each 0.1 s."""
    bench.at = np.array([0.0, 0.5, 0.0])
    for i in range(1, num_targets + 1):
        bench.want(0.08 * i, 0.5 - 0.05 * i, 0.0)
        bench.tick(5)
    return bench


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_target_that_is_not_finite_is_refused_and_said_so(bad: float) -> None:
    bench = Bench()
    with pytest.raises(ContractError, match="not finite"):
        bench.want(0.0, bad, 0.0)
    bench.tick()
    assert bench.kinds == ["refused"] and bench.commands == []


def test_target_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ContractError, match="shape"):
        Bench().want(0.0, 0.0)


def test_target_that_is_within_the_limits_is_reached_to_the_bit() -> None:
    bench = moving(Bench(), 1)
    bench.tick(15)  # what braking took: an end at speed v is passed by v^2 / 2a
    np.testing.assert_array_equal(bench.commands[-1], [0.08, 0.45, 0.0])
    assert not bench.rulings[-1].reasons


def test_commands_stay_a_margin_inside_the_joint_limits_and_the_clip_is_told() -> None:
    bench = Bench(at=np.array([1.9, 0.0, 0.0]))
    for i in range(10):
        bench.want(1.9 + 0.05 * i, 0.0, 0.0)
        bench.tick(5)
    commands = np.stack(bench.commands)
    assert commands[:, 0].max() == pytest.approx(2.0 - LIMITS.position_margin, abs=1e-12)
    assert "clip" in bench.kinds and "a is kept to its position limit" in bench.reasons


def test_speed_and_acceleration_on_the_wire_are_limited() -> None:
    bench = Bench()
    for i in range(6):  # as fast as possible, there and back
        bench.want(0.14 * (-1) ** i, 0.0, 1.0 * (i % 2))
        bench.tick(5)
    path = np.vstack([np.zeros((2, 3)), *bench.commands])
    speeds = np.diff(path, axis=0) / DT
    assert np.abs(speeds[:, :2]).max() <= 1.25 + ROUNDING
    assert np.abs(np.diff(speeds[:, :2], axis=0)).max() <= LIMITS.joint_acceleration * DT + ROUNDING
    assert np.abs(speeds[:, 2]).max() <= LIMITS.gripper_speed + ROUNDING
    assert "clip" in bench.kinds


def test_without_a_command_the_arm_holds_within_100_ms_and_braking() -> None:
    bench = moving(Bench())
    given = bench.now - 5 * DT
    bench.tick(20)
    speeds = np.abs(bench.speeds()).max(1)
    times = np.arange(len(speeds)) * DT + 10.0 + DT
    assert (speeds[times > given + 0.1 + 0.1] == 0).all()
    assert bench.kinds.count("hold") == 1 and "no command for" in bench.reasons


def test_far_target_is_given_up_when_commands_cease() -> None:
    bench = Bench()
    bench.want(0.17, 0.0, 0.0)  # the farthest that a first one may be; then nothing more, though it has not been reached
    bench.tick(2)
    bench.wanted = replace(bench.wanted, target=np.array([1.5, 0.0, 0.0]), time=bench.now)  # type: ignore[arg-type]
    bench.tick(5)
    reached = bench.at[0]
    bench.tick(15)
    assert bench.at[0] < reached + 0.2 and (bench.speeds()[-5:] == 0).all()


def test_commands_resume_after_a_gap() -> None:
    bench = moving(Bench())
    bench.tick(20)
    bench.want(*(bench.at + [0.05, 0.0, 0.0]))
    target = bench.at + [0.05, 0.0, 0.0]
    bench.tick(10)
    np.testing.assert_allclose(bench.at, target)


def test_old_joint_state_stops_the_arm_within_the_acceleration_limit() -> None:
    bench = moving(Bench())
    bench.state_age = 0.06
    ruling = bench.tick(8)
    assert ruling.is_at_rest and "stop" in bench.kinds and "arm state is 0.060 s old; allowed 0.05 s" in bench.reasons
    assert np.abs(np.diff(bench.speeds(), axis=0)[:, :2]).max() <= LIMITS.joint_acceleration * DT + ROUNDING


def test_joint_state_of_50_ms_is_not_yet_old() -> None:
    bench = moving(Bench())
    bench.state_age = 0.0499
    bench.tick(3)
    assert "stop" not in bench.kinds


def test_after_such_a_stop_only_a_new_target_moves_the_arm() -> None:
    bench = moving(Bench())
    bench.state_age = 0.06
    bench.tick(8)
    rest = bench.at
    bench.state_age = 0.0
    bench.tick(5)
    np.testing.assert_array_equal(bench.at, rest)
    bench.want(*(rest + [0.02, 0.0, 0.0]))
    bench.tick(10)
    np.testing.assert_allclose(bench.at, rest + [0.02, 0.0, 0.0])


def test_arm_that_never_answered_gets_no_command() -> None:
    bench = Bench()
    bench.want(0.01, 0.0, 0.0)
    command, ruling = bench.guard.tick(bench.now, None, bench.wanted)
    assert ruling.act == "NOTHING" and "did not answer" in ruling.reasons[0] and np.isnan(command).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_joint_state_that_is_not_finite_stops_the_arm(bad: float) -> None:
    bench = moving(Bench())
    bench.tick(8, joint_state(np.array([0.1, bad, 0.0]), 0.0))
    assert "stop" in bench.kinds and "finite" in bench.reasons and np.isfinite(np.stack(bench.commands)).all()


def test_arm_that_does_not_follow_is_stopped_for_good_before_it_is_told_to_go_further_than_is_allowed() -> None:
    bench = Bench(follows=False)
    for i in range(30):
        bench.want(min(0.1 * (i + 1), 1.9), 0.0, 0.0)
        bench.tick(5)
        if bench.guard.is_latched:
            break
    assert bench.kinds.count("latched stop") == 1 and "a was told to go 0.19" in bench.reasons
    assert np.abs(bench.commands[-1])[0] <= LIMITS.max_tracking_error
    assert [ruling.act for ruling in bench.rulings].count("STOP") == 1  # the driver's own: where it is, not where it was told to be


def test_lag_alone_is_no_loss_of_tracking() -> None:
    bench, late = Bench(follows=False), [np.zeros(3)] * 7  # 0.14 s behind, up to 0.17 rad
    for i in range(12):
        bench.want(0.12 * (i + 1), 0.0, 0.0)
        for _ in range(5):
            bench.tick()
            late.append(bench.commands[-1])
            bench.at = late[-8]
    assert "latched stop" not in bench.kinds and bench.commands[-1][0] > 1.0


def test_latched_stop_ends_by_reset_only_and_starts_from_where_the_arm_is() -> None:
    bench = moving(Bench())
    bench.guard.emergency_stop("the red key")
    assert bench.tick().act == "STOP" and bench.guard.is_latched
    sent = len(bench.commands)
    bench.want(*(bench.at + [0.01, 0.0, 0.0]))
    assert bench.tick(10).reasons == ("the red key",) and len(bench.commands) == sent
    bench.at = np.array([1.0, 1.0, 0.5])
    bench.guard.reset()
    bench.tick()
    bench.want(1.02, 1.0, 0.5)
    bench.tick(10)
    np.testing.assert_allclose(bench.commands[sent], [1.0, 1.0, 0.5], atol=0.01)
    np.testing.assert_allclose(bench.at, [1.02, 1.0, 0.5])
    assert bench.kinds.count("emergency stop") == 1 and "reset" in bench.kinds


def test_target_given_before_a_stop_is_not_gone_for_after_it() -> None:
    bench = moving(Bench())
    bench.want(*(bench.at + [0.05, 0.0, 0.0]))
    bench.guard.emergency_stop("key")
    bench.tick()
    bench.guard.reset()
    sent = len(bench.commands)
    bench.tick(5)
    assert len(bench.commands) == sent


def test_first_target_must_be_where_the_arm_is() -> None:
    bench = Bench(at=np.array([0.5, 0.0, 0.0]))
    bench.want(0.0, 0.0, 0.0)
    ruling = bench.tick()
    assert bench.commands == [] and "from the present pose; allowed 0.05 rad" in bench.reasons and ruling.act == "NOTHING"
    bench.tick()
    bench.want(0.52, 0.0, 0.0)
    bench.tick(10)
    np.testing.assert_allclose(bench.at, [0.52, 0.0, 0.0])


def test_first_command_begins_at_the_present_pose() -> None:
    bench = Bench(at=np.array([0.5, 0.3, 0.2]))
    bench.want(0.55, 0.3, 0.2)
    bench.tick()
    assert np.abs(bench.commands[0] - [0.5, 0.3, 0.2]).max() <= LIMITS.joint_acceleration * DT**2 + ROUNDING


def test_stop_that_is_asked_for_decelerates_and_holds() -> None:
    bench = moving(Bench())
    bench.guard.stop("Ctrl-C")
    bench.want(*(bench.at + [0.05, 0.0, 0.0]))  # given in the same moment: not gone for
    bench.tick(8)
    speeds = np.abs(bench.speeds()).max(1)
    assert (speeds[-3:] == 0).all() and np.abs(np.diff(bench.speeds(), axis=0)[:, :2]).max() <= LIMITS.joint_acceleration * DT + ROUNDING
    assert "Ctrl-C" in bench.reasons


def test_guard_is_a_function_of_what_it_is_told() -> None:
    first, second = moving(Bench()), moving(Bench())
    np.testing.assert_array_equal(first.commands, second.commands)
    assert first.rulings == second.rulings


def test_state_of_another_arm_is_an_error() -> None:
    with pytest.raises(ContractError, match="3 joints"):
        new_guard().tick(0.0, joint_state(np.zeros(4), 0.0), None)


def test_same_clip_is_told_once_a_second() -> None:
    bench = Bench(at=np.array([1.97, 0.0, 0.0]))
    for _ in range(30):
        bench.want(1.99, 0.0, 0.0)
        bench.tick(5)
    assert bench.kinds.count("clip") == 1


def test_arm_that_was_told_nothing_for_long_is_at_rest_and_is_not_dragged_on() -> None:
    bench = moving(Bench())
    last = bench.commands[-1]
    bench.now += 1.0  # an exchange with the arm took so long
    bench.guard.stop("asked")
    bench.tick()
    np.testing.assert_array_equal(bench.commands[-1], last)
    assert bench.rulings[-1].is_at_rest and "no tick for 1.0" in bench.reasons


def test_slack_of_the_collision_check_does_not_add_up() -> None:
    class Wall(CollisionCheck):
        """A wall at 0 that joint a must not pass."""

        def __init__(self) -> None: ...

        def breaches(self, joint_pos: np.ndarray, gripper: float = 0.0) -> tuple[Breach, ...]:
            return (Breach("workspace", ("arm",), float(joint_pos[0])),) if joint_pos[0] > 0 else ()

    bench = Bench(Guard(motion_limits(joint_spec(), JOINT_SPEED, LIMITS), LIMITS, Wall()), at=np.array([-0.01, 0.0, 0.0]))
    for _ in range(60):
        bench.want(*(bench.at + [0.002, 0.0, 0.0]))
        bench.tick(5)
    assert 0 < bench.at[0] <= 5e-4 + ROUNDING


def test_target_that_was_given_up_for_want_of_commands_is_no_longer_where_the_arm_is_told_to_be() -> None:
    bench = moving(Bench())
    bench.want(*(bench.at + [0.5, 0.0, 0.0]), duration=0.2)
    bench.tick(30)
    assert bench.guard.told is not None
    np.testing.assert_allclose(bench.guard.told, bench.at)
    assert bench.at[0] < 0.7 and "no command for" in bench.reasons


@pytest.mark.parametrize("back", [0.03, 0.2, 3600.0])
def test_a_clock_that_goes_back_stops_the_arm_and_moves_it_nowhere_else(back: float) -> None:
    bench = moving(Bench())
    at, ticks = bench.at.copy(), len(bench.commands)
    bench.now -= back + DT  # from the newest tick
    bench.tick(30)
    way = np.diff(np.stack(bench.commands[ticks - 1 :]), axis=0)
    assert (way[:, 0] >= 0).all() and (way[:, 1] <= 0).all(), "on in the direction of its motion, and to rest"
    assert (way[-1] == 0).all() and np.abs(bench.at - at).max() < 0.1
    assert f"the clock went back by {back:.3f} s" in bench.reasons
    bench.want(*(bench.at + [0.02, 0.0, 0.0]))  # of the new time
    bench.tick(10)
    np.testing.assert_allclose(bench.commands[-1][0], at[0] + way[:, 0].sum() + 0.02, atol=1e-9)


def test_a_target_from_the_future_is_not_gone_for() -> None:
    bench = Bench()
    bench.wanted = Request(np.array([0.05, 0.0, 0.0]), bench.now + 60.0, 0.1)
    bench.tick(10)
    assert bench.commands == [] and "refused" in bench.kinds and "another clock" in bench.reasons


@pytest.mark.parametrize("speed", [0.1, 0.3, 1.0, 1.25])
def test_readings_that_do_not_change_while_commands_move_stop_the_arm_within_the_promised_travel(speed: float) -> None:
    bench, step = Bench(at=np.array([-1.5, 0.0, 0.0])), speed * 0.1
    for i in range(1, 6):
        bench.want(-1.5 + min(step, 0.1) * i, 0.0, 0.0)
        bench.tick(5)
    bench.follows = False  # frozen: fresh stamps, the same joints, though the arm goes on
    frozen, last = bench.at.copy(), bench.commands[-1][0]
    for _ in range(60):
        last += step
        bench.want(min(last, 1.9), 0.0, 0.0)
        bench.tick(5)
        if bench.guard.is_latched:
            break
    assert bench.kinds.count("latched stop") == 1 and "its reading does not change" in bench.reasons
    assert np.abs(bench.commands[-1] - frozen)[0] <= LIMITS.max_tracking_error + ROUNDING


def test_frozen_readings_are_noticed_during_a_long_soft_stop_too() -> None:
    limits = SafetyLimits(joint_acceleration=0.4)
    bench = Bench(new_guard(limits), at=np.array([-1.9, 0.0, 0.0]))
    for i in range(1, 40):
        bench.want(-1.9 + 0.1 * i, 0.0, 0.0)
        bench.tick(5)
        if len(bench.commands) > 2 and bench.speeds()[-1][0] > 0.7:
            break
    frozen = bench.at.copy()
    bench.follows = False
    bench.guard.stop("softly")
    bench.tick(100)
    assert bench.guard.is_latched and np.abs(bench.commands[-1] - frozen)[0] <= limits.max_tracking_error + ROUNDING


def test_noise_of_an_encoder_does_not_hide_that_a_joint_is_stuck() -> None:
    bench, rng = Bench(follows=False), np.random.default_rng(0)
    for i in range(30):
        bench.want(0.05 * (i + 1), 0.0, 0.0)
        for _ in range(5):
            bench.at = np.append(rng.uniform(-0.0015, 0.0015, 2), 0.0)
            bench.tick()
        if bench.guard.is_latched:
            break
    assert bench.guard.is_latched and np.abs(bench.commands[-1])[0] <= LIMITS.max_tracking_error + 0.002
