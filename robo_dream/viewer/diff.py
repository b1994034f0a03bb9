"""Two runs side by side: the first decision at which they part, and why. Needs no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np

from robo_dream.embodiment import ArmState
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import DECISIONS, RunRecord, StepRecord


class Cause(StrEnum):
    """What can differ, in the order in which one thing leads to the next."""

    CONFIGURATION = "configuration"
    CHECKPOINT = "checkpoint"
    MACHINE = "machine or code"
    OBSERVATION = "observation"
    GOAL = "goal"
    BELIEF = "belief"
    SEED = "seed"
    PREVIOUS = "previous plan"
    DEADLINE = "deadline"
    CANDIDATES = "candidates"
    COST = "cost terms"
    PLAN = "plan"
    HELD = "when was decided"


@dataclass(frozen=True)
class Difference:
    """One thing that differs, with how, in a sentence without the runs' names: first run against second."""

    cause: Cause
    sentence: str


@dataclass(frozen=True)
class RunDiff:
    """Where two runs part. `step` is None when they do not: every decision is the same."""

    step: int | None  # control step of the first decision that differs
    num_same: int  # decisions before it
    why: tuple[Difference, ...]  # what differs and is led to by nothing else that is known, the first cause first
    differences: tuple[Difference, ...]  # all that differs in the decision, cause before effect
    settings: tuple[Difference, ...]  # all that differs between the runs as a whole, whether it mattered or not
    left_out: tuple[int, ...]  # control steps whose decision is damaged in one of the runs


def diff(first: RunRecord, second: RunRecord, tolerance: float = 0.0) -> RunDiff:
    """Compares decision by decision. `tolerance` is how far numbers may be apart, by the largest of each array; 0: equal to the bit."""
    settings = tuple(_settings(first.about, second.about))
    decisions = ({one.step: one for one in first.decisions}, {one.step: one for one in second.decisions})
    left_out = _damaged_steps(first) | _damaged_steps(second)
    num_same = 0
    for step in sorted({*decisions[0], *decisions[1]} - left_out):
        here, there = decisions[0].get(step), decisions[1].get(step)
        if here is None or there is None:
            differences = [_only_one_decided(first, second, step, here is not None)]
        else:
            differences = [*_observations(first, second, step, tolerance), *_decision(first, second, here, there, tolerance)]
        if differences:
            return RunDiff(step, num_same, _why(differences, settings), tuple(differences), settings, tuple(sorted(left_out)))
        num_same += 1
    return RunDiff(None, num_same, (), (), settings, tuple(sorted(left_out)))


def described(found: RunDiff, first: str, second: str) -> str:
    """`found` in words, for people; `first` and `second` name the runs."""
    lines = [f"A  {first}", f"B  {second}", ""]
    if found.step is None:
        lines.append(f"all {found.num_same} decisions are the same")
    else:
        lines.append(f"{found.num_same} decisions are the same; they part at control step {found.step}")
        lines += [f"  because of the {one.cause}: {one.sentence}" for one in found.why]
        lines += ["", "what differs there, cause before effect (A against B)"]
        lines += [f"  {one.cause:<16} {one.sentence}" for one in found.differences]
    if found.settings:
        lines += ["", "what differs between the runs as a whole, whether it mattered or not"]
        lines += [f"  {one.cause:<16} {one.sentence}" for one in found.settings]
    if found.left_out:
        lines += ["", f"left out, being damaged in a run: control steps {', '.join(map(str, found.left_out))}"]
    return "\n".join(lines)


def _why(differences: list[Difference], settings: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """The settings that can have led to what differs, and the inputs that differ on their own account."""
    found = {one.cause for one in differences}
    roots = [one for one in settings if one.cause is Cause.CONFIGURATION and _leads_to(one.sentence, found)]
    checkpoint = [one for one in settings if one.cause is Cause.CHECKPOINT]
    if found & {Cause.BELIEF, Cause.GOAL, Cause.CANDIDATES, Cause.COST, Cause.PLAN} and Cause.OBSERVATION not in found:
        roots += checkpoint
    own = {Cause.OBSERVATION, Cause.SEED, Cause.PREVIOUS, Cause.HELD} | (set() if checkpoint else {Cause.GOAL})
    if not roots:
        own |= {Cause.DEADLINE}
    roots += [one for one in differences if one.cause in own]
    if not roots:
        roots = [one for one in settings if one.cause is Cause.MACHINE]
    return tuple(roots) or (differences[0],)


def _leads_to(sentence: str, found: set[Cause]) -> bool:
    """Whether the key that a sentence about the configuration begins with can lead to what was found."""
    effects = {
        "planning.cost": {Cause.COST, Cause.PLAN},
        "planning.planner": {Cause.CANDIDATES, Cause.DEADLINE, Cause.COST, Cause.PLAN},
        "planning.proposals": {Cause.CANDIDATES, Cause.PLAN},
        "loop.decision_seconds": {Cause.DEADLINE},
        "loop.execute_steps": {Cause.HELD, Cause.PREVIOUS, Cause.OBSERVATION},
        "loop.history": {Cause.BELIEF},
        "loop.limits": {Cause.HELD, Cause.PREVIOUS, Cause.PLAN},
        "loop.max_steps": {Cause.HELD},
        "config.scene": {Cause.OBSERVATION, Cause.GOAL},
        "config.compiled": {Cause.CANDIDATES, Cause.COST, Cause.PLAN},
        "config.precision": {Cause.CANDIDATES, Cause.COST, Cause.PLAN},
        "task": {Cause.GOAL, Cause.OBSERVATION},
    }
    return any(found & led for key, led in effects.items() if sentence.startswith(key))


def _settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    one, other = dict(_leaves(first)), dict(_leaves(second))
    for key in sorted({*one, *other}):
        if one.get(key) != other.get(key):
            other_code = Cause.MACHINE if key.startswith("made_with") else Cause.CONFIGURATION
            cause = Cause.CHECKPOINT if key == "checkpoint_sha256" else other_code
            yield Difference(cause, f"{key} is {_short(one.get(key))} against {_short(other.get(key))}")


_ELSEWHERE = ("config.planning", "config.by_task", "config.loop", "config.out", "config.checkpoint", "config.video")
_OUTCOMES = ("goal_state", "version", "checkpoint")  # what follows from the rest, or is only a place


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and word of the description that a decision may depend on, with its dotted key."""
    if key in (*_ELSEWHERE, *_OUTCOMES):
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else name)
    else:
        yield key, value


def _observations(first: RunRecord, second: RunRecord, step: int, tolerance: float) -> Iterator[Difference]:
    """The first observation up to `step` that differs."""
    numbers = sorted({seen.number for seen in first.steps} & {seen.number for seen in second.steps})
    for number in numbers:
        here, there = first.step_at(number), second.step_at(number)
        if number > step or here is None or there is None:
            return
        sentences = list(_observation(here, there, tolerance))
        if sentences:
            yield Difference(Cause.OBSERVATION, f"at control step {number} {'; '.join(sentences)}")
            return


def _observation(here: StepRecord, there: StepRecord, tolerance: float) -> Iterator[str]:
    one, other = here.observation, there.observation
    for camera in sorted({*one.frames, *other.frames}):
        if camera not in one.frames or camera not in other.frames:
            yield f"only one run has camera {camera!r}"
        elif (how := _apart(one.frames[camera].image, other.frames[camera].image, tolerance)) is not None:
            yield f"the picture of {camera!r} differs {how}"
    for field in fields(ArmState):
        if field.name != "time":
            how = _apart(getattr(one.arm, field.name), getattr(other.arm, field.name), tolerance)
            if how is not None:
                yield f"the arm's {field.name} differs {how}"


def _decision(first: RunRecord, second: RunRecord, here: Decision, there: Decision, tolerance: float) -> Iterator[Difference]:
    """What differs between two decisions of one control step, cause before effect."""
    for camera in sorted({*first.goal.pictures, *second.goal.pictures}):
        how = _apart(first.goal.pictures.get(camera), second.goal.pictures.get(camera), 0.0)
        if how is not None:
            yield Difference(Cause.GOAL, f"the goal's picture of {camera!r} differs {how}")

    def numbers(cause: Cause, names: Mapping[str, str]) -> Iterator[Difference]:
        for name, words in names.items():
            how = _apart(getattr(here, name), getattr(there, name), tolerance)
            if how is not None:
                yield Difference(cause, f"{words} {how}")

    positions = {"goal_object_pos": "the object's position differs", "goal_tool_pos": "the tool's position differs"}
    yield from numbers(Cause.GOAL, {"goal": "its latent differs"} | positions)
    yield from numbers(Cause.BELIEF, {"belief": "its latent differs"})
    if here.seed != there.seed:
        yield Difference(Cause.SEED, f"it is {here.seed} against {there.seed}")
    yield from numbers(Cause.PREVIOUS, {"previous": "its actions differ", "previous_elites": "its elites differ"})
    if here.late_readings != there.late_readings or here.num_iterations != there.num_iterations:
        yield Difference(
            Cause.DEADLINE,
            f"{here.num_iterations} iterations, {_cut(here)} against {there.num_iterations} iterations, {_cut(there)}",
        )
    origins = [dict(zip(one.origin_names, np.bincount(one.origins, minlength=len(one.origin_names)), strict=True)) for one in (here, there)]
    for name in sorted({*origins[0], *origins[1]}):
        one, other = (int(counts.get(name, 0)) for counts in origins)
        if one != other:
            yield Difference(Cause.CANDIDATES, f"{one} against {other} in the last iteration are of origin {name!r}")
    yield from numbers(
        Cause.CANDIDATES,
        {"candidates": "their actions differ", "candidate_latents": "what they lead to differs", "disagreement": "disagreement differs"},
    )
    for name in sorted({*here.terms, *there.terms}):
        how = _apart(here.terms.get(name), there.terms.get(name), tolerance)
        if how is not None:
            yield Difference(Cause.COST, f"term {name!r} differs {how}")
    yield from numbers(Cause.COST, {"totals": "the totals differ"})
    if here.planner != there.planner:
        yield Difference(Cause.PLAN, f"it is by {here.planner!r} against {there.planner!r}")
    if here.status != there.status or here.unsure_reasons != there.unsure_reasons:
        yield Difference(Cause.PLAN, f"its status is {_status(here)} against {_status(there)}")
    yield from numbers(Cause.PLAN, {"actions": "its actions differ"})


def _only_one_decided(first: RunRecord, second: RunRecord, step: int, by_first: bool) -> Difference:
    name, other = ("A", second) if by_first else ("B", first)
    if other.steps and other.steps[-1].number <= step:
        end = "was cut short" if other.result is None else f"ended ({other.result.get('end', 'for a reason it does not say')})"
        return Difference(Cause.HELD, f"only {name} decided here; the other {end} after {other.steps[-1].number} control steps")
    before = other.decision_at(step)
    doing = "had not decided yet" if before is None else f"was still at its decision of control step {before.step} ({_status(before)})"
    return Difference(Cause.HELD, f"only {name} decided here; the other {doing}. One of them held still, or went further on one plan")


def _cut(decision: Decision) -> str:
    return "cut by its deadline" if decision.late_readings else "not cut"


def _status(decision: Decision) -> str:
    return decision.status + (f" ({'; '.join(decision.unsure_reasons)})" if decision.unsure_reasons else "")


def _damaged_steps(run: RunRecord) -> set[int]:
    names = [path.removeprefix(f"{DECISIONS}/").removesuffix(".npz") for path in run.damaged if path.startswith(f"{DECISIONS}/")]
    return {int(name) for name in names}


def _apart(first: Any, second: Any, tolerance: float) -> str | None:
    """How far apart two arrays or numbers are, in words; None when they are the same, or within `tolerance` of the largest number."""
    if first is None or second is None:
        return None if first is second else f"(only {'B' if first is None else 'A'} has it)"
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        return f"in shape: {one.shape} against {other.shape}"
    if np.array_equal(one, other, equal_nan=True):
        return None
    known = np.isfinite(one) & np.isfinite(other)
    odd = int((~known & ~((one == other) | (np.isnan(one) & np.isnan(other)))).sum())
    if odd:
        return f"in {odd} of {one.size} numbers that are finite in one run only"
    gap = np.where(known, np.abs(np.where(known, one, 0) - np.where(known, other, 0)), 0)
    largest = float(np.abs(one[known]).max())
    if gap.max() <= tolerance * largest:
        return None
    return f"in {int((gap > 0).sum())} of {one.size} numbers, by up to {gap.max():.3g} where the largest is {largest:.3g}"


def _short(value: Any) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
