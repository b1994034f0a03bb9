"""Analytic world models: a tool that goes exactly where it is told, and one that fails for some candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.embodiment import TOOL_MOVE_NAMES, ActionSpec, Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Imagination, ScenePose, WorldModel
from robo_dream.planning.candidates import bounds_of

TOOL_MOVE_LIMITS = np.array([0.025, 0.025, 0.025, 0.08, 0.2], np.float32)  # m, m, m, rad, closure; each control step


def point_action_spec(control_dt: float = 0.1) -> ActionSpec:
    """Tool moves with the limits of the default arm."""
    return ActionSpec("tool_move", TOOL_MOVE_NAMES, ("m", "m", "m", "rad", "1"), -TOOL_MOVE_LIMITS, TOOL_MOVE_LIMITS, control_dt)


@dataclass(frozen=True)
class PointMassModel:
    """Exact linear dynamics. Latent: tool x y z, yaw, gripper, then object x y z, which never moves.

    Disagreement is the tool's distance from the origin beyond `known_radius`, as of a model trained only near the origin.
    """

    action_spec: ActionSpec
    action_block: int = 5
    cameras: tuple[str, ...] = ("front",)
    known_radius: float = float("inf")

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        """Reads the arm of the last observation; the picture is only asked for."""
        rows = []
        for history in histories:
            if not history:
                raise ContractError("a history is empty; give at least one observation for each problem")
            last = history[-1]
            last.images(self.cameras)
            rows.append(np.concatenate([last.arm.tool_pos, [last.arm.tool_yaw, last.arm.gripper], np.zeros(3)]))
        return Belief(torch.as_tensor(np.stack(rows), dtype=torch.float32))

    def imagine(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        moves = actions.cumsum(dim=2)[:, :, self.action_block - 1 :: self.action_block]
        start = belief.latent[:, None, None]
        tool = start[..., :5] + moves
        latents = torch.cat([tool, start[..., 5:].expand(*tool.shape[:-1], -1)], dim=-1)
        beyond = (latents[..., :3].norm(dim=-1) - self.known_radius).clamp(min=0)
        return Imagination(latents, beyond)

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        yaw = latents[..., 3]
        still = torch.stack([torch.ones_like(yaw), torch.zeros_like(yaw)], dim=-1)
        turn = torch.stack([yaw.cos(), yaw.sin()], dim=-1)
        return ScenePose(latents[..., :3], turn, latents[..., 4], latents[..., None, 5:8], still[..., None, :])


@dataclass(frozen=True)
class PointMassVideo:
    """Videos of the point mass on its way to the goal as fast as it may, shaken a little by noise, and exactly what was done in them."""

    model: PointMassModel
    num_looks: int = 6
    num_numbers: int = 8
    shaken: float = 0.01  # m, and so on
    usual: float = 0.01  # of `apart`

    def imagined(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], noise: Float[Tensor, "row look number"]
    ) -> Float[Tensor, "row look channel"]:
        bounds, looks = bounds_of(self.model.action_spec, latents), []
        for look in range(self.num_looks):
            moves = bounds.clip(
                (goals - latents)[:, :5] / self.model.action_block + self.shaken * noise[:, look, :5] / self.model.action_block
            )
            latents = torch.cat([latents[:, :5] + self.model.action_block * moves, latents[:, 5:]], -1)
            looks.append(latents)
        return torch.stack(looks, 1)

    def actions(self, latents: Float[Tensor, "row channel"], video: Float[Tensor, "row look channel"]) -> Float[Tensor, "row time action"]:
        moves = torch.cat([latents[:, None], video], 1)[..., :5].diff(dim=1) / self.model.action_block
        return moves.repeat_interleave(self.model.action_block, 1)

    def latents(self, video: Float[Tensor, "*batch look channel"]) -> Float[Tensor, "*batch look channel"]:
        return video

    def apart(
        self, video: Float[Tensor, "*batch look channel"], imagined: Float[Tensor, "*batch look channel"]
    ) -> Float[Tensor, "*batch look"]:
        return (imagined - video).square().mean(-1).sqrt() / self.usual


@dataclass(frozen=True)
class FailingModel:
    """`inner`, but NaN for every candidate whose first action is above `fails_above` in its first number."""

    inner: WorldModel
    fails_above: float

    @property
    def action_spec(self) -> ActionSpec:
        return self.inner.action_spec

    @property
    def action_block(self) -> int:
        return self.inner.action_block

    @property
    def cameras(self) -> tuple[str, ...]:
        return self.inner.cameras

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        return self.inner.believe(histories)

    def imagine(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        imagined = self.inner.imagine(belief, actions)
        fails = actions[:, :, 0, 0] > self.fails_above
        return Imagination(torch.where(fails[:, :, None, None], torch.nan, imagined.latents), imagined.disagreement)

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        return self.inner.poses(latents)


def point_problems(num_problems: int, distance: float, seed: int) -> tuple[Belief, Goal]:
    """Tools near the origin, and goals `distance` metres from each in random directions (all else as it is)."""
    generator = torch.Generator().manual_seed(seed)
    latents = 0.02 * torch.randn(num_problems, 8, generator=generator)
    direction = torch.randn(num_problems, 3, generator=generator)
    goals = latents.clone()
    goals[:, :3] += distance * direction / direction.norm(dim=-1, keepdim=True)
    return Belief(latents), Goal(goals)


@dataclass(frozen=True)
class PointMassInverse:
    """The exact policy of `PointMassModel`: straight to the goal as fast as the limits allow, or with noise of `std`."""

    model: WorldModel  # a `PointMassModel`, or what fails like one
    std: float = 0.3  # fraction of the limits

    def aims(self, goals: Float[Tensor, "row channel"]) -> Float[Tensor, "row aim"]:
        return goals

    def aside(
        self, latents: Float[Tensor, "row channel"], aims: Float[Tensor, "row aim"], moved: Float[Tensor, "row 2"]
    ) -> Float[Tensor, "row aim"]:
        return torch.cat([aims[:, :2] + moved.to(aims), aims[:, 2:]], -1)

    def aims_at(self, scene: ScenePose) -> Float[Tensor, "row aim"]:
        yaw = torch.atan2(scene.tool_yaw[:, 1], scene.tool_yaw[:, 0])
        return torch.cat([scene.tool_pos, yaw[:, None], scene.gripper[:, None], scene.object_pos[:, 0]], -1)

    def propose(
        self,
        latents: Float[Tensor, "row channel"],
        aims: Float[Tensor, "row aim"],
        chance: Float[Tensor, " row"],
        noise: Float[Tensor, "row block"],
    ) -> Float[Tensor, "row time action"]:
        limits = torch.as_tensor(self.model.action_spec.high)
        action = ((aims - latents)[:, :5] / self.model.action_block).clamp(-limits, limits)
        return action[:, None] + self.std * limits * noise.unflatten(1, (self.model.action_block, 5))

    def follow(
        self, here: Belief, aims: Float[Tensor, "row aim"], chance: Float[Tensor, " row"], noise: Float[Tensor, "row block"]
    ) -> tuple[Float[Tensor, "row time action"], Imagination]:
        actions = bounds_of(self.model.action_spec, here.latent).clip(self.propose(here.latent, aims, chance, noise))
        return actions, self.model.imagine(here, actions[:, None])


@dataclass(frozen=True)
class PointMassBridge:
    """The exact bridge of `PointMassModel`: an equal share of the way, within the limits or not; believes in half the limits' speed."""

    model: PointMassModel

    def next_block(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], num_blocks: Float[Tensor, " row"]
    ) -> Float[Tensor, "row block_action"]:
        action = (goals - latents)[:, :5] / (num_blocks[:, None] * self.model.action_block)
        return action.repeat(1, self.model.action_block)

    def num_blocks(self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"]) -> Float[Tensor, " row"]:
        limits = torch.as_tensor(self.model.action_spec.high)
        return (2.0 * (goals - latents)[:, :5].abs() / (limits * self.model.action_block)).amax(-1).clamp(min=1.0)
