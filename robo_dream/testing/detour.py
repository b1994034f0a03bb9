"""A world with two ways: an obstacle exactly between tool and goal, and nothing to choose between its left and its right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robo_dream.imagination import Belief, Goal, Imagination, Proposals, StepCosts
from robo_dream.testing.point_mass import PointMassModel, point_action_spec

OBSTACLE_RADIUS = 0.06  # m; an upright cylinder about the object of the latent, so that no way leads over it
CLEARANCE = 0.01  # m around it that is charged too, so that a path between two imagined steps cannot cut the corner
DISTANCE = 0.3  # m from tool to goal: 12 control steps at the limit, straight through
ARC_STEPS = 18  # control steps of the proposed arcs


def detour_model() -> PointMassModel:
    """Every control step is imagined: 2.5 cm at the limit, so that no move can jump over the obstacle."""
    return PointMassModel(point_action_spec(), action_block=1)


def detour_problems(num_problems: int, seed: int) -> tuple[Belief, Goal]:
    """Tools near the origin, goals `DISTANCE` away in random horizontal directions, and the obstacle halfway."""
    generator = torch.Generator().manual_seed(seed)
    tool = torch.zeros(num_problems, 8)
    tool[:, :3] = 0.02 * torch.randn(num_problems, 3, generator=generator)
    angle = 2 * torch.pi * torch.rand(num_problems, generator=generator)
    ahead = DISTANCE * torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=-1)
    tool[:, 5:] = tool[:, :3] + ahead / 2
    goal = tool.clone()
    goal[:, :3] += ahead
    return Belief(tool), Goal(goal)


@dataclass(frozen=True)
class DetourCost:
    """Metres to the goal, and `charge` for every metre of depth in the obstacle or its clearance, summed over the imagined steps."""

    model: PointMassModel
    charge: float = 100.0

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        pose, desired = self.model.poses(imagination.latents), self.model.poses(goal.latent)
        depth = OBSTACLE_RADIUS + CLEARANCE - (pose.tool_pos - pose.object_pos[..., 0, :])[..., :2].norm(dim=-1)
        terms = {
            "goal": (pose.tool_pos - desired.tool_pos[:, None, None]).norm(dim=-1),
            "obstacle": self.charge * depth.clamp(min=0),
        }
        return StepCosts(terms, (terms["goal"] + terms["obstacle"]).sum(dim=-1))


@dataclass(frozen=True)
class TwoWays:
    """Proposes arcs round the obstacle, each to the left or to the right by the toss of a coin, as one who has seen both would."""

    model: PointMassModel
    left_share: float = 0.5
    name: str = "two_ways"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Proposals:
        limits = torch.as_tensor(self.model.action_spec.high)
        move_steps = min(num_steps, ARC_STEPS)
        along = torch.linspace(0, 1, move_steps + 1)
        bulge = (torch.pi * along).sin().diff()
        rows = []
        for ahead, seed in zip((goal.latent - belief.latent)[:, :2], seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            side = torch.where(torch.rand(num_samples, generator=generator) < self.left_share, 1.0, -1.0)
            width = side * (0.1 + 0.01 * torch.randn(num_samples, generator=generator))  # m
            left = torch.stack([-ahead[1], ahead[0]]) / ahead.norm()
            moves = torch.zeros(num_samples, num_steps, len(limits))
            moves[:, :move_steps, :2] = ahead / move_steps + (width[:, None] * bulge)[..., None] * left
            rows.append(moves + 0.05 * limits * torch.randn(moves.shape, generator=generator))
        return Proposals(torch.stack(rows).clamp(-limits, limits))


def obstacle_distance(belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Float[Tensor, "batch sample"]:
    """Metres from the obstacle's axis to the nearest point of each tool path, between the steps too; in float64, from the actions alone."""
    start = (belief.latent[:, :2] - belief.latent[:, 5:7]).double()[:, None, None]
    corners = torch.cat([start.expand(*actions.shape[:2], 1, 2), start + actions[..., :2].double().cumsum(dim=2)], dim=2)
    first, move = corners[:, :, :-1], corners.diff(dim=2)
    along = -(first * move).sum(dim=-1) / move.square().sum(dim=-1).clamp(min=1e-18)  # of the axis' foot on each segment
    return (first + along.clamp(0, 1)[..., None] * move).norm(dim=-1).amin(dim=-1)


def collides(belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Bool[Tensor, "batch sample"]:
    """Whether the path goes through the obstacle itself."""
    return obstacle_distance(belief, actions) < OBSTACLE_RADIUS


def passes_left(belief: Belief, goal: Goal, actions: Float[Tensor, "batch sample time action"]) -> Bool[Tensor, "batch sample"]:
    """On which side of the obstacle, seen from the start, each path is when it is nearest to halfway."""
    ahead = (goal.latent - belief.latent)[:, None, None, :2]
    tool = (belief.latent[:, :2] - belief.latent[:, 5:7])[:, None, None] + actions[..., :2].cumsum(dim=2)
    halfway = (tool * ahead).sum(dim=-1).abs().argmin(dim=2, keepdim=True)
    left = ahead[..., 0] * tool[..., 1] - ahead[..., 1] * tool[..., 0]
    return left.gather(2, halfway)[..., 0] > 0
