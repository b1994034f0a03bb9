"""What the oracle imagines is what the world then does."""

import mujoco
import numpy as np
import pytest
import torch

from robo_dream.embodiment import Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief
from sim.environment import truth
from sim.physics.chain import Chain, ChainMoves
from sim.physics.oracle import PhysicsOracle
from sim.tabletop.behaviours.skills import CLOSED, OPEN, go, squeeze
from sim.tabletop.start import draw_start
from sim.tabletop.world import World

SAME_STATE = 2e-3  # m and rad over 25 control steps; last digits of the joint targets decide when a contact of meshes begins


def grasping(world: World) -> list[np.ndarray]:
    """Moves that go down to the box, close the hand, rise and stay."""
    spot, moves = world.object_poses[0, :2].copy(), []
    parts = (
        go(world, np.array([*spot, 0.10]), 0.0, OPEN), go(world, np.array([*spot, 0.028]), 0.0, OPEN, 0.01),
        squeeze(world, CLOSED, 8), go(world, np.array([*spot, 0.2]), 0.0, CLOSED), squeeze(world, CLOSED, 6),
    )  # fmt: skip
    for part in parts:
        for move in part:
            moves.append(move)
            world.step(move)
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
            world.step(move)
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
        belief = oracle.believe([[Observation(world.time, {}, state, truth(world))]])
        poses = oracle.poses(belief.latent)
        np.testing.assert_allclose(poses.object_pos[0, 0], world.object_poses[0, :3], atol=1e-6)
        np.testing.assert_allclose(poses.tool_pos[0], state.tool_pos, atol=1e-6)
        assert float(poses.gripper[0]) == pytest.approx(state.gripper, abs=1e-6)


def test_an_exact_oracle_is_the_world_bit_for_bit_through_a_lift():
    with World() as world, PhysicsOracle(world, num_threads=2, is_exact=True) as oracle:
        world.home()
        world.set_object(np.array([0.42, 0.03, 0.03, 1, 0, 0, 0]))
        start = world.state
        moves = np.asarray(grasping(world), np.float32)
        moves = moves[: len(moves) // 5 * 5]
        world.set_state(start)
        states = [(world.step(move), world.state)[1] for move in moves]
        imagined = oracle.imagine(Belief(torch.from_numpy(start)[None]), torch.from_numpy(moves)[None, None])
        assert len(moves) >= 25 and world.object_poses[0, 2] > 0.05  # it was lifted
        np.testing.assert_array_equal(imagined.latents[0, 0], np.stack(states)[4::5])


def test_kinematics_of_many_rows_is_the_worlds_own():
    with World() as world:
        rng = np.random.default_rng(3)
        chain = Chain(world.model, world.scene.joint_names, world.scene.tool_site)
        joints = np.asarray(world.scene.arm.home) + rng.uniform(-0.4, 0.4, (20, 6))
        pos, rot = chain.forward(joints)
        for row, joint_pos in enumerate(joints):
            pose, turn = world.kinematics.forward(joint_pos), np.empty(9)
            mujoco.mju_quat2Mat(turn, pose.quat)
            np.testing.assert_allclose(pos[row], pose.pos, atol=1e-12)
            np.testing.assert_allclose(rot[row].ravel(), turn, atol=1e-12)
        target, measured = np.append(joints, rng.uniform(0, 1, (20, 1)), 1), np.append(joints + 0.01, rng.uniform(0, 1, (20, 1)), 1)
        moves = rng.uniform(-1.5, 1.5, (20, 5)) * world.moves.spec.high
        together = ChainMoves(chain, world.moves).step(target, measured, moves)
        one_by_one = [world.moves.step(*row)[0] for row in zip(target, measured, moves, strict=True)]
        np.testing.assert_allclose(together, one_by_one, atol=1e-10)


def test_a_candidate_is_imagined_the_same_whatever_is_beside_it():
    with World() as world, PhysicsOracle(world, num_threads=2) as oracle:
        draw_start(world, np.random.default_rng(5))
        belief = Belief(torch.from_numpy(world.state)[None])
        actions = (torch.rand(1, 5, 5, 5, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.04
        actions[0, 3] = torch.nan
        together = oracle.imagine(belief, actions).latents
        assert torch.equal(together[:, 1:2], oracle.imagine(belief, actions[:, 1:2]).latents)
        assert together[0, 3].isnan().all() and together[0, [0, 1, 2, 4]].isfinite().all()


def test_an_observation_without_the_simulators_state_is_refused():
    with World() as world, PhysicsOracle(world, num_threads=1) as oracle:
        with pytest.raises(ContractError, match="sim_state"):
            oracle.believe([[Observation(0.0, {}, world.arm_state())]])
