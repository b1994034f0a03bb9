"""Where things will be shortly, on the way to a goal: what a planner can hold its next half second against."""

from jaxtyping import Float
from torch import Tensor

from robo_dream.imagination import LocalGoal
from robo_dream.models.config import ModelSpec
from robo_dream.models.policy import GoalConditionedMixture


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
