"""One decision as it is kept: a plan and what it was made from, for one problem of the batch, on the CPU."""

from torch import Tensor

from robo_dream.imagination import Belief, Goal, ImaginationRecord, Plan


def record_of(plan: Plan, problem: int, step: int, time: float, belief: Belief, goal: Goal) -> ImaginationRecord:
    """The record of `problem`; `step` is the control step and `time` the monotonic seconds of the observation it was made from."""

    def kept(values: Tensor) -> Tensor:
        row = values[problem].detach().cpu()
        return row.float() if row.is_floating_point() else row

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
        modes=None if trace.modes is None else kept(trace.modes),
    )
