"""Planners that do not plan: the do-nothing and random rows that belong beside every result."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Plan
from robo_dream.planning.candidates import HOLD, NOISE, Disagreement, Horizon, NoiseStreams
from robo_dream.planning.search import SearchPlanner
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


@dataclass(frozen=True)
class ZeroActionPlanner(SearchPlanner[ZeroActionConfig]):
    """Holds still, and imagines where that leads."""

    name = "zero_action"

    @torch.inference_mode()
    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`; only the belief matters."""
        search = self.begin(belief, goal, seeds, None, deadline, sample_budget=len(seeds))
        scored = search.score(search.of(search.held()[:, None], HOLD))
        search.end_iteration()
        return search.plan(scored, scored.best(1))


@dataclass(frozen=True)
class RandomPlanner(SearchPlanner[RandomConfig]):
    """Moves at random within the limits, and imagines where that leads."""

    name = "random"

    @torch.inference_mode()
    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`; only the seeds matter."""
        search = self.begin(belief, goal, seeds, None, deadline, sample_budget=len(seeds))
        bounds = search.bounds
        num_draws = math.ceil(search.num_steps / self.config.repeat)
        drawn = NoiseStreams(seeds, self.name, bounds.low).uniform(1, num_draws, len(bounds.low))
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
class PolicyAlonePlanner(SearchPlanner[PolicyAloneConfig]):
    """The first proposal of its one proposer, imagined once so that the record shows what was expected of it."""

    name = "policy_alone"

    def __post_init__(self) -> None:
        if len(self.proposers) != 1:
            raise ContractError(
                f"the policy_alone planner was given {len(self.proposers)} proposers {[p.name for p in self.proposers]}; "
                "give it exactly one"
            )

    @torch.inference_mode()
    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """See `Planner.plan`; `previous` and `deadline` change nothing."""
        search = self.begin(belief, goal, seeds, None, deadline, sample_budget=len(seeds))
        with search.watch.stage("propose"):
            proposal = search.proposed(self.proposers[0], 1)
        scored = search.score(proposal)
        search.end_iteration()
        return search.plan(scored, scored.best(1), self.config.unsure_above)
