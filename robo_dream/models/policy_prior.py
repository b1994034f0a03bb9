"""What the policy would do next, and where that is imagined to lead: one function of rows, so that it compiles as one; and local goals."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Imagination, LocalGoal, ScenePose, WorldModel
from robo_dream.models.heads import GRIPPER, OBJECT_POS, OBJECT_START, TOOL_POS, TOOL_YAW, PoseHead, objects
from robo_dream.models.policy import ActionMixture, LocalGoals
from robo_dream.models.video import VideoFlow, VideoPrompt
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.overlay import with_strip

GripperGoal = Literal["as_shown", "above_object"]
ReadFrom = Literal["latents", "strip"]
RETREAT = 0.07  # m above the object's middle


@dataclass(frozen=True)
class PolicyPrior:
    """Proposals of `model`'s policy for what `world` believes and imagines: the model itself, or true physics, which tells poses.

    A goal's picture shows a gripper somewhere, and who wants the object there seldom wants the gripper there too. A policy takes it
    so: where the gripper is at its goal and the object is not, it waits. `gripper_goal="above_object"` asks for bringing the object to
    where the goal shows it, after which the gripper opens and rises. Raises `ContractError` for what a policy that sees latents cannot do.
    """

    model: LatentVideoModel
    world: WorldModel
    gripper_goal: GripperGoal = "as_shown"

    def __post_init__(self) -> None:
        if self.model.spec.config.policy_input == "poses":
            return
        if self.gripper_goal == "above_object":
            raise ContractError(
                "the policy of this checkpoint sees latents, in which gripper and object cannot be told apart; "
                "set proposals.gripper_goal=as_shown, or train with model.policy_input=poses"
            )
        if self.world is not self.model:
            raise ContractError("the policy of this checkpoint sees latents, not poses; no other encoder can stand in for its own")

    def aims(self, goals: Float[Tensor, "row channel"]) -> Float[Tensor, "row aim"]:
        """What the policy sees of goals; worked out once, as they stay."""
        return self._seen(goals)

    def aside(
        self, latents: Float[Tensor, "row channel"], aims: Float[Tensor, "row aim"], moved: Float[Tensor, "row 2"]
    ) -> Float[Tensor, "row aim"]:
        """`aims` with the goal of the object that is farthest from its own moved aside, level, by `moved` metres."""
        if self.model.spec.config.policy_input != "poses":
            raise ContractError(
                "the policy of this checkpoint sees latents, in which no goal of an object can be moved; set proposals.goal_std=0"
            )
        head = self.model.pose_head
        poses = aims.float() * head.std + head.mean
        _, farthest = _farthest(head, self._seen(latents), poses)
        things = objects(poses).clone()
        here = farthest.expand(-1, -1, things.shape[-1])
        aimed = things.take_along_dim(here, -2)
        aimed[..., 0, :2] += moved.to(aimed)
        return head.normalise(torch.cat([poses[..., :OBJECT_START], things.scatter(-2, here, aimed).flatten(-2)], -1)).to(aims)

    def aims_at(self, scene: ScenePose) -> Float[Tensor, "row aim"]:
        """What a policy that sees poses has to know of a goal of which these are given."""
        if self.model.spec.config.policy_input != "poses":
            raise ContractError(
                "the policy of this checkpoint sees latents, not poses, so it cannot be given a next move; set proposals.moves=null"
            )
        return self.model.pose_head.normal_of(scene)

    def propose(
        self,
        latents: Float[Tensor, "row channel"],
        aims: Float[Tensor, "row aim"],
        chance: Float[Tensor, " row"],
        noise: Float[Tensor, "row block"],
    ) -> Float[Tensor, "row time action"]:
        """The next action block in physical units, within the limits; `chance` and `noise` as in `ActionMixture.pick`."""
        return self.model.block_actions(self._picked(self._seen(latents), aims, chance, noise))

    def follow(
        self, here: Belief, aims: Float[Tensor, "row aim"], chance: Float[Tensor, " row"], noise: Float[Tensor, "row block"]
    ) -> tuple[Float[Tensor, "row time action"], Imagination]:
        """See `propose`; and what the block is imagined to lead to, each row a problem with one candidate."""
        if self.world is not self.model:
            actions = self.propose(here.latent, aims, chance, noise)
            return actions, self.world.imagine(here, actions[:, None])
        uncertainty = here.latent.new_zeros(len(here.latent)) if here.disagreement is None else here.disagreement
        remembered = () if here.memory is None else (here.memory,)
        blocks, latents, spread = self.model.run(self._step, here.latent, uncertainty, aims, chance, noise, *remembered)
        return self.model.block_actions(blocks), Imagination(latents[:, None], spread[:, None], here.memory)

    def _step(
        self, latents: Tensor, uncertainty: Tensor, aims: Tensor, chance: Tensor, noise: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        blocks = self._picked(self.model.seen(latents), aims, chance, noise)
        return blocks, *self.model.dynamics.imagine(latents, blocks[:, None], uncertainty, memory)

    def _picked(self, seen: Tensor, aims: Tensor, chance: Tensor, noise: Tensor) -> Tensor:
        desired = gripper_above(self.model.pose_head, seen, aims) if self.gripper_goal == "above_object" else aims
        return ActionMixture(*self.model.policy.numbers(seen, desired)).pick(chance, noise).clamp(-1.0, 1.0)

    def _seen(self, latents: Tensor) -> Tensor:
        return self.model.seen(latents) if self.world is self.model else self.model.pose_head.normal_of(self.world.poses(latents))


@dataclass(frozen=True)
class LocalPrior:
    """Local goals of `model` for what `world` believes and imagines: the model itself, or true physics, which tells poses.

    Raises `ContractError` for a model that has learned none, and for physics beside a model whose policy does not go by poses.
    """

    model: LatentVideoModel
    world: WorldModel

    def __post_init__(self) -> None:
        if self.model.local_goals is None:
            raise ContractError("this checkpoint has learned no local goals; train them with stage=local_goals init=CHECKPOINT")
        if self.world is not self.model and self.model.spec.config.policy_input != "poses":
            raise ContractError("local goals of this checkpoint are of latents, not poses; no other encoder can stand in for its own")

    @property
    def num_numbers(self) -> int:
        """How many random numbers a local goal takes."""
        return self._learned.size

    def seen(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch number"]:
        """What local goals are compared with."""
        return self.model.seen(latents) if self.world is self.model else self.model.pose_head.normal_of(self.world.poses(latents))

    def soon(
        self,
        latents: Float[Tensor, "batch channel"],
        goals: Float[Tensor, "batch channel"],
        chance: Float[Tensor, " batch"],
        noise: Float[Tensor, "batch moved"],
        steps: int,
    ) -> LocalGoal:
        """Where things will be `steps` control steps ahead on the way from `latents` to `goals`; see `LocalGoals.pick`."""
        return self._learned.pick(self.seen(latents), self.seen(goals), chance, noise, steps)

    @property
    def _learned(self) -> LocalGoals:
        assert self.model.local_goals is not None
        return self.model.local_goals


@dataclass(frozen=True)
class VideoPrior:
    """Videos that `model` imagines, and what was done in them, read off neighbouring latents by its `InverseDynamics`.

    That one reads whole latents, in which proprioception tells of turns and of the gripper; an `ActionLabeller` reads latents of pictures
    alone, and a video is told in whole ones. With `read` "strip" they are read off the strips of commands that the video draws.

    Raises `ContractError` for a model that has learned none, or none with strips.
    """

    model: LatentVideoModel
    flow_steps: int = 8
    guidance: float = 1.0
    read: ReadFrom = "latents"

    def __post_init__(self) -> None:
        if self.model.video is None:
            raise ContractError("this checkpoint has learned no video; add it with stage=video init=CHECKPOINT 'training.video={}'")
        if self.read == "strip" and not self._flow.size.strip:
            raise ContractError(
                "actions are to be read off a strip of commands, and the pictures that this checkpoint's video was learned from have none; "
                "read latents, or learn it from pictures that were collected with overlay={}"
            )

    @property
    def num_looks(self) -> int:
        """Of a video, each an action block after the one before."""
        return self._flow.size.steps

    @property
    def num_numbers(self) -> int:
        """How many random numbers a look takes."""
        return self._flow.size.numbers + self._flow.size.strip

    @torch.no_grad()
    def imagined(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], noise: Float[Tensor, "row look number"]
    ) -> Float[Tensor, "row look seen"]:
        """How the video goes on from `latents` towards `goals`; standard normal `noise` says which of several."""
        (found,) = self.model.run(self._path, latents, goals, noise)
        return found

    @torch.no_grad()
    def actions(self, latents: Float[Tensor, "row channel"], video: Float[Tensor, "row look seen"]) -> Float[Tensor, "row time action"]:
        """What leads from look to look, in physical units and within the limits."""
        if self.read == "strip":
            return self.model.block_actions(self._flow.commands(video)).flatten(1, 2)
        video = self.latents(video)
        before = torch.cat([latents[:, None], video[:, :-1]], 1)
        return self.model.block_actions(self.model.inverse_dynamics(before, video)).flatten(1, 2)

    def latents(self, video: Float[Tensor, "*batch look seen"]) -> Float[Tensor, "*batch look channel"]:
        """Of the looks of a video, without strips."""
        return video[..., : self.model.spec.config.latent]

    def drawn(self, video: Float[Tensor, "row look seen"]) -> dict[str, UInt8[np.ndarray, "row look height width 3"]]:
        """Pictures of every camera; the first one's with the strip of commands below, where there is one."""
        pictures = {name: view.cpu().numpy() for name, view in self.model.decode(self.latents(video)).items()}
        if self._flow.size.strip:
            first = self.model.cameras[0]
            pictures[first] = with_strip(pictures[first], self._flow.strips(video).cpu().numpy())
        return pictures

    def apart(
        self, video: Float[Tensor, "*batch look channel"], imagined: Float[Tensor, "*batch look channel"]
    ) -> Float[Tensor, "*batch look"]:
        """How far the looks of a video are from what its actions are imagined to lead to: 1 is as far as 19 of 20 usually are at most."""
        return (imagined - video).square().mean(-1).sqrt() / self._flow.usual[: video.shape[-2]]

    def _path(self, latents: Tensor, goals: Tensor, noise: Tensor) -> tuple[Tensor]:
        led = torch.ones_like(latents[:, 0], dtype=torch.bool)
        return (self._flow.path(noise, VideoPrompt(latents, goals, led), self.flow_steps, self.guidance),)

    @property
    def _flow(self) -> VideoFlow:
        assert self.model.video is not None
        return self.model.video


def gripper_above(head: PoseHead, here: Float[Tensor, "*batch pose"], goals: Float[Tensor, "*batch pose"]) -> Float[Tensor, "*batch pose"]:
    """Normalised `goals` with the gripper open above the object, turned as it is `here`; of several, the object farthest from its goal."""
    poses = goals.float() * head.std + head.mean
    wanted_pos, farthest = _farthest(head, here, poses)
    up = nn.functional.pad(poses.new_full((1,), RETREAT), (2, 0))  # made on the device: numbers of Python would be waited for
    raised = wanted_pos.take_along_dim(farthest, -2).squeeze(-2) + up
    is_open = torch.zeros_like(poses[..., GRIPPER : GRIPPER + 1])
    desired = head.normalise(torch.cat([raised, poses[..., TOOL_YAW], is_open, poses[..., GRIPPER + 1 :]], -1))
    return torch.cat([desired[..., TOOL_POS], here[..., TOOL_YAW].to(desired), desired[..., GRIPPER:]], -1)


def _farthest(
    head: PoseHead, here: Float[Tensor, "*batch pose"], poses: Float[Tensor, "*batch pose"]
) -> tuple[Float[Tensor, "*batch object 3"], Int[Tensor, "*batch 1 1"]]:
    """Where the objects of `poses` are, in metres, and which of them is farthest from where it is in normalised `here`."""
    seen, goal_pos = (objects(numbers)[..., OBJECT_POS] for numbers in (here.float() * head.std + head.mean, poses))
    return goal_pos, (goal_pos - seen).norm(dim=-1, keepdim=True).argmax(-2, keepdim=True)


def on_the_way(
    starts: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*batch channel"], fractions: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch channel"]:
    """The point at each fraction of the line from start (0) to goal (1)."""
    return torch.lerp(starts, goals, fractions[..., None].to(starts))


def bridge_points(
    starts: Float[Tensor, "batch channel"], goals: Float[Tensor, "batch channel"], num_blocks: int
) -> Float[Tensor, "batch point channel"]:
    """`num_blocks` + 1 evenly spaced points, both ends among them; the model's `decode` draws them like any rollout."""
    fractions = torch.linspace(0.0, 1.0, num_blocks + 1, device=starts.device).expand(len(starts), -1)
    shape = (len(starts), num_blocks + 1, starts.shape[-1])
    return on_the_way(starts[:, None].expand(shape), goals[:, None].expand(shape), fractions)


@dataclass(frozen=True)
class Bridge:
    """Actions off a bridge of any length, in physical units (RWM, arXiv 2609.29171).

    They are read by the model's `InverseDynamics`, which is trained on points of bridges as on real neighbours: a bridge of one
    block is a pair of neighbours. Points and actions change smoothly with the number of blocks, which need not be whole.
    """

    model: LatentVideoModel

    def next_block(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], num_blocks: Float[Tensor, " row"]
    ) -> Float[Tensor, "row block_action"]:
        """The first block of a bridge that reaches the goal in `num_blocks` (at least 1) action blocks."""
        following = on_the_way(latents, goals, 1.0 / num_blocks)
        return self.model.block_actions(self.model.inverse_dynamics(latents, following)).flatten(1)

    def num_blocks(self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"]) -> Float[Tensor, " row"]:
        """How many action blocks away the model's temporal distance takes the goal to be, at least 1."""
        return (self.model.distance(latents, goals) / self.model.action_block).clamp(min=1.0)
