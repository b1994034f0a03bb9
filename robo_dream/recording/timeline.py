"""One line of a time line: the few numbers of a decision or a step that show where to look."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from robo_dream.embodiment import TOOL_MOVE_NAMES, ActionSpec
from robo_dream.errors import DataError, one_line
from robo_dream.recording.archive import read_archive
from robo_dream.recording.decision import Decision
from robo_dream.recording.events import SafetyEvent, events_at
from robo_dream.recording.odd import require_decision, require_fields

Row = Mapping[str, Any]
"""JSON of strings, lists and finite numbers; what is not finite is null."""

_CLIPPED = 0.1  # of the largest action that was considered; less is rounding, and what an inverse kinematics leaves
_REACHED = 0.98  # of how far a target may run ahead of the arm: there, its lag is what holds it back


def plain(values: Any, digits: int = 4) -> Any:
    """`values` as JSON with `digits` significant digits: nested lists, null for what is not finite."""
    if isinstance(values, np.ndarray) and values.ndim and values.dtype.kind == "f":
        return _rounded(values.astype(np.float64), digits)
    if isinstance(values, np.ndarray | np.generic):
        values = values.tolist()
    if isinstance(values, float):
        rounded = float(f"{values:.{digits}g}")
        return rounded if math.isfinite(rounded) else None  # the largest numbers are rounded up to infinity
    return values


def _rounded(values: np.ndarray, digits: int) -> list[Any]:
    """As `plain`, of all of an array at once: a decision has thousands of numbers."""
    finite = np.isfinite(values)
    values = np.where(finite, values, 0.0)
    decimals = np.minimum(digits - 1 - np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values)))), 300)  # less is 0
    scale = 10.0 ** np.abs(decimals)
    with np.errstate(over="ignore"):
        rounded = np.where(decimals >= 0, np.round(values * scale) / scale, np.round(values / scale) * scale)
    some = rounded.astype(object)
    some[~(finite & np.isfinite(rounded))] = None
    return some.tolist()


@dataclass(frozen=True)
class Lag:
    """How far the target of a tool move may run ahead of the arm: the `MoveLimits` of `robo_dream.control` that hold a slow arm back."""

    max_lag: float = 0.05  # m
    max_grip_lag: float = 0.4  # closure

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> "Lag":
        """As run.json tells; the defaults of an arm that told nothing."""
        told = about.get("moves") or {}
        return cls(**{field.name: float(told[field.name]) for field in fields(cls) if told.get(field.name) is not None})


@dataclass(frozen=True)
class ActionNames:
    """What the numbers of a run's actions are called and measured in, and whether they move the tool."""

    kind: str
    names: tuple[str, ...]
    units: tuple[str, ...]

    @classmethod
    def of(cls, about: Mapping[str, Any], size: int) -> "ActionNames":
        """As run.json tells. A run of before that does not tell was one of our own scene, where actions of five numbers move the tool."""
        told = about.get("action_spec")
        if told is not None:
            spec = ActionSpec.from_json(told)
            return cls(spec.kind, spec.names, spec.units)
        if size == len(TOOL_MOVE_NAMES):
            return cls("tool_move", TOOL_MOVE_NAMES, ("m", "m", "m", "rad", "1"))
        return cls("unknown", tuple(f"action {number}" for number in range(size)), ("1",) * size)


@dataclass(frozen=True)
class DecisionGlimpse:
    """What a time line needs of a decision: the fields of `Decision` that are quick to read, the imagined futures left out."""

    step: int
    time: float
    planner: str
    status: str
    seconds: Mapping[str, float]
    actions: Float[np.ndarray, "time action"]
    latents: Float[np.ndarray, "horizon channel"]
    belief: Float[np.ndarray, " channel"]
    candidates: Float[np.ndarray, "sample time action"]
    totals: Float[np.ndarray, " sample"]
    disagreement: Float[np.ndarray, "sample horizon"]
    unsure_reasons: Sequence[str] = ()
    perception: float | None = None


@dataclass(frozen=True)
class StepGlimpse:
    """What a time line needs of a step, the pictures left out."""

    number: int
    time: float
    sent: Float[np.ndarray, " action"] | None
    applied: Float[np.ndarray, " action"] | None
    ahead: Float[np.ndarray, "3"]  # m from the tool to its target, before the action
    grip: float  # closure before the action
    target_grip: float
    events: tuple[SafetyEvent, ...] = ()  # what the guard clipped and stopped until then, since the step before


def read_decision_glimpse(path: Path) -> DecisionGlimpse:
    """The glimpse of the decision in one file; raises `DataError` when it is damaged."""
    names = {field.name for field in fields(DecisionGlimpse)}
    arrays, about = read_archive(path, names)
    try:
        glimpse = DecisionGlimpse(**arrays, **{name: value for name, value in about.items() if name in names})
    except TypeError as error:
        raise DataError(f"{path} is not a decision ({one_line(error)}); use the release that wrote it") from None
    require_decision(glimpse, path)
    return glimpse


def read_step_glimpse(path: Path) -> StepGlimpse:
    """The glimpse of the step in one file; raises `DataError` when it is damaged."""
    arrays, about = read_archive(path, ("sent", "applied", "arm.target_pos", "arm.tool_pos"))
    try:
        ahead, arm = arrays["arm.target_pos"] - arrays["arm.tool_pos"], about["arm"]
        taken = (arrays.get("sent"), arrays.get("applied"))
        events = events_at(path.parent.parent, int(path.stem))
        step = StepGlimpse(int(path.stem), about["time"], *taken, ahead, arm["gripper"], arm["target_gripper"], events)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a step ({one_line(error)}); use the release that wrote it") from None
    require_fields(step, path)
    return step


def chosen(decision: Decision | DecisionGlimpse) -> int | None:
    """The candidate that became the plan; None when the plan is none of those kept, such as a mean of them."""
    apart = np.abs(decision.candidates - decision.actions).max((1, 2))
    best = int(np.argmin(apart)) if len(apart) else 0
    return best if len(apart) and apart[best] < 1e-6 else None


def rms(difference: np.ndarray) -> float:
    """Root mean square over the last axis of one vector."""
    return float(np.sqrt(np.mean(np.square(difference.astype(np.float64)))))


def decision_row(decision: DecisionGlimpse, before: DecisionGlimpse | None) -> Row:
    """`surprise`: how far this belief is from what the plan `before` imagined for now (RMS over channels); `moved`: from its belief."""
    pick = chosen(decision)
    surprise = moved = None
    if before is not None:
        moved = rms(decision.belief - before.belief)
        ahead = (decision.step - before.step) * len(before.latents) / len(before.actions)  # imagined steps
        if ahead == round(ahead) and 1 <= ahead <= len(before.latents):
            surprise = rms(decision.belief - before.latents[round(ahead) - 1])
    cost = min(decision.totals[np.isfinite(decision.totals)].tolist(), default=None)
    milliseconds = 1e3 * decision.seconds.get("total", sum(decision.seconds.values()))
    return {
        "step": decision.step, "time": plain(decision.time, 9), "status": decision.status, "planner": decision.planner,
        "cost": plain(cost), "ms": plain(milliseconds), "surprise": plain(surprise), "moved": plain(moved),
        "disagreement": None if pick is None else plain(float(decision.disagreement[pick].mean())),
        "unsure_reasons": list(decision.unsure_reasons), "perception": plain(decision.perception),
    }  # fmt: skip


def step_row(step: StepGlimpse, decision: DecisionGlimpse | None, about: Mapping[str, Any]) -> Row:
    """`clipped` says which numbers of the action a limit cut, in words; None where none did. `decision` is any of the run `about`."""
    clipped = None
    if step.sent is not None and step.applied is not None and decision is not None:
        actions = ActionNames.of(about, len(step.sent))
        cut = clipped_numbers(step, np.abs(decision.candidates).max((0, 1)), Lag.of(about), actions.kind == "tool_move")
        words = (f"{actions.names[i]} {step.applied[i]:.3g} of {step.sent[i]:.3g}" for i in np.flatnonzero(cut))
        clipped = ", ".join(words) or None
    taken = {name: None if action is None else plain(action) for name, action in (("sent", step.sent), ("applied", step.applied))}
    row = {"step": step.number, "time": plain(step.time, 9), **taken, "clipped": clipped}
    events = [{"kind": event.kind, "reason": event.reason} for event in step.events]
    return {**row, "events": events} if events else row


def clipped_numbers(
    step: StepGlimpse, largest: Float[np.ndarray, " action"], lag: Lag, are_tool_moves: bool
) -> Bool[np.ndarray, " action"]:
    """Which numbers of the action sent at `step` a limit cut: speed, workspace, range.

    Left out is what ordinary running behind explains: less than a tenth of the `largest` action; and of tool moves a tool whose target
    is as far ahead of it as `lag` allows, fingers likewise, and fingers that are told to close when closed or to open when open.
    """
    assert step.sent is not None and step.applied is not None
    cut = np.abs(step.applied - step.sent) > _CLIPPED * largest + 1e-6
    if are_tool_moves:
        if np.linalg.norm(step.ahead + step.applied[:3]) >= _REACHED * lag.max_lag:
            cut[:3] = False
        target = step.target_grip + step.applied[4]
        if abs(target - step.grip) >= _REACHED * lag.max_grip_lag or min(abs(target), abs(1 - target)) < 1e-3:
            cut[4] = False
    return cut


def damaged_row(step: int, sentence: str) -> Row:
    """In the place of a file that cannot be read."""
    return {"step": step, "damage": sentence}
