"""What holds for any pose and any sequence of tool moves."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_dream.control.cartesian import downward_quat, downward_yaw
from robo_dream.embodiment import Pose
from sim.tabletop.world import World

UNIT = st.floats(0, 1)
MOVE = st.lists(st.floats(-2, 2), min_size=5, max_size=5)  # in units of the limits
REACHED = 2e-3  # m and rad; the tolerance of one solution is 1e-4, its convergence is damped
CORNER = 0.01  # m; a joint path bends between two points of the box


@cache
def the_world() -> World:
    return World()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(x=UNIT, y=UNIT, z=UNIT, turn=UNIT)
def test_inverse_kinematics_reaches_every_pose_of_the_workspace_within_the_joint_limits(x, y, z, turn):
    world = the_world()
    limits = world.scene.arm.limits
    low, high = np.asarray(limits.workspace_low), np.asarray(limits.workspace_high)
    yaw = limits.yaw_low + turn * (limits.yaw_high - limits.yaw_low)
    target = Pose(low + (high - low) * [x, y, z], downward_quat(yaw))
    joints = world.kinematics.inverse(np.asarray(world.scene.arm.home), target, 300)
    reached = world.kinematics.forward(joints)
    assert (joints >= world.kinematics.low).all() and (joints <= world.kinematics.high).all()
    assert np.abs(reached.pos - target.pos).max() < REACHED
    assert abs(downward_yaw(reached.quat) - yaw) < REACHED


@settings(deadline=None, max_examples=15, derandomize=True)
@given(moves=st.lists(MOVE, min_size=1, max_size=12), repeat=st.integers(1, 4))
def test_whatever_the_moves_the_target_keeps_every_limit(moves, repeat):
    world = the_world()
    limits = world.scene.arm.limits
    world.home()
    for move in moves * repeat:
        before, measured = world.joint_target, world.measured
        target, applied = world.moves.step(before, measured, np.asarray(move) * world.moves.spec.high)
        tool = world.kinematics.forward(target[:-1])
        assert (np.abs(target - before)[:-1] <= np.asarray(limits.joint_speed) * 0.1 + 1e-9).all()
        assert (tool.pos >= np.asarray(limits.workspace_low) - CORNER).all()
        assert (tool.pos <= np.asarray(limits.workspace_high) + CORNER).all()
        assert limits.yaw_low - 0.05 <= downward_yaw(tool.quat) <= limits.yaw_high + 0.05
        assert 0 <= target[-1] <= 1 and abs(target[-1] - measured[-1]) <= limits.max_grip_lag + 1e-9
        assert np.isfinite(applied).all()
        world.step_joints(target)
