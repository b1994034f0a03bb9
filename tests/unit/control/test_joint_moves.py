"""Moves of joints become joint targets without inverse kinematics, within the arm's own limits."""

import numpy as np
import pytest

from robo_dream.control.cartesian import CartesianArm, JointMoves, most_joint_move
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ContractError
from sim.tabletop.arm import SimArm
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import CONTROL_DT, World

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
HERE = np.array([0.0, -0.2, 0.2, 1.2, 0.0, 0.0])  # in the middle of its ranges, open
ROUNDING = 1e-6


def so101() -> World:
    return World(SceneConfig(arm="so101"))


def moves_in(world: World, most: float = 0.2) -> JointMoves:
    limits = world.scene.arm.limits
    return JointMoves(world.kinematics, limits, ActionSpec.joint_moves(JOINTS, np.full(6, most), CONTROL_DT))


def test_a_move_is_added_to_the_target_and_zeros_hold_still() -> None:
    with so101() as world:
        moves, move = moves_in(world), np.array([0.1, -0.05, 0.02, 0.03, -0.2, 0.15])
        joints, applied = moves.step(HERE, HERE, move)
        np.testing.assert_allclose(joints, HERE + move, atol=ROUNDING)
        np.testing.assert_allclose(applied, move, atol=ROUNDING)
        np.testing.assert_array_equal(moves.step(HERE, HERE, np.zeros(6))[0], HERE)


def test_a_move_that_is_too_large_is_cut_to_the_limits_and_told_so() -> None:
    with so101() as world:
        joints, applied = moves_in(world, most=9.0).step(HERE, HERE, np.full(6, 5.0))
        np.testing.assert_allclose(joints - HERE, most_joint_move(world.scene.arm.limits, CONTROL_DT), atol=ROUNDING)
        np.testing.assert_allclose(applied, joints - HERE, atol=ROUNDING)


def test_a_target_stays_in_the_range_of_its_joint_and_one_beyond_it_is_not_dragged_in() -> None:
    with so101() as world:
        moves, high = moves_in(world), world.kinematics.high
        near = np.append(high - 0.01, 0.9)
        joints, _ = moves.step(near, near, np.full(6, 0.2))
        np.testing.assert_allclose(joints, np.append(high, 1.0), atol=ROUNDING)
        beyond = np.append(high + 0.05, 0.5)
        np.testing.assert_allclose(moves.step(beyond, beyond, np.full(6, 0.2))[0][:-1], high + 0.05, atol=ROUNDING)
        assert (moves.step(beyond, beyond, np.full(6, -0.2))[0][:-1] < high).all(), "and it may come back"


def test_a_target_runs_no_further_ahead_of_a_blocked_joint_than_the_lag_allows() -> None:
    with so101() as world:
        moves, limits, target = moves_in(world), world.scene.arm.limits, HERE
        for _ in range(10):
            target, applied = moves.step(target, HERE, np.full(6, 0.2))
        most = np.append(np.full(5, limits.max_joint_lag), limits.max_grip_lag)
        np.testing.assert_allclose(target - HERE, most, atol=ROUNDING)
        assert not applied.any()
        astray = HERE + [0.5, 0, 0, 0, 0, 0]  # an arm that was pushed away is not followed
        assert moves.step(HERE, astray, np.zeros(6))[0][0] == HERE[0]


@pytest.mark.parametrize("bad", [np.zeros(5), np.full(6, np.nan)])
def test_a_move_that_is_none_is_refused(bad: np.ndarray) -> None:
    with so101() as world, pytest.raises(ContractError, match=r"joint move .* must be 6 finite numbers"):
        moves_in(world).step(HERE, HERE, bad)


def test_moves_of_another_arm_or_kind_are_refused() -> None:
    with so101() as world:
        limits, spec = world.scene.arm.limits, ActionSpec.joint_moves(("a", "b"), np.ones(3), CONTROL_DT)
        with pytest.raises(ContractError, match="joint moves need 5 joints and a gripper"):
            JointMoves(world.kinematics, limits, spec)
        with pytest.raises(ContractError, match="joint moves need 5 joints and a gripper"):
            JointMoves(world.kinematics, limits, world.moves.spec)


def test_an_arm_that_takes_joint_moves_goes_where_they_add_up_to() -> None:
    with so101() as world:
        arm = CartesianArm(SimArm(world), moves_in(world))
        assert arm.action_spec.kind == "joint_move"
        start, move = arm.state().joint_pos, np.array([0.04, 0.02, -0.02, 0.0, 0.1, 0.0])
        for _ in range(8):
            np.testing.assert_allclose(arm.send(move), move, atol=ROUNDING)
            world.advance()
        state = arm.state()
        assert state.joint_target is not None
        np.testing.assert_allclose(state.joint_target - start, 8 * move[:-1], atol=1e-5)
        assert state.proprio_for(arm.action_spec).shape == (len(arm.action_spec.proprio_names),)
        for _ in range(10):
            arm.send(np.zeros(6))
            world.advance()
        sag = 0.05  # rad, of servos under the arm's own weight
        assert np.abs(arm.state().joint_pos - start - 8 * move[:-1]).max() < sag
