"""One decision: from the newest observations to a plan, and the record that is kept of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from robo_dream.control.choosing import Decided, decision_seed, judged
from robo_dream.embodiment import Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Plan, Planner, Remembering, WorldModel
from robo_dream.models.perception_check import Perception, PerceptionCheck
from robo_dream.planning.candidates import gather_samples, shift
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import GoalRecord
from robo_dream.safety.limits import SafetyLimits, belief_reasons, perception_reasons
from robo_dream.upload import uploaded


@dataclass(frozen=True)
class Remembered:
    """What was believed at control step `step`, for the next decision of a model that remembers; nothing of it is imagined ahead."""

    belief: Belief
    step: int
    exposed: Mapping[str, float]  # of each camera, when the newest picture that was used was taken; monotonic seconds of the source


@dataclass(frozen=True)
class Decider:
    """What every decision of an episode has in common."""

    model: WorldModel
    planner: Planner
    goal: Goal
    seed: int
    clock: Callable[[], float]  # of the planner
    limits: SafetyLimits
    decision_seconds: float | None = None  # deadline of each decision
    check: PerceptionCheck | None = None  # of what is seen; None: not calibrated, or not asked for

    @property
    def action_block(self) -> int:
        return self.model.action_block

    def decide(
        self,
        observations: Sequence[Observation],
        step: int,
        previous: Plan | None,
        committed: Float[np.ndarray, "time action"] | None = None,
        start: int | None = None,
        before: Remembered | None = None,
        moved: Sequence[Float[np.ndarray, " action"]] = (),
    ) -> Decided[Plan, Remembered]:
        """See `Decides`. What counts as unsure is what the model sees, not what it imagines."""
        began, observation = self.clock(), observations[-1]
        seen = seen_by(self.model, observations, step, committed, before, moved)
        belief, deadline = seen.belief, None if self.decision_seconds is None else began + self.decision_seconds
        plan = self.planner.plan(belief, self.goal, [decision_seed(self.seed, step)], previous, deadline)
        unsure_reasons = belief_reasons(seen.tool_pos.cpu().numpy(), observation.arm, self.limits)
        perception = None if self.check is None else self.check.of(observation)
        if perception is not None:
            unsure_reasons += perception_reasons(perception.usual, perception.cause, self.limits)
        status, reasons = judged(plan.status[0], unsure_reasons)
        plan = plan if status is plan.status[0] else replace(plan, status=(status,))
        seconds = self.clock() - began
        at = step if start is None else start
        decision = decision_of(plan, 0, at, observation.time, belief, self.goal, previous, unsure_reasons, perception)
        return Decided(plan, decision, seconds, reasons, seen.remembered)

    def moved_on(self, plan: Plan, num_steps: int) -> Plan:
        return moved_on(plan, num_steps)


@dataclass(frozen=True)
class Seen:
    """What a model makes of an observation: the belief to plan from, where it sees the tool (m), and what it will remember."""

    belief: Belief
    tool_pos: Float[Tensor, "3"]  # on its device: to read it is to wait
    remembered: Remembered | None


@torch.no_grad()
def seen_by(
    model: WorldModel,
    observations: Sequence[Observation],
    step: int,
    committed: Float[np.ndarray, "time action"] | None = None,
    before: Remembered | None = None,
    moved: Sequence[Float[np.ndarray, " action"]] = (),
) -> Seen:
    """What `model` believes at control step `step`; where actions are `committed`, the belief to plan from is where they lead."""
    belief = _believed(model, observations, before, moved)
    remembered = _remembered(belief, step, observations[-1], before)
    tool_pos = model.poses(belief.latent).tool_pos[0]
    if committed is not None and len(committed):
        actions = uploaded(committed, belief.latent.device).to(belief.latent.dtype)
        ahead = model.imagine(belief, actions[None, None]).end()
        belief = replace(ahead, memory=belief.memory, unseen=belief.unseen)
    return Seen(belief, tool_pos, remembered)


def _believed(
    model: WorldModel, observations: Sequence[Observation], before: Remembered | None, moved: Sequence[Float[np.ndarray, " action"]]
) -> Belief:
    """What is seen, or what the past and the pictures that have come since then make of it."""
    newest = observations[-1]
    if before is None or not isinstance(model, Remembering):
        return model.believe([observations])
    new = {name: frame for name, frame in newest.frames.items() if frame.time > before.exposed.get(name, -math.inf)}
    actions = np.reshape(np.asarray(moved, np.float32), (1, -1, model.action_spec.size))
    return model.update(before.belief, torch.from_numpy(actions), [replace(newest, frames=new)])


def decision_of(
    plan: Plan,
    problem: int,
    step: int,
    time: float,
    belief: Belief,
    goal: Goal,
    previous: Plan | None = None,
    unsure_reasons: tuple[str, ...] = (),
    perception: Perception | None = None,
) -> Decision:
    """What is kept of `problem` of `plan`; `step` is the control step and `time` the monotonic seconds of the observation it was made from.

    `previous` is what the planner was given; `unsure_reasons` say why its status was changed to UNSURE. Raises `ContractError` for a plan
    whose actions are not of the shape of its candidates: no record of it could be read.
    """
    made, imagined = tuple(plan.actions.shape[1:]), tuple(plan.trace.candidates.shape[2:])
    if made != imagined:
        raise ContractError(f"planner {plan.planner!r} made a plan of shape {made} from candidates of {imagined}; (time, action) of both")

    def kept(values: Tensor) -> np.ndarray:
        return _array(values[problem])

    def kept_or_none(values: Tensor | None) -> np.ndarray | None:
        return None if values is None else kept(values)

    trace = plan.trace
    return Decision(
        step=step,
        time=time,
        planner=plan.planner,
        seed=plan.seeds[problem],
        status=plan.status[problem].value,
        actions=kept(plan.actions),
        latents=kept(plan.latents),
        belief=kept(belief.latent),
        goal=kept(goal.latent),
        candidates=kept(trace.candidates),
        candidate_latents=kept(trace.latents),
        terms={name: kept(term) for name, term in trace.terms.items()},
        totals=kept(trace.totals),
        origins=kept(trace.origins),
        origin_names=trace.origin_names,
        best_by_iteration=kept(trace.best_by_iteration),
        disagreement=kept(trace.disagreement),
        seconds=dict(plan.seconds),
        modes=kept_or_none(trace.modes),
        total=float(plan.total[problem]),
        elites=kept(trace.elites),
        goal_object_pos=kept_or_none(goal.object_pos),
        goal_tool_pos=kept_or_none(goal.tool_pos),
        previous=None if previous is None else kept(previous.actions),
        previous_elites=None if previous is None else kept(gather_samples(previous.trace.candidates, previous.trace.elites)),
        late_readings=trace.late_readings,
        unsure_reasons=unsure_reasons,
        belief_disagreement=None if belief.disagreement is None else float(belief.disagreement[problem]),
        perception=None if perception is None else perception.usual,
        perception_residuals=None if perception is None else perception.residuals,
        memory=kept_or_none(belief.memory),
        belief_unseen=None if belief.unseen is None else int(belief.unseen[problem]),
        futures=kept_or_none(plan.futures),
        future_totals=kept_or_none(plan.future_totals),
    )


def _remembered(belief: Belief, step: int, observation: Observation, before: Remembered | None) -> Remembered | None:
    """What the next decision may begin from; nothing where the belief has no memory."""
    if belief.memory is None:
        return None
    exposed = {} if before is None else before.exposed
    return Remembered(belief, step, {**exposed, **{name: frame.time for name, frame in observation.frames.items()}})


def goal_record(goal: Goal, pictures: Mapping[str, UInt8[np.ndarray, "height width 3"]]) -> GoalRecord:
    """What is kept of `goal` (a batch of one) and of the pictures that it was given in; none where it was given in numbers."""
    if len(goal.latent) != 1:
        raise ContractError(f"a run has one goal; got a batch of {len(goal.latent)}")

    def kept(values: Tensor | None) -> np.ndarray | None:
        return None if values is None else _array(values[0])

    return GoalRecord(pictures, _array(goal.latent[0]), kept(goal.object_pos), kept(goal.tool_pos))


def moved_on(plan: Plan, num_steps: int) -> Plan:
    """`plan` after `num_steps` more were executed than the one block by which planners shift a previous plan."""
    if num_steps == 0:
        return plan
    still = plan.actions.new_zeros(plan.actions.shape[-1])
    trace = replace(plan.trace, candidates=shift(plan.trace.candidates, num_steps, still))
    return replace(plan, actions=shift(plan.actions, num_steps, still), trace=trace)


def _array(values: Tensor) -> np.ndarray:
    """On the CPU; numbers of any precision in single."""
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()
