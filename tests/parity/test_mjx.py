"""MJX against C MuJoCo on the same model, with the hand as boxes."""

import sys

import mujoco
import numpy as np
import pytest
import torch

from robo_dream.errors import MissingExtraError
from robo_dream.imagination import Belief
from sim.physics.mjx import MjxOracle, with_box_hand
from sim.physics.oracle import PhysicsOracle
from sim.world import World

FREE = 2e-3  # rad and m after a control step of 25 physics steps in float32
PUSHED = 5e-3  # m of the box, when the hand pushes it


def test_without_jax_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with World() as world, pytest.raises(MissingExtraError, match=r"robo-dream\[mjx\]"):
        MjxOracle(world)


def test_only_boxes_collide_and_bodies_keep_their_weight():
    with World() as world:
        model = with_box_hand(world)
        collides = (model.geom_contype > 0) | (model.geom_conaffinity > 0)
        assert (model.geom_type[collides] == mujoco.mjtGeom.mjGEOM_BOX).all() and collides.sum() >= 5
        np.testing.assert_array_equal(model.body_inertia, world.model.body_inertia)


@pytest.mark.parametrize("height, tolerance", [(0.2, FREE), (0.035, PUSHED)])
def test_mjx_imagines_what_c_mujoco_does(height, tolerance):
    pytest.importorskip("jax")
    pytest.importorskip("mujoco.mjx")
    with World() as world, MjxOracle(world) as oracle:
        world.home()
        world.set_object(np.array([0.43, 0.0, 0.03, 1, 0, 0, 0]))
        from robo_dream.control.cartesian import downward_quat
        from robo_dream.embodiment import Pose

        joints = world.kinematics.inverse(np.asarray(world.scene.arm.home), Pose(np.array([0.43, -0.1, height]), downward_quat(0.0)), 300)
        world.set_arm(joints, 1.0)
        start = Belief(torch.from_numpy(world.state)[None])
        actions = torch.zeros(1, 2, 5, 5)
        actions[..., 1] = torch.tensor([0.02, 0.01])[:, None]
        ours = oracle.imagine(start, actions).latents
        original, world.model = world.model, oracle.model
        with PhysicsOracle(world, num_threads=1) as reference:
            truth = reference.imagine(start, actions).latents
        world.model = original
        np.testing.assert_allclose(ours[..., oracle.layout.qpos], truth[..., oracle.layout.qpos], atol=tolerance)
        moved = float((truth[0, 0, -1, oracle.layout.object_pose[:3]] - start.latent[0, oracle.layout.object_pose[:3]]).norm())
        assert (moved > 0.005) == (height < 0.1)
