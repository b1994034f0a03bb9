"""Planners that hardly plan, whose rows belong beside every result: doing nothing, random, the policy alone and its best of N.

The best of N is how much imagination is worth when it may only choose among what the policy would do anyway.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from robo_dream.errors import ContractError
from robo_dream.imagination import Plan
from robo_dream.planning.candidates import HOLD, NOISE, Count, Disagreement, Horizon, SampleBudget
from robo_dream.planning.search import Config, PlannerBase, Search, SearchPlanner
from robo_dream.schema import configuration


@configuration
class ZeroActionConfig:
    kind: Literal["zero_action"] = "zero_action"
    horizon: Horizon = 5  # imagined steps, for the record


@configuration
class RandomConfig:
    """Uniform actions; each is repeated `repeat` control steps, since white noise at 10 Hz goes nowhere and flatters the others."""

    kind: Literal["random"] = "random"
    horizon: Horizon = 5  # imagined steps, for the record
    repeat: Annotated[int, Field(ge=1, le=1000)] = 5


class OneFuturePlanner(PlannerBase[Config]):
    """Imagines one future for each problem, whatever was planned before."""

    is_warm_started = False

    @property
    def sample_budget(self) -> int:
        return 1


@dataclass(frozen=True)
class ZeroActionPlanner(OneFuturePlanner[ZeroActionConfig]):
    """Holds still, and imagines where that leads."""

    name = "zero_action"

    def search(self, search: Search) -> Plan:
        scored = search.score(search.of(search.held()[:, None], HOLD))
        search.end_iteration()
        return search.plan(scored, scored.best(1))


@dataclass(frozen=True)
class RandomPlanner(OneFuturePlanner[RandomConfig]):
    """Moves at random within the limits, and imagines where that leads."""

    name = "random"

    def search(self, search: Search) -> Plan:
        bounds = search.bounds
        num_draws = math.ceil(search.num_steps / self.config.repeat)
        drawn = search.uniform(1, num_draws)
        drawn = drawn.repeat_interleave(self.config.repeat, dim=2)[:, :, : search.num_steps]
        actions = bounds.clip((bounds.high + bounds.low) / 2 + bounds.half_range * drawn)
        scored = search.score(search.of(actions, NOISE))
        search.end_iteration()
        return search.plan(scored, scored.best(1))


@configuration
class PolicyAloneConfig:
    """One proposal; whether it is the most likely or a sampled one is the proposer's setting."""

    kind: Literal["policy_alone"] = "policy_alone"
    horizon: Horizon = 5  # imagined steps, for the record; only the proposer decides
    unsure_above: Disagreement = math.inf  # disagreement of the proposal beyond which its status is UNSURE


@dataclass(frozen=True)
class PolicyAlonePlanner(OneFuturePlanner[PolicyAloneConfig]):
    """The first proposal of its one proposer, imagined once so that the record shows what was expected of it."""

    name = "policy_alone"

    def __post_init__(self) -> None:
        if len(self.proposers) != 1:
            raise ContractError(
                f"the policy_alone planner was given {len(self.proposers)} proposers {[p.name for p in self.proposers]}; "
                "give it exactly one"
            )

    def search(self, search: Search) -> Plan:
        with search.watch.stage("propose"):
            proposal = search.proposed(self.proposers[0], 1)
        scored = search.score(proposal)
        search.end_iteration()
        return search.plan(scored, scored.best(1), self.config.unsure_above)


@configuration
class BestOfConfig:
    """`num_samples` proposals of one proposer: the likeliest and drawn ones. No noise, no previous plan, no second iteration."""

    kind: Literal["best_of"] = "best_of"
    horizon: Horizon = 5  # imagined steps
    num_samples: Count = 32  # 1 is the policy alone
    sample_budget: SampleBudget = 8192  # rollouts scored at once
    unsure_above: Disagreement = math.inf  # disagreement of the chosen plan beyond which its status is UNSURE


@dataclass(frozen=True)
class BestOfPlanner(SearchPlanner[BestOfConfig]):
    """Executes the proposal that is imagined to end best; of equals the earlier, and the likeliest is the first."""

    name = "best_of"
    is_warm_started = False

    def __post_init__(self) -> None:
        if len(self.proposers) != 1:
            raise ContractError(
                f"the best_of planner was given {len(self.proposers)} proposers {[p.name for p in self.proposers]}; give it exactly one"
            )

    def search(self, search: Search) -> Plan:
        with search.watch.stage("propose"):
            proposals = search.proposed(self.proposers[0], self.config.num_samples)
        scored = search.score(proposals)
        search.end_iteration()
        return search.plan(scored, scored.best(min(8, self.config.num_samples)), self.config.unsure_above)
