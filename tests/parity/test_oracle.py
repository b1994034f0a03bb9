"""What the oracle imagines is what the world then does."""

import numpy as np
import pytest
import torch

from robo_dream.embodiment import Observation
from robo_dream.imagination import Belief
from sim.behaviours.skills import CLOSED, OPEN, go, squeeze
from sim.physics.oracle import PhysicsOracle
from sim.start import draw_start
from sim.world import World

SAME_STATE = 1e-6  # m and rad over 25 control steps; kinematics in another order of operations, amplified by contacts


def grasping(world: World) -> list[np.ndarray]:
    """Moves that go down to the box, close the hand and rise."""
    spot, moves = world.object_poses[0, :2].copy(), []
    parts = (
        go(world, np.array([*spot, 0.10]), 0.0, OPEN), go(world, np.array([*spot, 0.028]), 0.0, OPEN, 0.01),
        squeeze(world, CLOSED, 8), go(world, np.array([*spot, 0.12]), 0.0, CLOSED),
    )  # fmt: skip
    for part in parts:
        for move in part:
            moves.append(move)
            world.step_move(move)
    return moves


@pytest.mark.parametrize("seed", [0, 1])
def test_the_oracle_imagines_what_happens_through_a_grasp(seed):
    with World() as world, PhysicsOracle(world, num_threads=2) as oracle:
        draw_start(world, np.random.default_rng(seed))
        start = world.state
        moves = np.asarray(grasping(world), np.float32)[:25]
        world.set_state(start)
        states = []
        for move in moves:
            world.step_move(move)
            states.append(world.state)
        noise = np.random.default_rng(2).uniform(-0.02, 0.02, moves.shape).astype(np.float32)
        actions = torch.from_numpy(np.stack([moves, moves + noise]))[None]
        imagined = oracle.imagine(Belief(torch.from_numpy(start)[None]), actions)
        num_qpos = world.model.nq
        np.testing.assert_allclose(imagined.latents[0, 0, :, 1 : 1 + num_qpos], np.stack(states)[4::5, 1 : 1 + num_qpos], atol=SAME_STATE)
        assert not torch.allclose(imagined.latents[0, 0], imagined.latents[0, 1])


def test_poses_read_from_a_state_are_the_worlds_own():
    with World() as world, PhysicsOracle(world, num_threads=1) as oracle:
        draw_start(world, np.random.default_rng(4))
        state = world.arm_state()
        belief = oracle.believe([[Observation(world.time, {}, state, world.truth())]])
        poses = oracle.poses(belief.latent)
        np.testing.assert_allclose(poses.object_pos[0], world.object_poses[0, :3], atol=1e-6)
        np.testing.assert_allclose(poses.tool_pos[0], state.tool_pos, atol=1e-6)
        assert float(poses.gripper[0]) == pytest.approx(state.gripper, abs=1e-6)
