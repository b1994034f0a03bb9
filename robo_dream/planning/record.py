"""One decision as it is kept: a plan and what it was made from, for one problem of the batch, on the CPU."""

from torch import Tensor

from robo_dream.imagination import Belief, Goal, ImaginationRecord, Plan
from robo_dream.planning.candidates import gather_samples


def record_of(
    plan: Plan,
    problem: int,
    step: int,
    time: float,
    belief: Belief,
    goal: Goal,
    previous: Plan | None = None,
    unsure_reasons: tuple[str, ...] = (),
) -> ImaginationRecord:
    """The record of `problem`; `step` is the control step and `time` the monotonic seconds of the observation it was made from.

    `previous` is what the planner was given; `unsure_reasons` say why its status was changed to UNSURE.
    """

    def kept(values: Tensor) -> Tensor:
        row = values[problem].detach().cpu()
        return row.float() if row.is_floating_point() else row

    def kept_or_none(values: Tensor | None) -> Tensor | None:
        return None if values is None else kept(values)

    trace = plan.trace
    return ImaginationRecord(
        step=step,
        time=time,
        planner=plan.planner,
        seed=plan.seeds[problem],
        status=plan.status[problem],
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
    )
