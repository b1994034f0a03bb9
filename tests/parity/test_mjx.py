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
from sim.tabletop.world import World

FREE = 1e-5  # rad and m after 125 physics steps in float32; 5e-7 was measured


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


def test_mjx_moves_the_arm_as_c_mujoco_does():
    pytest.importorskip("jax")
    pytest.importorskip("mujoco.mjx")
    with World() as world, MjxOracle(world) as oracle:
        world.home()
        start = Belief(torch.from_numpy(world.state)[None])
        actions = torch.zeros(1, 2, 5, 5)
        actions[..., 1] = torch.tensor([0.02, 0.01])[:, None]
        ours = oracle.imagine(start, actions).latents
        original, world.model = world.model, oracle.model
        with PhysicsOracle(world, num_threads=1) as reference:
            truth = reference.imagine(start, actions).latents
        world.model = original
        qpos = oracle.layout.qpos
        assert float((truth[0, 0, -1, qpos] - start.latent[0, qpos]).abs().max()) > 0.05  # it moved
        np.testing.assert_allclose(ours[..., qpos], truth[..., qpos], atol=FREE)
