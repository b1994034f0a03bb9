"""A recorded decision made again: what the planner was asked, asked once more, and how the two answers compare."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from robo_dream.control.decision import decision_of
from robo_dream.errors import DataError
from robo_dream.imagination import Belief, Goal, Plan, Planner, PlanStatus, SearchTrace
from robo_dream.models.perception_check import Perception
from robo_dream.planning.candidates import Bounds
from robo_dream.planning.search import DEADLINE, RecordedClock
from robo_dream.recording.decision import Decision

TOLERANCE = 1e-3  # of the largest number of a plan, between machines: float32 sums in another order, through some hundred layers
_NOT_COMPARED = (
    *("time", "seconds", "planner", "seed", "step", "unsure_reasons", "status", "together"),
    *("belief_disagreement", "belief_unseen", "perception", "perception_residuals"),
)


@dataclass(frozen=True)
class Question:
    """What a planner is asked: one problem, on one device."""

    belief: Belief
    goal: Goal
    seed: int
    previous: Plan | None


@dataclass(frozen=True)
class Comparison:
    """A recorded decision beside the one made again. `differing` names what is not equal to the bit, as `Decision` calls it."""

    step: int
    differing: tuple[str, ...]
    error: float  # largest difference of the chosen actions and of what they lead to, by the largest number of each; inf: not comparable
    together: int = 1  # problems of the search that made the recorded one

    @property
    def exact(self) -> bool:
        return not self.differing

    @property
    def close(self) -> bool:
        """Within `TOLERANCE`: the same plan, for who has other hardware."""
        return self.error <= TOLERANCE


def question_of(decision: Decision, device: torch.device | str = "cpu") -> Question:
    """What the planner was asked at `decision`. Raises `DataError` for a record that does not say what warm-started it."""
    if decision.elites is None:
        raise DataError(
            f"the decision of control step {decision.step} was recorded before warm starts were kept, so it cannot be made again; "
            "record the run once more with this release"
        )

    def batch(array: np.ndarray | None) -> Tensor | None:
        return None if array is None else torch.tensor(array, device=device)[None]

    latent, goal = batch(decision.belief), batch(decision.goal)
    assert latent is not None and goal is not None
    actions, elites = batch(decision.previous), batch(decision.previous_elites)
    previous = None if actions is None or elites is None else plan_of(actions, elites, decision.planner)
    gathered = None if decision.belief_disagreement is None else batch(np.asarray(decision.belief_disagreement, np.float32))
    given = Goal(goal, batch(decision.goal_object_pos), batch(decision.goal_tool_pos))
    return Question(Belief(latent, gathered, batch(decision.memory)), given, decision.seed, previous)


def recomputed(build: Callable[[Callable[[], float]], Planner], decision: Decision, device: torch.device | str = "cpu") -> Plan:
    """The plan of `decision`, made again by the planner that `build` makes with a clock; cut where a deadline cut it."""
    question = question_of(decision, device)
    planner = build(RecordedClock(decision.late_readings))
    return answer(planner, question, DEADLINE if decision.late_readings else None)


def answer(planner: Planner, question: Question, deadline: float | None = None) -> Plan:
    """What `planner` says to `question`."""
    return planner.plan(question.belief, question.goal, [question.seed], question.previous, deadline)


def compared(decision: Decision, plan: Plan, question: Question, perception: Perception | None = None) -> Comparison:
    """Every number of `decision` against those of `plan`, which answers `question`, and against the `perception` of its pictures."""
    made = decision_of(plan, 0, decision.step, decision.time, question.belief, question.goal, question.previous)
    differing = [] if decision.status == _status(plan, decision) else ["status"]
    names = [field.name for field in fields(Decision) if field.name not in (*_NOT_COMPARED, "terms")]
    differing += [name for name in names if not _equal(getattr(decision, name), getattr(made, name))]
    names = sorted({*decision.terms, *made.terms})
    differing += [f"term {name}" for name in names if not _equal(decision.terms.get(name), made.terms.get(name))]
    if perception is not None:
        seen = {"perception": perception.usual, "perception_residuals": perception.residuals}
        differing += [name for name, value in seen.items() if not _equal(getattr(decision, name), value)]
    error = max(_error(decision, made, name) for name in ("actions", "latents"))
    return Comparison(decision.step, tuple(differing), error, decision.together)


def fitted(previous: Plan | None, num_steps: int, bounds: Bounds) -> Plan | None:
    """`previous` for a search over another horizon: cut, or held still at its end."""
    if previous is None or previous.actions.shape[1] == num_steps:
        return previous

    def fit(actions: Tensor) -> Tensor:
        return torch.cat([actions, bounds.hold.expand(*actions.shape[:-2], num_steps, -1)], dim=-2)[..., :num_steps, :]

    return plan_of(fit(previous.actions), fit(previous.trace.candidates), previous.planner)


def plan_of(actions: Tensor, elites: Tensor, planner: str) -> Plan:
    """A plan as far as the next search reads it: its actions, and its elites in order."""
    num_problems, num_elites = elites.shape[:2]
    nothing = actions.new_zeros(num_problems, num_elites, 0)
    order = torch.arange(num_elites, device=actions.device).expand(num_problems, -1)
    none = actions.new_zeros(num_problems, 0)
    count = torch.zeros(num_problems, dtype=torch.int64, device=actions.device)
    trace = SearchTrace(elites, nothing[..., None], nothing, {}, nothing.sum(-1), order, order, (), none, count)
    return Plan(planner, actions, none[..., None], nothing.sum((1, 2)), (PlanStatus.OK,) * num_problems, (0,) * num_problems, trace)


def _status(plan: Plan, decision: Decision) -> PlanStatus:
    """The plan's status as the loop notes it: what it is unsure of is not trusted."""
    status = plan.status[0]
    return PlanStatus.UNSURE if decision.unsure_reasons and status in (PlanStatus.OK, PlanStatus.OUT_OF_TIME) else status


def _equal(first: object, second: object) -> bool:
    """Equal to the bit, where NaN is NaN."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return False
    return first == second or (first != first and second != second)


def _error(decision: Decision, made: Decision, name: str) -> float:
    """The largest difference by the largest number of what was recorded; infinite where shapes or positions of NaN differ."""
    first, second = getattr(decision, name), getattr(made, name)
    if first.shape != second.shape or not np.array_equal(np.isfinite(first), np.isfinite(second)):
        return float("inf")
    known = np.isfinite(first)
    if not known.any():
        return 0.0
    return float(np.abs(first[known] - second[known]).max() / max(np.abs(first[known]).max(), np.finfo(np.float32).tiny))
