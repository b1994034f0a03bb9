"""An inverse model that is asked for the object alone, wherever the goal's picture shows the hand."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.models.inverse import ActionMixture
from robo_dream.models.pose_head import GRIPPER, OBJECT_POS, TOOL_POS, TOOL_TURN, PoseHead
from robo_dream.models.pose_inverse import PoseInverse
from robo_dream.models.world_model import LatentVideoModel

RETREAT = 0.07  # m above the object's middle


@dataclass(frozen=True)
class ObjectGoal:
    """Suggestions for bringing the object to where the goal shows it, after which the hand opens and rises.

    A goal's picture shows a hand somewhere, and who wants the object there seldom wants the hand there too. An inverse model
    takes it so: where the hand is at its goal and the object is not, it waits. Raises `ContractError` for one that sees latents.
    """

    seer: LatentVideoModel | PoseInverse

    def __post_init__(self) -> None:
        if self.seer.spec.config.inverse_sees != "poses":
            raise ContractError(
                "the inverse model of this checkpoint sees latents, in which hand and object cannot be told apart; "
                "set proposals.hand=as_shown, or train with model.inverse_sees=poses"
            )

    def next_actions(self, latents: Float[Tensor, "batch channel"], goals: Float[Tensor, "batch channel"]) -> ActionMixture:
        """See `LatentVideoModel.next_actions`."""
        return ActionMixture(*self.seer.run(self._next_numbers, latents, goals))

    def _next_numbers(self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"]) -> tuple[Tensor, Tensor, Tensor]:
        here, there = self.seer.seen(latents), self.seer.seen(goals)
        return self.seer.inverse.numbers(here, hand_above(self.seer.pose_head, here, there))

    def block_actions(self, blocks: Float[Tensor, "*batch block"]) -> Float[Tensor, "*batch time action"]:
        """See `LatentVideoModel.block_actions`."""
        return self.seer.block_actions(blocks)


def hand_above(head: PoseHead, here: Float[Tensor, "*batch pose"], goals: Float[Tensor, "*batch pose"]) -> Float[Tensor, "*batch pose"]:
    """Normalised `goals` with the hand open above the object, turned as it is `here`."""
    poses = goals.float() * head.std + head.mean
    poses[..., TOOL_POS] = poses[..., OBJECT_POS] + poses.new_tensor([0.0, 0.0, RETREAT])
    poses[..., GRIPPER] = 0.0
    wanted = head.normalise(poses)
    wanted[..., TOOL_TURN] = here[..., TOOL_TURN].to(wanted)
    return wanted
