"""Where things are in a latent: tool and object poses, read by a small MLP; how far it is to a goal; and what of things can be moved."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robo_dream.imagination import ScenePose
from robo_dream.models.config import NUM_OBJECT, NUM_TOOL, ModelSpec
from robo_dream.models.layers import mlp

TOOL_NAMES = ("tool_x", "tool_y", "tool_z", "tool_cos_yaw", "tool_sin_yaw", "gripper")
OBJECT_NAMES = ("x", "y", "z", "cos_turn", "sin_turn")
OBJECT_START = NUM_TOOL  # the first number that needs a label
TOOL_POS, TOOL_YAW, GRIPPER = slice(0, 3), slice(3, 5), 5
OBJECT_POS, OBJECT_YAW = slice(0, 3), slice(3, 5)  # in the numbers of one object
_MOVE_WIDTH = 64


def pose_names(num_objects: int = 1) -> tuple[str, ...]:
    """What the numbers of a pose are: the tool's, then those of every object."""
    prefixes = ["object", *(f"object_{number}" for number in range(2, num_objects + 1))][:num_objects]
    return (*TOOL_NAMES, *(f"{prefix}_{name}" for prefix in prefixes for name in OBJECT_NAMES))


def objects(poses: Float[Tensor, "*batch pose"]) -> Float[Tensor, "*batch object 5"]:
    """The numbers of the objects, `OBJECT_NAMES` of each."""
    return poses[..., OBJECT_START:].unflatten(-1, (-1, NUM_OBJECT))


class PoseHead(nn.Module):
    """`pose_names` from a latent; normalised inside, metres and unit vectors outside."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.body = mlp(spec.config.latent, spec.config.widths.mlp, len(spec.pose.mean))
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
        return self.normalise(pose_numbers(pose).to(self.mean))

    def forward(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        return scene_pose(self.numbers(latents)[0])

    def numbers(self, latents: Float[Tensor, "*batch channel"]) -> tuple[Float[Tensor, "*batch pose"]]:
        """`pose_names` in metres and unit vectors."""
        pose = self.body(latents).float() * self.std + self.mean
        things = objects(pose)
        tool, turns = (nn.functional.normalize(turn, dim=-1) for turn in (pose[..., TOOL_YAW], things[..., OBJECT_YAW]))
        things = torch.cat([things[..., OBJECT_POS], turns], -1).flatten(-2)
        return (torch.cat([pose[..., TOOL_POS], tool, pose[..., GRIPPER : GRIPPER + 1], things], -1),)


def scene_pose(numbers: Float[Tensor, "*batch pose"]) -> ScenePose:
    """`pose_names` by name."""
    things = objects(numbers)
    return ScenePose(
        tool_pos=numbers[..., TOOL_POS],
        tool_yaw=numbers[..., TOOL_YAW],
        gripper=numbers[..., GRIPPER],
        object_pos=things[..., OBJECT_POS],
        object_yaw=things[..., OBJECT_YAW],
    )


def pose_numbers(pose: ScenePose) -> Float[Tensor, "*batch pose"]:
    """The numbers of `pose_names`, as they are."""
    things = torch.cat([pose.object_pos, pose.object_yaw], -1).flatten(-2)
    return torch.cat([pose.tool_pos, pose.tool_yaw, pose.gripper[..., None], things], -1)


MAX_DISCOUNTED = 0.995  # the logarithm's end: beyond this everything is equally far


class TemporalDistance(nn.Module):
    """phi and the reading of its distances in control steps."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.discount = spec.config.discount
        self.phi = mlp(spec.config.latent, spec.config.widths.mlp, spec.config.distance_dim)

    def discounted(self, latents: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*#batch channel"]) -> Float[Tensor, "*batch"]:
        """u = 1 - discount^steps."""
        return ((self.phi(latents) - self.phi(goals)).float().square().sum(-1) + 1e-6).sqrt()

    def forward(self, latents: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*#batch channel"]) -> Float[Tensor, "*batch"]:
        """Control steps to the goal, at least 0."""
        return torch.log1p(-self.discounted(latents, goals).clamp_max(MAX_DISCOUNTED)) / math.log(self.discount)


class Affordances(nn.Module):
    """Whether a thing was ever brought from one place to another while the others stood as they do: a drawer while its lock was open.

    An affordance in the sense of Khetarpal et al. 2020, "What can I do here? A Theory of Affordances in Reinforcement Learning".

    It tells recorded moves from the same moves among things as they stood at other times (noise-contrastive estimation, Gutmann and
    Hyvaerinen 2010), so its logit is the logarithm of how many times as often the move was seen with things as they stand as it would be
    if they were nothing to it. `waypoints` are where each thing was left, as far apart as can be: where it can be brought on the way;
    `hands` is how far from it the tool was then.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        things = spec.num_objects
        self.body = nn.Sequential(mlp(4 * things + 6, _MOVE_WIDTH, _MOVE_WIDTH), nn.SiLU(), nn.Linear(_MOVE_WIDTH, 1))
        self.waypoints: Tensor
        self.hands: Tensor
        self.register_buffer("waypoints", torch.zeros(things, spec.waypoints, 3))  # metres
        self.register_buffer("hands", torch.zeros(things, 3))  # metres
        pose_mean, pose_std = torch.tensor(spec.pose.mean), torch.tensor(spec.pose.std)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", objects(pose_mean)[..., OBJECT_POS], persistent=False)
        self.register_buffer("std", objects(pose_std)[..., OBJECT_POS], persistent=False)

    def forward(
        self, things: Float[Tensor, "move thing 3"], which: Int[Tensor, " move"], to: Float[Tensor, "move 3"]
    ) -> Float[Tensor, " move"]:
        """The logit of moving `which` of the `things` to `to`; metres."""
        is_moved = nn.functional.one_hot(which, things.shape[1]).to(things)
        stand = (things - self.mean) / self.std
        ends = torch.stack([stand[is_moved > 0], (to - self.mean[which]) / self.std[which]], 1)
        others = torch.where(is_moved[..., None] > 0, 0.0, stand)
        return self.body(torch.cat([others.flatten(1), ends.flatten(1), is_moved], -1)).squeeze(-1).float()
