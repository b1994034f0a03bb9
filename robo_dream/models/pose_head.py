"""Where things are in a latent: tool and object pose, read by a small MLP."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.imagination import ScenePose
from robo_dream.models.config import ModelSpec
from robo_dream.models.layers import mlp

POSE_NAMES = (
    "tool_x", "tool_y", "tool_z", "tool_cos_yaw", "tool_sin_yaw", "gripper",
    "object_x", "object_y", "object_z", "object_cos_turn", "object_sin_turn",
)  # fmt: skip
OBJECT_START = 6  # the first number that needs a label
TOOL_POS, TOOL_TURN, GRIPPER = slice(0, 3), slice(3, 5), 5
OBJECT_POS, OBJECT_TURN = slice(6, 9), slice(9, 11)


class PoseHead(nn.Module):
    """`POSE_NAMES` from a latent; normalised inside, metres and unit vectors outside."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.body = mlp(spec.config.latent, spec.config.widths.mlp, len(POSE_NAMES))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(spec.pose.mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.pose.std), persistent=False)

    def normal(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch pose"]:
        """In normalised units, for losses."""
        return self.body(latents)

    def normalise(self, poses: Float[Tensor, "*batch pose"]) -> Float[Tensor, "*batch pose"]:
        return (poses - self.mean) / self.std

    def normal_of(self, pose: ScenePose) -> Float[Tensor, "*batch pose"]:
        """Poses in metres and unit vectors, normalised."""
        parts = (pose.tool_pos, pose.tool_turn, pose.gripper[..., None], pose.object_pos, pose.object_turn)
        return self.normalise(torch.cat(parts, -1).to(self.mean))

    def forward(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        return scene_pose(self.numbers(latents)[0])

    def numbers(self, latents: Float[Tensor, "*batch channel"]) -> tuple[Float[Tensor, "*batch pose"]]:
        """`POSE_NAMES` in metres and unit vectors."""
        pose = self.body(latents).float() * self.std + self.mean
        tool, thing = (nn.functional.normalize(pose[..., turn], dim=-1) for turn in (TOOL_TURN, OBJECT_TURN))
        parts = (pose[..., TOOL_POS], tool, pose[..., GRIPPER : GRIPPER + 1], pose[..., OBJECT_POS], thing)
        return (torch.cat(parts, -1),)


def scene_pose(numbers: Float[Tensor, "*batch pose"]) -> ScenePose:
    """`POSE_NAMES` by name."""
    return ScenePose(
        tool_pos=numbers[..., TOOL_POS],
        tool_turn=numbers[..., TOOL_TURN],
        gripper=numbers[..., GRIPPER],
        object_pos=numbers[..., OBJECT_POS],
        object_turn=numbers[..., OBJECT_TURN],
    )
