"""An inverse model that is told poses by another world model: what it suggests when true physics does the imagining."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import WorldModel
from robo_dream.models.config import ModelSpec
from robo_dream.models.inverse import ActionMixture, InverseModel
from robo_dream.models.pose_head import PoseHead
from robo_dream.models.rows import RowRunner, plainly
from robo_dream.models.world_model import LatentVideoModel


@dataclass(frozen=True)
class PoseInverse:
    """The suggestions of `model`, whose eyes are `world`: latents are those of `world`, and only their poses are used.

    Raises `ContractError` for a model whose inverse model sees latents, which only its own encoder makes.
    """

    model: LatentVideoModel
    world: WorldModel

    def __post_init__(self) -> None:
        if self.model.spec.config.inverse_sees != "poses":
            raise ContractError("the inverse model of this checkpoint sees latents, not poses; nobody else can be its eyes")

    @property
    def spec(self) -> ModelSpec:
        return self.model.spec

    @property
    def pose_head(self) -> PoseHead:
        return self.model.pose_head

    @property
    def inverse(self) -> InverseModel:
        return self.model.inverse

    @property
    def run(self) -> RowRunner:
        """As they are: the eyes are not made of tensors alone."""
        return plainly

    def next_actions(self, latents: Float[Tensor, "batch channel"], goals: Float[Tensor, "batch channel"]) -> ActionMixture:
        """See `LatentVideoModel.next_actions`."""
        return self.inverse(self.seen(latents), self.seen(goals))

    def seen(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch pose"]:
        """See `LatentVideoModel.seen`."""
        return self.pose_head.normal_of(self.world.poses(latents))

    def block_actions(self, blocks: Float[Tensor, "*batch block"]) -> Float[Tensor, "*batch time action"]:
        """See `LatentVideoModel.block_actions`."""
        return self.model.block_actions(blocks)
