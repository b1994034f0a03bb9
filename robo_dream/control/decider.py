"""One decision: from observations to a plan, its record, and whether it may be acted on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.control.loop_config import LoopConfig
from robo_dream.control.safety import belief_reasons
from robo_dream.embodiment import Observation
from robo_dream.imagination import Goal, ImaginationRecord, Plan, Planner, PlanStatus, WorldModel
from robo_dream.planning.record import record_of
from robo_dream.planning.warm_start import shift

_TRUSTED = (PlanStatus.OK, PlanStatus.OUT_OF_TIME)


@dataclass(frozen=True)
class Decided:
    """A plan as it was made, what is kept of it, and how long it took. `reasons` say why it must not be acted on."""

    plan: Plan
    record: ImaginationRecord
    seconds: float
    reasons: tuple[str, ...]

    @property
    def is_trusted(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Decider:
    """What every decision of an episode has in common."""

    model: WorldModel
    planner: Planner
    goal: Goal
    config: LoopConfig
    seed: int
    clock: Callable[[], float]  # of the planner

    def decide(
        self,
        observations: Sequence[Observation],
        step: int,
        previous: Plan | None,
        committed: Float[Tensor, "time action"] | None = None,
        start: int | None = None,
    ) -> Decided:
        """Plans from the newest observation, made at control step `step`.

        Where actions are `committed` (a whole number of action blocks, from the moment that the observation shows), the plan is for what
        they are imagined to lead to, at control step `start`. The model is doubted by what it sees, not by what it imagines.
        """
        began, observation = self.clock(), observations[-1]
        with torch.no_grad():
            belief = self.model.believe([observations[-self.config.history :]])
            seen = self.model.poses(belief.latent).tool_pos[0].cpu().numpy()
            if committed is not None and len(committed):
                belief = self.model.imagine(belief, committed.to(belief.latent)[None, None]).end()
        deadline = None if self.config.decision_seconds is None else began + self.config.decision_seconds
        plan = self.planner.plan(belief, self.goal, [_decision_seed(self.seed, step)], previous, deadline)
        doubts = belief_reasons(seen, observation.arm, self.config.limits)
        if doubts and plan.status[0] in _TRUSTED:
            plan = replace(plan, status=(PlanStatus.UNSURE,))
        status = plan.status[0]
        reasons = () if status in _TRUSTED else doubts or (f"{status}: {status.sentence}",)
        seconds = self.clock() - began
        at = step if start is None else start
        return Decided(plan, record_of(plan, 0, at, observation.time, belief, self.goal, previous, doubts), seconds, reasons)


def moved_on(plan: Plan, num_steps: int) -> Plan:
    """`plan` after `num_steps` more were executed than the one block by which planners shift a previous plan."""
    if num_steps == 0:
        return plan
    still = plan.actions.new_zeros(plan.actions.shape[-1])
    trace = replace(plan.trace, candidates=shift(plan.trace.candidates, num_steps, still))
    return replace(plan, actions=shift(plan.actions, num_steps, still), trace=trace)


def _decision_seed(seed: int, step: int) -> int:
    """Another seed for every (episode seed, control step)."""
    return (seed * 1_000_003 + step) & torch.iinfo(torch.int64).max
