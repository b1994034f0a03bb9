"""Local goals in planning: what is compared with imagined futures of the next half second, and whom it is asked of.

LeWM++ scores candidates by a target a few steps ahead on the way to the final goal, which a generative model proposes, so that planner and
policy agree on what comes next. Each decision asks for its own, from its own seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Imagination, LocalGoal, StepCosts
from robo_dream.planning.candidates import NoiseStreams
from robo_dream.schema import Unit, configuration


@configuration
class LocalGoalConfig:
    """How local goals count in a cost.

    A future costs how far it is from the local goal, in the standard deviations that the model expects of it (root mean square over all
    numbers): 1 is as far off as is usual. It is compared at the very time of the local goal, or where it comes nearest.
    """

    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    steps: Annotated[int, Field(ge=1, le=1000), Unit("control steps")] = 10  # how far ahead; one of those that the checkpoint learned
    at: Literal["its_time", "nearest"] = "its_time"  # nearest: minimum over the horizon
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0  # 0: the likeliest; above, one is drawn, its spread scaled by this


@runtime_checkable
class LocalGoalModel(Protocol):
    """Tells where things will be shortly, on the way to a goal."""

    @property
    def num_numbers(self) -> int:
        """How many random numbers a local goal takes."""
        ...

    def seen(self, latents: Float[Tensor, "*batch channel"], /) -> Float[Tensor, "*batch number"]:
        """What local goals are compared with."""
        ...

    def soon(
        self,
        latents: Float[Tensor, "batch channel"],
        goals: Float[Tensor, "batch channel"],
        chance: Float[Tensor, " batch"],
        noise: Float[Tensor, "batch moved"],
        steps: int,
        /,
    ) -> LocalGoal:
        """`steps` control steps ahead; `chance` in [0, 1) chooses among several ways, `noise` goes off it; 0 and 0 are the likeliest."""
        ...


@dataclass(frozen=True)
class LocalAim:
    """Gives a decision its local goal."""

    model: LocalGoalModel
    config: LocalGoalConfig

    def of(self, belief: Belief, goal: Goal, seeds: Sequence[int]) -> Goal:
        """`goal` with the local goal of each problem, drawn from its seed alone."""
        chance, noise = belief.latent.new_zeros(len(seeds)), belief.latent.new_zeros(len(seeds), self.model.num_numbers)
        if self.config.temperature > 0:
            streams = NoiseStreams(seeds, "local_goal", belief.latent)
            chance = 0.5 * (streams.uniform(1, 1, 1)[:, 0, 0, 0] + 1.0)
            noise = self.config.temperature * streams.normal(1, 1, self.model.num_numbers)[:, 0, 0]
        return replace(goal, local=self.model.soon(belief.latent, goal.latent, chance, noise, self.config.steps))


@dataclass(frozen=True)
class LocalGoalCost:
    """How many standard deviations a future is off the local goal: at its time, or where it comes nearest; all else costs nothing."""

    model: LocalGoalModel
    config: LocalGoalConfig
    action_block: int

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        """Raises `ContractError` for a goal without a local one, and for futures that end before its time."""
        if goal.local is None:
            raise ContractError("the cost compares with a local goal, and this goal has none; let the planner of build_planner ask for it")
        if self.config.at == "nearest":
            apart = self._apart(imagination.latents, goal.local)
            nearest = apart.argmin(dim=-1, keepdim=True)  # NaN, if there is any
            terms = torch.zeros_like(apart).scatter(-1, nearest, apart.gather(-1, nearest))
        else:
            place, horizon = self.config.steps // self.action_block - 1, imagination.latents.shape[2]
            if place >= horizon:
                raise ContractError(
                    f"the local goal is {self.config.steps} control steps ahead, and futures end after {horizon * self.action_block}"
                )
            apart = self._apart(imagination.latents[:, :, place : place + 1], goal.local)
            terms = nn.functional.pad(apart, (place, horizon - place - 1))
        return StepCosts({"local_goal": terms}, terms.sum(dim=-1))

    def _apart(self, latents: Float[Tensor, "batch sample horizon channel"], local: LocalGoal) -> Float[Tensor, "batch sample horizon"]:
        off = (self.model.seen(latents) - local.numbers[:, None, None]) / local.stds[:, None, None]
        return off.square().mean(dim=-1).sqrt()
