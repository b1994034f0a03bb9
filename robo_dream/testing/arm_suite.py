"""What every `RobotArm` must do. Inherit in a test file, give `make`, and pytest does the rest."""

import threading

import numpy as np
import pytest

from robo_dream.embodiment import PROPRIO_NAMES, Clock, RobotArm, WallClock
from robo_dream.errors import RoboDreamError


class RobotArmSuite:
    """`class TestMyArm(RobotArmSuite)` with `make`, and `make_clock` for an arm that lives in its own time."""

    settle_steps = 10  # control steps given to arrive
    pos_tolerance = 0.005  # m; a small arm's repeatability with its steady-state error
    joint_tolerance = 0.02  # rad
    knows_its_tool = True  # False for a driver of joints, whose states have NaN where the tool would be

    def make(self) -> RobotArm:
        """A new arm, not yet entered, where small moves in every direction are free."""
        raise NotImplementedError

    def make_clock(self, arm: RobotArm) -> Clock:
        return WallClock()

    def test_is_a_robot_arm(self) -> None:
        assert isinstance(self.make(), RobotArm)

    def test_state_is_finite_and_a_rotation(self) -> None:
        with self.make() as arm:
            state = arm.state()
        assert state.proprio.shape == (len(PROPRIO_NAMES),)
        assert np.isfinite(state.joint_pos).all() and state.joint_pos.shape == state.joint_vel.shape
        assert np.isfinite(state.joint_vel).all() and np.isfinite([state.time, state.gripper, state.target_gripper]).all()
        if self.knows_its_tool:
            assert np.isfinite(state.proprio).all()
            assert np.linalg.norm(state.tool_quat) == pytest.approx(1.0, abs=1e-3)
        else:
            assert np.isnan(state.tool_pos).all() and np.isnan(state.target_pos).all()
            assert state.joint_target is not None and np.isfinite(state.joint_target).all()
        assert -0.05 <= state.gripper <= 1.05

    def test_time_of_the_state_moves_with_the_clock(self) -> None:
        with self.make() as arm:
            clock = self.make_clock(arm)
            before = arm.state().time
            self._pass(arm, clock, 1)
            assert arm.state().time >= before + arm.action_spec.control_dt / 2
            assert abs(arm.state().time - clock.now()) < arm.action_spec.control_dt

    def test_send_returns_what_was_applied_within_the_limits(self) -> None:
        with self.make() as arm:
            spec = arm.action_spec
            applied = arm.send(self._small_action(arm))
        assert np.asarray(applied).shape == (spec.size,)
        assert (applied >= spec.low - 1e-6).all() and (applied <= spec.high + 1e-6).all()

    def test_send_beyond_the_limits_is_refused_or_clipped(self) -> None:
        with self.make() as arm:
            spec = arm.action_spec
            try:
                applied = arm.send((spec.high + (spec.high - spec.low)).astype(np.float32))
            except RoboDreamError:
                return
            assert (applied <= spec.high + 1e-6).all()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite_action_is_refused_and_moves_nothing(self, bad: float) -> None:
        with self.make() as arm:
            before = arm.state()
            action = self._small_action(arm)
            action[0] = bad
            with pytest.raises(RoboDreamError):
                arm.send(action)
            after = arm.state()
            np.testing.assert_allclose(after.target_pos, before.target_pos, atol=1e-6)
            if before.joint_target is not None and after.joint_target is not None:
                np.testing.assert_allclose(after.joint_target, before.joint_target, atol=self.joint_tolerance / 10)

    def test_action_of_the_wrong_size_is_refused(self) -> None:
        with self.make() as arm, pytest.raises(RoboDreamError):
            arm.send(np.zeros(arm.action_spec.size + 1, np.float32))

    def test_send_leaves_its_argument_alone(self) -> None:
        with self.make() as arm:
            action = self._small_action(arm)
            kept = action.copy()
            arm.send(action)
            np.testing.assert_array_equal(action, kept)

    def test_arm_arrives_where_it_was_sent(self) -> None:
        with self.make() as arm:
            clock, before = self.make_clock(arm), arm.state()
            applied = arm.send(self._small_action(arm))
            self._pass(arm, clock, self.settle_steps)
            after = arm.state()
            if arm.action_spec.kind == "tool_move":
                np.testing.assert_allclose(after.tool_pos, before.target_pos + applied[:3], atol=self.pos_tolerance)
            elif arm.action_spec.kind == "joint_move":
                assert before.joint_target is not None
                np.testing.assert_allclose(after.joint_pos, before.joint_target + applied[:-1], atol=self.joint_tolerance)
            else:
                np.testing.assert_allclose(after.joint_pos, applied[: len(after.joint_pos)], atol=self.joint_tolerance)

    def test_stop_brings_to_rest_and_may_be_repeated(self) -> None:
        with self.make() as arm:
            clock = self.make_clock(arm)
            arm.send(self._small_action(arm))
            arm.stop()
            arm.stop()
            self._pass(arm, clock, self.settle_steps)
            self._assert_at_rest(arm, clock)

    def test_entering_moves_nothing(self) -> None:
        with self.make() as arm:
            self._assert_at_rest(arm, self.make_clock(arm))

    def test_stop_from_another_thread_ends_the_motion(self) -> None:
        with self.make() as arm:
            clock = self.make_clock(arm)
            arm.send(self._small_action(arm))
            failures: list[Exception] = []

            def stop() -> None:
                try:
                    arm.stop()
                    arm.stop()
                except Exception as error:
                    failures.append(error)

            threads = [threading.Thread(target=stop) for _ in range(2)]
            for thread in threads:
                thread.start()
            arm.state()
            for thread in threads:
                thread.join(5.0)
            assert not failures and not any(thread.is_alive() for thread in threads)
            self._pass(arm, clock, self.settle_steps)
            self._assert_at_rest(arm, clock)

    def test_an_arm_that_was_stopped_goes_on_when_told(self) -> None:
        with self.make() as arm:
            clock = self.make_clock(arm)
            arm.stop()
            before = arm.state()
            arm.send(self._small_action(arm))
            self._pass(arm, clock, self.settle_steps)
            after = arm.state()
            way = np.append(after.joint_pos - before.joint_pos, after.tool_pos - before.tool_pos)  # an arm may know only one of them
            assert np.nanmax(np.abs(way)) > 0.002

    def test_stop_is_harmless_before_entering_and_after_leaving(self) -> None:
        arm = self.make()
        arm.stop()
        with arm:
            pass
        arm.stop()

    def test_an_arm_can_be_entered_again(self) -> None:
        arm = self.make()
        with arm:
            first = arm.state()
        with arm:
            second = arm.state()
        np.testing.assert_allclose(second.joint_pos, first.joint_pos, atol=self.joint_tolerance)
        assert second.time >= first.time

    def _assert_at_rest(self, arm: RobotArm, clock: Clock) -> None:
        before = arm.state()
        self._pass(arm, clock, self.settle_steps)
        after = arm.state()
        np.testing.assert_allclose(after.joint_pos, before.joint_pos, atol=self.joint_tolerance / 2)
        np.testing.assert_allclose(after.tool_pos, before.tool_pos, atol=self.pos_tolerance)

    def _small_action(self, arm: RobotArm) -> np.ndarray:
        """A fifth of the limits for a move of the tool, a hundredth of a radian for joints."""
        spec, state = arm.action_spec, arm.state()
        if spec.kind == "tool_move":
            action = 0.2 * spec.high
            action[3:] = 0
            return action.astype(np.float32)
        if spec.kind == "joint_move":
            return spec.clip(np.append(np.full(spec.size - 1, 0.01), 0.0).astype(np.float32))
        return spec.clip(np.append(state.joint_pos + 0.01, state.gripper).astype(np.float32))

    def _pass(self, arm: RobotArm, clock: Clock, num_steps: int) -> None:
        for _ in range(num_steps):
            clock.sleep_until(clock.now() + arm.action_spec.control_dt)
