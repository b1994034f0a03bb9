"""One line of a time line: the few numbers of a decision or a step that show where to look."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from robo_dream.replay.decision import Decision
from robo_dream.replay.record import StepRecord

Row = Mapping[str, Any]
"""JSON of strings, lists and finite numbers; what is not finite is null."""

_CLIPPED = 0.1  # of the largest action that was considered; less is how an arm lags


def plain(values: Any, digits: int = 4) -> Any:
    """`values` as JSON with `digits` significant digits: nested lists, null for what is not finite."""
    if isinstance(values, np.ndarray):
        return [plain(value, digits) for value in values] if values.ndim else plain(values.item(), digits)
    if isinstance(values, float | np.floating):
        return float(f"{values:.{digits}g}") if np.isfinite(values) else None
    return int(values) if isinstance(values, np.integer) else values


def chosen(decision: Decision) -> int | None:
    """The candidate that became the plan; None when the plan is none of those kept, such as a mean of them."""
    apart = np.abs(decision.candidate_latents - decision.latents).max((1, 2))
    best = int(np.argmin(apart)) if len(apart) else 0
    return best if len(apart) and apart[best] < 1e-5 else None


def rms(difference: np.ndarray) -> float:
    """Root mean square over the last axis of one vector."""
    return float(np.sqrt(np.mean(np.square(difference.astype(np.float64)))))


def decision_row(decision: Decision, before: Decision | None) -> Row:
    """`surprise`: how far this belief is from what the plan `before` imagined for now (RMS over channels); `moved`: from its belief."""
    pick = chosen(decision)
    surprise = moved = None
    if before is not None:
        moved = rms(decision.belief - before.belief)
        ahead = (decision.step - before.step) / before.action_block
        if ahead == round(ahead) and 1 <= ahead <= len(before.latents):
            surprise = rms(decision.belief - before.latents[round(ahead) - 1])
    return {
        "step": decision.step, "time": plain(decision.time, 9), "status": str(decision.status), "planner": decision.planner,
        "cost": plain(decision.cost), "ms": plain(1e3 * decision.seconds.get("total", sum(decision.seconds.values()))),
        "disagreement": None if pick is None else plain(float(decision.disagreement[pick].mean())),
        "surprise": plain(surprise), "moved": plain(moved),
    }  # fmt: skip


def step_row(step: StepRecord, number: int, decision: Decision | None) -> Row:
    """`clipped` is True where the arm applied something else than was sent: more than a tenth of what `decision` considered."""
    clipped = False
    if step.sent is not None and step.applied is not None and decision is not None:
        clipped = bool((np.abs(step.applied - step.sent) > _CLIPPED * np.abs(decision.candidates).max((0, 1)) + 1e-6).any())
    actions = {name: None if action is None else plain(action) for name, action in (("sent", step.sent), ("applied", step.applied))}
    return {"step": number, "time": plain(step.observation.time, 9), **actions, "clipped": clipped}


def damaged_row(step: int, sentence: str) -> Row:
    """In the place of a file that cannot be read."""
    return {"step": step, "damage": sentence}
