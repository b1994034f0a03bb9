"""The policy's best of N: how much imagination is worth when it may only choose among what the policy would do anyway."""

import math
from dataclasses import dataclass
from typing import Literal

from robo_dream.errors import ContractError
from robo_dream.imagination import Plan
from robo_dream.planning.candidates import Count, Disagreement, Horizon, SampleBudget
from robo_dream.planning.search import Search, SearchPlanner
from robo_dream.schema import configuration


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
