"""What the policy is told of poses, against angles worked out by hand."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from squares import square_frames

from robo_dream.models.config import ModelConfig
from robo_dream.models.heads import pose_names
from robo_dream.models.policy import FAR, PoseRelations
from robo_dream.training.frames import model_spec

RELATIONS = PoseRelations(model_spec(square_frames(2, 12), ModelConfig(image_size=32)))
NUM_POSE = len(pose_names())
angles = st.floats(-3.0, 3.0)


def poses(tool: list[float], yaw: float, box: list[float], turn: float) -> torch.Tensor:
    """Normalised, of a box that lies `turn` rad round."""
    pose = [*tool, np.cos(yaw), np.sin(yaw), 0.5, *box, np.cos(4 * turn), np.sin(4 * turn)]
    return ((torch.tensor(pose, dtype=torch.float32) - RELATIONS.mean) / RELATIONS.std)[None]


@given(angles, angles, angles, angles)
def test_turns_are_those_of_hand_and_box_to_each_other_and_to_the_goal(
    yaw: float, turn: float, yaw_there: float, turn_there: float
) -> None:
    here = poses([0.4, 0.1, 0.2], yaw, [0.5, 0.0, 0.03], turn)
    there = poses([0.3, 0.0, 0.1], yaw_there, [0.4, 0.1, 0.03], turn_there)
    numbers = RELATIONS(here, there)[0]
    assert numbers.shape == (RELATIONS.num_out,)
    wanted = [4 * (turn - yaw), 4 * (turn_there - yaw_there), 4 * (turn_there - turn), 4 * (turn_there - yaw), yaw_there - yaw]
    found = numbers[2 * NUM_POSE + 24 : -1].view(5, 2)
    torch.testing.assert_close(found, torch.tensor([[np.cos(a), np.sin(a)] for a in wanted], dtype=torch.float32), atol=2e-3, rtol=0)


def test_displacements_are_in_metres_whatever_the_normalisation() -> None:
    numbers = RELATIONS(poses([0.4, 0.1, 0.2], 0, [0.5, 0.0, 0.03], 0), poses([0.3, 0.0, 0.1], 0, [0.4, 0.1, 0.03], 0))[0]
    wanted = [0.1, -0.1, -0.17, 0.1, 0.1, -0.07, -0.1, 0.1, 0.0, -0.1, -0.1, -0.1]
    torch.testing.assert_close(numbers[2 * NUM_POSE :][:12] * FAR, torch.tensor(wanted), atol=1e-5, rtol=0)


def test_a_box_looks_the_same_at_every_quarter() -> None:
    goal = poses([0.4, 0, 0.2], 0, [0.4, 0, 0.03], 0)
    one, other = (RELATIONS(poses([0.4, 0, 0.2], 0.3, [0.5, 0, 0.03], turn), goal) for turn in (0.2, 0.2 + np.pi / 2))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_turns_that_a_head_does_not_know_have_finite_gradients() -> None:
    unknown = (-RELATIONS.mean / RELATIONS.std)[None].requires_grad_(True)  # every number 0, cosines and sines too
    RELATIONS(unknown, unknown.detach()).sum().backward()
    assert unknown.grad is not None and torch.isfinite(unknown.grad).all()
