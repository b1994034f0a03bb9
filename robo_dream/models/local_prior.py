"""A model's local goals as planners see them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import LocalGoal, WorldModel
from robo_dream.models.config import require_local_goals
from robo_dream.models.local_goals import LocalGoals
from robo_dream.models.world_model import LatentVideoModel


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


def with_local_goals(model: LatentVideoModel, ahead: Sequence[int], seed: int = 0) -> LatentVideoModel:
    """A copy of `model` with untrained local goals so many control steps ahead; all other weights are as they are.

    Raises `ConfigError` for steps that are no growing multiples of the action block.
    """
    steps = require_local_goals(tuple(ahead), model.action_block)
    made = LatentVideoModel(replace(model.spec, local_goals=steps), seed, model.imagine_rows).to(model.device)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("local_goals.")}
    made.load_state_dict({**made.state_dict(), **kept})
    return made.train(model.training)
