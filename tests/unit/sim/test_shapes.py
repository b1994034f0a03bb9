"""Arms of simple shapes stand where the makers' published kinematics say, touch nothing at home and hold themselves up."""

import numpy as np
import pytest

from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

# the flange at all joints zero: Universal Robots' own kinematics sheet (UR5e) and uFactory's user manual (xArm 6: 207, 0, 112 mm)
_ZERO = {"ur5e_shapes": ((-0.8172, -0.2329, 0.0628), (0.0, -0.163, 0.0)), "xarm6": ((0.207, 0.0, 0.112), (0.0, 0.0, -0.172))}
ARMS = sorted(_ZERO)


@pytest.fixture(params=ARMS)
def world(request):
    with World(SceneConfig(arm=request.param)) as world:
        yield world


def test_the_zero_pose_is_the_published_one(world):
    flange, hand = _ZERO[world.scene.config.arm]
    np.testing.assert_allclose(world.kinematics.forward(np.zeros(6)).pos, np.add(flange, hand), atol=2e-4)


def test_at_home_the_tool_points_down_and_the_arm_touches_nothing(world):
    pose = world.kinematics.forward(np.asarray(world.scene.arm.home))
    axis = np.array([2 * (pose.quat[1] * pose.quat[3] + pose.quat[0] * pose.quat[2]), 0, 1 - 2 * (pose.quat[1] ** 2 + pose.quat[2] ** 2)])
    np.testing.assert_allclose(axis[[0, 2]], [0.0, -1.0], atol=1e-2)
    box = world.model.geom("object").id
    touching = [pair for pair in world.data.contact.geom.tolist() if box not in pair]
    assert touching == []


def test_it_holds_where_it_is(world):
    before = world.measured
    for _ in range(20):
        world.step_joints(world.joint_target)
    np.testing.assert_allclose(world.measured, before, atol=2e-3)


def test_its_links_are_solid_to_each_other(world):
    """Which the safety checks rely on: of poses drawn at random, some touch themselves."""
    rng, low, high = np.random.default_rng(0), world.kinematics.low, world.kinematics.high
    apart = {"world", "object"}
    touching = 0
    for _ in range(100):
        world.set_arm(rng.uniform(low, high), 0.0)
        names = [{world.model.body(int(world.model.geom_bodyid[geom])).name for geom in pair} for pair in world.data.contact.geom]
        touching += any(not pair & apart for pair in names)
    assert 5 <= touching <= 95
