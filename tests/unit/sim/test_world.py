import mujoco
import numpy as np
import pytest

from robo_dream.control.cartesian import downward_quat, downward_yaw
from robo_dream.embodiment import Pose
from robo_dream.errors import ConfigError, ContractError
from sim.scripts import scripted_episode
from sim.tabletop.behaviours.play import PlayConfig
from sim.tabletop.behaviours.skills import CLOSED, OPEN, go, squeeze
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import SceneConfig
from sim.tabletop.start import StartRanges, draw_start
from sim.tabletop.world import World


def test_forward_kinematics_is_mujocos_own_tool_site(world: World):
    world.home()
    mujoco.mj_forward(world.model, world.data)
    site = world.data.site(world.scene.tool_site)
    np.testing.assert_allclose(world.kinematics.forward(world.measured[:-1]).pos, site.xpos, atol=1e-9)


def test_inverse_kinematics_reaches_the_corners_of_the_workspace(world: World):
    limits, home = world.scene.arm.limits, np.asarray(world.scene.arm.home)
    for x in (limits.workspace_low[0], limits.workspace_high[0]):
        for y in (limits.workspace_low[1], limits.workspace_high[1]):
            target = Pose(np.array([x, y, 0.05]), downward_quat(0.4))
            reached = world.kinematics.forward(world.kinematics.inverse(home, target, 300))
            assert np.abs(reached.pos - target.pos).max() < 2e-3
            assert abs(downward_yaw(reached.quat) - 0.4) < 0.01


def test_the_tool_target_never_leaves_the_workspace_nor_outruns_the_joints(world: World):
    rng, limits = np.random.default_rng(0), world.scene.arm.limits
    world.home()
    for _ in range(150):
        before = world.joint_target
        world.step(rng.choice([-1, 1], 5) * world.moves.spec.high * (1, 1, 1, 1, 0))
        assert (np.abs(world.joint_target - before)[:-1] <= np.asarray(limits.joint_speed) * 0.1 + 1e-9).all()
        target = world.kinematics.forward(world.joint_target[:-1]).pos
        slack = 0.01  # m; a joint path bends between two points of the box
        assert (target > np.array(limits.workspace_low) - slack).all() and (target < np.array(limits.workspace_high) + slack).all()


def test_a_restored_state_continues_exactly(world: World):
    rng = np.random.default_rng(1)
    draw_start(world, rng)
    moves = rng.uniform(-1, 1, (20, 5)) * world.moves.spec.high
    for move in moves:
        world.step(move)
    middle = world.state
    first = [world.step(move) is not None and world.state for move in moves]
    world.home()
    world.set_state(middle)
    second = [world.step(move) is not None and world.state for move in moves]
    np.testing.assert_array_equal(first, second)


def test_a_state_of_another_scene_is_refused(world: World):
    with pytest.raises(ContractError, match="another scene"):
        world.set_state(np.zeros(7))


def test_an_unknown_arm_is_named():
    with pytest.raises(ConfigError, match="no arm named 'jacko'"):
        World(SceneConfig(arm="jacko"))


def test_a_move_that_is_not_finite_is_refused(world: World):
    with pytest.raises(ContractError, match="finite"):
        world.step(np.array([np.nan, 0, 0, 0, 0]))


def test_two_cameras_and_two_worlds_draw_their_own_pictures(world: World):
    world.home()
    front, side = world.image("front"), world.image("side")
    with World() as other:
        other.home()
        np.testing.assert_array_equal(other.image("front"), front)
        np.testing.assert_array_equal(world.image("side"), side)
    assert np.abs(front.astype(int) - side).mean() > 5


def test_the_object_appears_where_the_camera_model_projects_it(world: World):
    world.home()
    world.set_object(np.array([0.45, 0.08, 0.03, 1, 0, 0, 0]))
    for name in ("front", "side"):
        camera = world.intrinsics(name)
        point = np.linalg.inv(world.world_from_camera(name)) @ [0.45, 0.08, 0.03, 1]
        column = camera.fx * point[0] / point[2] + camera.cx
        row = camera.fy * point[1] / point[2] + camera.cy
        image = world.image(name).astype(int)
        red = np.argwhere((image[..., 0] > 100) & (image[..., 1] < 60))
        assert np.abs(red.mean(0) + 0.5 - [row, column]).max() < 1.5  # pixels


def test_starts_stay_in_their_ranges(world: World):
    config = StartRanges()
    for seed in range(20):
        draw_start(world, np.random.default_rng(seed), config)
        spot = world.object_poses[0, :2]
        assert (spot >= config.object_low).all() and (spot <= config.object_high).all()
        tool = world.kinematics.forward(world.measured[:-1]).pos
        assert np.linalg.norm(tool - world.object_poses[0, :3]) > 0.08


def test_the_hand_lifts_the_box(world: World):
    world.home()
    world.set_object(np.array([0.43, 0.05, 0.03, 1, 0, 0, 0]))
    for moves in (
        go(world, np.array([0.43, 0.05, 0.13]), 0.0, OPEN), go(world, np.array([0.43, 0.05, 0.028]), 0.0, OPEN, 0.008),
        squeeze(world, CLOSED, 9), go(world, np.array([0.43, 0.05, 0.18]), 0.0, CLOSED),
    ):  # fmt: skip
        for move in moves:
            world.step(move)
    assert world.object_poses[0, 2] > 0.12


def test_the_same_seed_plays_the_same_episode():
    config = PlayConfig(num_steps=15)
    with Tabletop() as world:
        first, second, other = (scripted_episode(world, seed, config) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.sim_state, second.sim_state)
    np.testing.assert_array_equal(first.images["front"], second.images["front"])
    assert not np.array_equal(first.actions, other.actions)
