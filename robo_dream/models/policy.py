"""How gripper and object lie to each other and to a goal, from poses: what is to be done depends on that more than on where it all is.

And what was done, from neighbouring latents: inverse dynamics models.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robo_dream.imagination import LocalGoal
from robo_dream.models.config import ModelSpec
from robo_dream.models.heads import GRIPPER, OBJECT_POS, OBJECT_YAW, TOOL_POS, TOOL_YAW, objects
from robo_dream.models.layers import ResidualMlp, mlp

FAR, NEAR = 0.04, 0.02  # m, the units of displacements: plain, and squashed so that millimetres count near by
APART = 3.0  # weight of differences in closure and of latents: small ones matter
_FEW = 24  # numbers of a latent beside poses


class LatentRelations(nn.Module):
    """Numbers for a network that goes from latents to a goal's: both, and their difference."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.num_out = 3 * spec.config.latent

    def forward(self, seen: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch number"]:
        return torch.cat([seen, goals, APART * (goals - seen)], -1)


class LooseRelations(nn.Module):
    """`PoseRelations` of poses; and of the latents beside them a few linear numbers: too few to learn pictures by heart, enough for what
    has no pose, such as a lamp that is on."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.poses, self.num_pose = PoseRelations(spec), len(spec.pose.mean)
        self.few = nn.Linear(spec.config.latent, _FEW)
        self.num_out = self.poses.num_out + 2 * _FEW

    def forward(self, seen: Float[Tensor, "*batch number"], goals: Float[Tensor, "*batch number"]) -> Float[Tensor, "*batch relation"]:
        here, there = self.few(seen[..., self.num_pose :]), self.few(goals[..., self.num_pose :])
        return torch.cat([self.poses(seen[..., : self.num_pose], goals[..., : self.num_pose]), here, there - here], -1)


class PoseRelations(nn.Module):
    """Numbers for a network that goes from normalised poses (`pose_names`) to a goal's: both, their displacements and relative turns.

    Turns of an object are multiples of its symmetry, where equal looks are equal numbers, and so are those of the gripper beside it:
    a gripper is as square to a box at every quarter.
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
        grippers = _unit(torch.stack([here[..., TOOL_YAW], there[..., TOOL_YAW]], -2))
        faces, faces_there = _unit(things[..., OBJECT_YAW]), _unit(things_there[..., OBJECT_YAW])
        squares = grippers
        for _ in range(self.symmetry - 1):
            squares = _sum(squares, grippers)
        (gripper, gripper_there), (square, square_there) = (turns[..., None, :].unbind(-3) for turns in (grippers, squares))
        square, square_there = square.expand_as(faces), square_there.expand_as(faces)
        starts = torch.cat([square, square_there, faces, square, gripper], -2)
        ends = torch.cat([faces, faces_there, faces_there, faces_there, gripper_there], -2)
        turned = _sum(ends, torch.cat([starts[..., :1], -starts[..., 1:]], -1)).flatten(-2)
        closure = APART * (there[..., GRIPPER] - here[..., GRIPPER])[..., None]
        return torch.cat([seen, goals, displaced / FAR, torch.tanh(displaced / NEAR), turned, closure], -1)


def _unit(turns: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    return nn.functional.normalize(turns, dim=-1, eps=1e-3)


def _sum(one: Float[Tensor, "*batch 2"], other: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    """The sum of two angles, each as (cos, sin)."""
    (a, b), (c, d) = one.unbind(-1), other.unbind(-1)
    return torch.stack([a * c - b * d, a * d + b * c], -1)


LOG_STD_MIN, LOG_STD_MAX = -3.0, 0.7  # normalised units: 0.05 to 2 half ranges


@dataclass(frozen=True)
class ActionMixture:
    """A mixture of diagonal Gaussians over the next action block, in normalised units (-1 and 1 are the action limits), or over others."""

    logits: Float[Tensor, "batch mode"]
    means: Float[Tensor, "batch mode block"]
    stds: Float[Tensor, "batch mode block"]

    def pick(self, chance: Float[Tensor, " batch"], noise: Float[Tensor, "batch block"]) -> Float[Tensor, "batch block"]:
        """One block a row from random numbers that are given: of the Gaussians, heaviest first, the one at which the sum of the weights
        passes `chance` (in [0, 1)), and `noise` of its standard deviations off its mean. 0 and 0 give the mean of the likeliest."""
        mean, std = self.picked(chance)
        return mean + std * noise

    def picked(self, chance: Float[Tensor, " batch"]) -> tuple[Float[Tensor, "batch block"], Float[Tensor, "batch block"]]:
        """Mean and standard deviations of the Gaussian that `pick` takes."""
        weights, order = self.logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
        place = (chance[:, None] > weights.cumsum(dim=-1)).sum(dim=-1).clamp(max=weights.shape[-1] - 1)
        mode = order.gather(1, place[:, None])[:, :, None].expand(-1, 1, self.means.shape[-1])
        return self.means.gather(1, mode)[:, 0], self.stds.gather(1, mode)[:, 0]

    def log_density(self, blocks: Float[Tensor, "batch block"]) -> Float[Tensor, " batch"]:
        """Natural logarithm of the density of each row's block."""
        z = (blocks[:, None] - self.means) / self.stds
        gaussians = (-0.5 * z.square() - self.stds.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
        return torch.logsumexp(self.logits.log_softmax(-1) + gaussians, -1)


class GoalConditionedMixture(nn.Module):
    """A mixture of diagonal Gaussians over `size` numbers (Bishop 1994, Mixture Density Networks), from what is seen here and at a goal."""

    def __init__(self, spec: ModelSpec, size: int) -> None:
        super().__init__()
        w, self.num_modes, self.size = spec.config.widths, spec.config.num_modes, size
        kinds = {"poses": PoseRelations, "latents": LatentRelations, "poses_and_latents": LooseRelations}
        self.relations = kinds[spec.config.policy_input](spec)
        self.body = ResidualMlp(self.relations.num_out, w.trunk, w.trunk_layers)
        self.out = nn.Linear(w.trunk, self.num_modes * (1 + 2 * size))

    def forward(self, seen: Float[Tensor, "batch number"], goals: Float[Tensor, "batch number"]) -> ActionMixture:
        """`seen` is `LatentVideoModel.seen` of where we are, `goals` of where we want to be."""
        return ActionMixture(*self.numbers(seen, goals))

    def numbers(
        self, seen: Float[Tensor, "batch number"], goals: Float[Tensor, "batch number"]
    ) -> tuple[Float[Tensor, "batch mode"], Float[Tensor, "batch mode block"], Float[Tensor, "batch mode block"]]:
        """The logits, means and standard deviations of the mixture."""
        out = self.out(self.body(self.relations(seen, goals))).float()
        logits, numbers = out.split([self.num_modes, 2 * self.num_modes * self.size], -1)
        means, log_stds = numbers.unflatten(-1, (self.num_modes, 2 * self.size)).chunk(2, -1)
        middle, half = 0.5 * (LOG_STD_MAX + LOG_STD_MIN), 0.5 * (LOG_STD_MAX - LOG_STD_MIN)
        return logits, means, (middle + half * torch.tanh(log_stds)).exp()


class GoalConditionedPolicy(GoalConditionedMixture):
    """Goal-conditioned policy (GC-IDM, arXiv 2605.08732) with a mixture at its end, as data holds several ways to a goal.

    It sees either whole latents or only the poses that the pose head reads from them, here and at the goal. Poses are few numbers,
    and what is learned from some hundred thousand frames generalises: executed alone on 24 pushes of the default scene, poses solved
    88 %, latents 58 %, whose held-out loss rose again after 3,000 steps. Without labels of poses it has to be latents; where some things
    have poses and others have none, both.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, spec.block_size)


class LocalGoals(GoalConditionedMixture):
    """How far what is seen will have moved, at each of `ModelSpec.local_goals` control steps ahead, on the way to the goal.

    LeWM++'s local targets, there of latents and by a flow. Here they are of what the policy sees, poses where it sees poses, and by a
    mixture of Gaussians over all these steps together, so that each of its modes is one way to go.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, len(spec.local_goals) * spec.num_seen)
        self.ahead, self.num_seen = spec.local_goals, spec.num_seen

    def pick(
        self,
        seen: Float[Tensor, "batch number"],
        goals: Float[Tensor, "batch number"],
        chance: Float[Tensor, " batch"],
        noise: Float[Tensor, "batch moved"],
        steps: int,
    ) -> LocalGoal:
        """The local goal `steps` control steps ahead, one of `ahead`; `chance` and `noise` as in `ActionMixture.pick`."""
        place = self.ahead.index(steps) * self.num_seen
        mean, std = (values[:, place : place + self.num_seen] for values in self(seen, goals).picked(chance))
        return LocalGoal(seen.float() + mean + std * noise[:, place : place + self.num_seen], std)


class InverseDynamics(nn.Module):
    """The action block between two neighbouring latents (RWM, arXiv 2609.29171).

    It is trained on real neighbours and on neighbouring points of straight lines between latents: see `robo_dream.models.policy_prior`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.body = mlp(2 * spec.config.latent, spec.config.widths.mlp, spec.block_size)

    def forward(
        self, latents: Float[Tensor, "*batch channel"], following: Float[Tensor, "*batch channel"]
    ) -> Float[Tensor, "*batch block"]:
        return self.body(torch.cat([latents, following], -1))


LABEL_STD_MIN, LABEL_STD_MAX = 0.005, 2.5  # normalised units


class ActionLabeller(nn.Module):
    """An inverse dynamics model that says how sure it is, for video that has no actions: a Gaussian for each number of what was done.

    The latents that it reads are of pictures alone (proprioception is NaN), since a video has nothing else. It reads the look after which
    something was done, and how the others differ from it in units of `apart`, how far they usually do: neighbours are much alike. By what
    it told of episodes that it did not learn from, `trust` keeps a number near the `usual` one where it was told badly, and `scale` makes
    standard deviations as large as errors.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        assert spec.label_window is not None
        self.window, self.num_actions = spec.label_window, spec.action_spec.size
        num = self.window.every * self.num_actions
        self.body = mlp(self.window.num_looks * spec.config.latent, spec.config.widths.mlp, 2 * num)
        self.scale: Tensor
        self.apart: Tensor
        self.register_buffer("scale", torch.ones(num))
        self.usual: Tensor
        self.trust: Tensor
        self.register_buffer("usual", torch.zeros(num))
        self.register_buffer("trust", torch.ones(num))
        self.register_buffer("apart", torch.ones(self.window.num_looks - 1, spec.config.latent))

    def forward(
        self, latents: Float[Tensor, "*batch look channel"]
    ) -> tuple[Float[Tensor, "*batch time action"], Float[Tensor, "*batch time action"]]:
        """Mean and standard deviation of each number of the `window.every` actions after the look in the middle; normalised."""
        differences = (self.differences(latents) / self.apart).flatten(-2)
        read = torch.cat([latents[..., self.window.before, :], differences], -1)
        means, numbers = self.body(read).float().chunk(2, -1)
        middle, half = 0.5 * math.log(LABEL_STD_MAX * LABEL_STD_MIN), 0.5 * math.log(LABEL_STD_MAX / LABEL_STD_MIN)
        stds = (middle + half * torch.tanh(numbers / half)).exp() * self.scale
        means = self.usual + self.trust * (means - self.usual)
        return means.unflatten(-1, (-1, self.num_actions)), stds.unflatten(-1, (-1, self.num_actions))

    def differences(self, latents: Float[Tensor, "*batch look channel"]) -> Float[Tensor, "*batch other channel"]:
        """Of every other look from that in the middle."""
        middle = self.window.before
        return torch.cat([latents[..., :middle, :], latents[..., middle + 1 :, :]], -2) - latents[..., middle : middle + 1, :]
