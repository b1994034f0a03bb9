"""How hand and object lie to each other and to a goal, from poses: what is to be done depends on that more than on where it all is."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.models.config import ModelSpec
from robo_dream.models.pose_head import GRIPPER, OBJECT_POS, OBJECT_TURN, TOOL_POS, TOOL_TURN, objects

FAR, NEAR = 0.04, 0.02  # m, the units of displacements: plain, and squashed so that millimetres count near by
APART = 3.0  # weight of differences in closure and of latents: small ones matter


class LatentRelations(nn.Module):
    """Numbers for a network that goes from latents to a goal's: both, and their difference."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.num_out = 3 * spec.config.latent

    def forward(self, seen: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch number"]:
        return torch.cat([seen, goals, APART * (goals - seen)], -1)


class PoseRelations(nn.Module):
    """Numbers for a network that goes from normalised poses (`pose_names`) to a goal's: both, their displacements and relative turns.

    Turns of an object are multiples of its symmetry, where equal looks are equal numbers, and so are those of the hand beside it:
    a hand is as square to a box at every quarter.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.symmetry = spec.config.object_symmetry
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(spec.pose.mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.pose.std), persistent=False)
        num_pose, num_objects = len(spec.pose.mean), spec.num_objects
        self.num_out = 2 * num_pose + 2 * (3 * num_objects + 1) * 3 + (4 * num_objects + 1) * 2 + 1

    def forward(self, seen: Float[Tensor, "*batch pose"], goals: Float[Tensor, "*batch pose"]) -> Float[Tensor, "*batch number"]:
        here, there = seen.float() * self.std + self.mean, goals.float() * self.std + self.mean
        things, things_there = objects(here), objects(there)
        tool, tool_there = here[..., TOOL_POS], there[..., TOOL_POS]
        displaced = torch.cat(
            [
                (things[..., OBJECT_POS] - tool[..., None, :]).flatten(-2),
                (things_there[..., OBJECT_POS] - tool_there[..., None, :]).flatten(-2),
                (things_there[..., OBJECT_POS] - things[..., OBJECT_POS]).flatten(-2),
                tool_there - tool,
            ],
            -1,
        )
        hands = _unit(torch.stack([here[..., TOOL_TURN], there[..., TOOL_TURN]], -2))
        faces, faces_there = _unit(things[..., OBJECT_TURN]), _unit(things_there[..., OBJECT_TURN])
        squares = hands
        for _ in range(self.symmetry - 1):
            squares = _sum(squares, hands)
        (hand, hand_there), (square, square_there) = (turns[..., None, :].unbind(-3) for turns in (hands, squares))
        square, square_there = square.expand_as(faces), square_there.expand_as(faces)
        starts = torch.cat([square, square_there, faces, square, hand], -2)
        ends = torch.cat([faces, faces_there, faces_there, faces_there, hand_there], -2)
        turned = _sum(ends, starts * starts.new_tensor([1.0, -1.0])).flatten(-2)
        closure = APART * (there[..., GRIPPER] - here[..., GRIPPER])[..., None]
        return torch.cat([seen, goals, displaced / FAR, torch.tanh(displaced / NEAR), turned, closure], -1)


def _unit(turns: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    return nn.functional.normalize(turns, dim=-1, eps=1e-3)


def _sum(one: Float[Tensor, "*batch 2"], other: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    """The sum of two angles, each as (cos, sin)."""
    (a, b), (c, d) = one.unbind(-1), other.unbind(-1)
    return torch.stack([a * c - b * d, a * d + b * c], -1)
