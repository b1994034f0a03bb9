"""The kinematics beside two that were written elsewhere: mink's, and a least squares of scipy's over MuJoCo's forward kinematics alone."""

from functools import cache

import mujoco
import numpy as np
import pytest
from scipy.optimize import least_squares

from robo_dream.control.kinematics import Kinematics
from robo_dream.embodiment import Pose
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

ARMS = ("jaco", "so101")  # six joints, and five, which reach few poses exactly
REACHED = 2e-3  # m and rad; the tolerance of one solution is 1e-4, its convergence is damped


@cache
def the_world(arm: str) -> World:
    return World(SceneConfig(arm=arm))


def poses(arm: str, count: int) -> list[tuple[np.ndarray, Pose, np.ndarray]]:
    """Joint positions to begin from, a pose that is reached from nearby, and the joint positions that reach it."""
    kinematics, random = the_world(arm).kinematics, np.random.default_rng(3)
    home = np.asarray(the_world(arm).scene.arm.home)
    result = []
    for _ in range(count):
        start = np.clip(home + random.uniform(-0.3, 0.3, home.shape), kinematics.low, kinematics.high)
        there = np.clip(start + random.uniform(-0.2, 0.2, home.shape), kinematics.low, kinematics.high)
        result.append((start, kinematics.forward(there), there))
    return result


def pose_error(kinematics: Kinematics, joints: np.ndarray, target: Pose) -> np.ndarray:
    """Metres and radians from where `joints` bring the tool to `target`."""
    reached, turn, velocity = kinematics.forward(joints), np.empty(4), np.empty(3)
    mujoco.mju_mulQuat(turn, target.quat, reached.quat * [1, -1, -1, -1])
    mujoco.mju_quat2Vel(velocity, turn, 1.0)
    return np.concatenate([target.pos - reached.pos, velocity])


@pytest.mark.parametrize("arm", ARMS)
def test_it_comes_as_near_as_a_least_squares_that_knows_no_jacobian(arm: str) -> None:
    kinematics = the_world(arm).kinematics
    for start, target, _ in poses(arm, 10):
        found = kinematics.inverse(start, target, 300)
        limits = (kinematics.low - 1e-9, kinematics.high + 1e-9)
        best = least_squares(lambda joints, target=target: pose_error(kinematics, joints, target), start, "3-point", limits)
        assert np.abs(pose_error(kinematics, found, target)).max() < REACHED + np.abs(best.fun).max()


@pytest.mark.parametrize("arm", ARMS)
def test_it_agrees_with_mink(arm: str) -> None:
    mink = pytest.importorskip("mink", reason="mink is not installed; `pip install mink` brings it")
    world = the_world(arm)
    model, site = world.model, world.scene.tool_site
    places = np.array([model.joint(name).qposadr[0] for name in world.scene.joint_names])
    for start, target, _ in poses(arm, 5):
        configuration = mink.Configuration(model)
        whole = configuration.q.copy()
        whole[places] = start
        configuration.update(whole)
        here = configuration.get_transform_frame_to_world(site, "site")
        ours = world.kinematics.forward(start)
        np.testing.assert_allclose(here.translation(), ours.pos, atol=1e-9)
        np.testing.assert_allclose(np.abs(here.rotation().wxyz @ ours.quat), 1.0, atol=1e-9)

        task = mink.FrameTask(site, "site", position_cost=1.0, orientation_cost=1.0)
        task.set_target(mink.SE3.from_rotation_and_translation(mink.SO3(target.quat), target.pos))
        for _ in range(300):
            velocity = mink.solve_ik(configuration, [task], 0.1, "daqp", limits=[mink.ConfigurationLimit(model)])
            configuration.integrate_inplace(velocity, 0.1)
        theirs = np.abs(pose_error(world.kinematics, configuration.q[places], target)).max()
        mine = np.abs(pose_error(world.kinematics, world.kinematics.inverse(start, target, 300), target)).max()
        assert mine < theirs + REACHED and theirs < mine + REACHED
