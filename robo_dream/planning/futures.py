"""Several futures in planning: what chance may bring is drawn once a decision, and candidates are judged by what it makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from robo_dream.imagination import Belief, Chance, Cost, Goal, Imagination, Plan, Planner, StepCosts, WorldModel, finite_or_inf
from robo_dream.planning.candidates import generator_of
from robo_dream.planning.scoring import RiskConfig
from robo_dream.schema import configuration


@configuration
class FuturesConfig:
    """Into how many futures each candidate is imagined, how freely they are drawn, and how it is judged by them.

    A `temperature` of 1 draws outcomes as often as the model holds them likely, 0 always the likeliest, more makes rare ones common.
    """

    count: Annotated[int, Field(ge=1, le=1024)] = 16
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    risk: RiskConfig = field(default_factory=lambda: RiskConfig("mean"))

    def chance(self, seeds: Sequence[int], horizon: int, like: Float[Tensor, "batch channel"]) -> Chance:
        """The draws of each problem, by its own seed alone.

        At every imagined step they lie one in each of `count` equal parts of [0, 1), in another order at each (Latin hypercube: McKay,
        Beckman and Conover 1979): so a few futures show what is likely as often as it is.
        """
        drawn = [_even(self.count, horizon, generator_of(seed, "futures")) for seed in seeds]
        return Chance(torch.stack(drawn).to(like), self.temperature)


def _even(count: int, horizon: int, generator: torch.Generator) -> Float[Tensor, "future horizon"]:
    parts = torch.stack([torch.randperm(count, generator=generator) for _ in range(horizon)], 1)
    return ((parts + torch.rand(count, horizon, generator=generator)) / count).clamp(max=1 - 1e-6)


@dataclass(frozen=True)
class FuturesCost:
    """`cost` of several futures, weighed by `risk`. Of one future alone it is the plain cost.

    Terms are the mean of those of the futures that count (all, the worst, or the worst share), so that they sum to the total.
    """

    cost: Cost
    risk: RiskConfig

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        if imagination.futures is None:
            return self.cost(imagination, goal)
        each = [self.cost(Imagination(latents, imagination.disagreement), goal) for latents in imagination.futures]
        totals = torch.stack([one.total for one in each])
        counted = self.risk.counted(totals)
        terms = {name: torch.where(counted[..., None], torch.stack([one.terms[name] for one in each]), 0.0) for name in each[0].terms}
        num_counted = counted.sum(0)[..., None]
        return StepCosts({name: term.sum(0) / num_counted for name, term in terms.items()}, self.risk.of(totals))


@dataclass(frozen=True)
class FuturesPlanner:
    """`planner`, which is told what chance brings in the futures of each decision; its `cost` is that of one future."""

    planner: Planner
    model: WorldModel
    cost: Cost
    config: FuturesConfig
    horizon: int

    @property
    def name(self) -> str:
        return self.planner.name

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`. The plan says where its actions may lead, and what each future costs."""
        if len(seeds) != len(belief.latent):
            return self.planner.plan(belief, goal, seeds, previous, deadline)  # which says what is wrong
        drawn = replace(belief, chance=self.config.chance(seeds, self.horizon, belief.latent))
        plan = self.planner.plan(drawn, goal, seeds, previous, deadline)
        with torch.inference_mode():
            futures = self.model.imagine(drawn, plan.actions.to(belief.latent)[:, None]).futures
            assert futures is not None  # `build_planner` saw to it
            beside = torch.zeros_like(futures[..., 0])  # what the model does not know is the same in all of them
            totals = torch.stack([self.cost(Imagination(one, none), goal).total[:, 0] for one, none in zip(futures, beside, strict=True)])
        return replace(plan, futures=futures[:, :, 0].transpose(0, 1), future_totals=finite_or_inf(totals.T)[0])
