"""A stored run, read back: its description, goal, observations, actions and decisions. Needs no torch.

A run is a folder, written by `robo_dream.recording.writer` one whole file at a time. It opens after a crash at any byte, and with any file
but run.json cut short or lost: what is whole is there, what is damaged is left out and named.

    run.json               configuration, checkpoint and its hash, code version, goal in words
    goal.npz               goal pictures, latent and positions
    decisions/000015.npz   the decision made at control step 15
    steps/000017.npz       observation 17, the action that was sent there and what the arm applied
    events.jsonl           what the guard clipped, held and stopped, one line each; missing when nothing was
    result.json            how it ended; missing when nobody was left to say it (kill -9, no more power)
"""

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.data.layout import read_json
from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.errors import DataError, one_line
from robo_dream.foreign import BUDGET, require_budget
from robo_dream.recording.archive import part, read_archive
from robo_dream.recording.decision import Decision
from robo_dream.recording.events import EVENTS, SafetyEvent, read_events
from robo_dream.recording.odd import require_about, require_decision, require_fields, require_indices, require_picture, require_result
from robo_dream.renamed import OLD_FIELDS, OLD_ORIGINS, new_term
from robo_dream.schema import shown

VERSION = 1
RUN, GOAL, RESULT = "run.json", "goal.npz", "result.json"
INTERRUPTED = "INTERRUPTED"  # how a run ended whose program was told to end, or failed, before the loop had come to an end
DECISIONS, STEPS = "decisions", "steps"
Part = TypeVar("Part")
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class GoalRecord:
    """What was to be reached: a picture of each camera (none when the goal was given in numbers), the latent, positions in metres."""

    pictures: Mapping[str, UInt8[np.ndarray, "height width 3"]]
    latent: Float[np.ndarray, " channel"]
    object_pos: Float[np.ndarray, "object 3"] | None
    tool_pos: Float[np.ndarray, "3"] | None


@dataclass(frozen=True)
class StepRecord:
    """One observation, and the action sent there with what the arm applied of it (None after the last).

    `number` counts control steps; it is the place in `RunRecord.steps` too, unless an earlier file is damaged.
    """

    number: int
    observation: Observation
    sent: Float[np.ndarray, " action"] | None
    applied: Float[np.ndarray, " action"] | None


@dataclass(frozen=True)
class RunRecord:
    """One episode on disk. `result` is None when it was cut short.

    `damaged` names the files that could not be read and are left out, with the reason.
    """

    root: Path
    about: Mapping[str, Any]
    goal: GoalRecord
    steps: tuple[StepRecord, ...]
    decisions: tuple[Decision, ...]
    result: Mapping[str, Any] | None
    damaged: Mapping[str, str] = field(default_factory=dict)  # path inside the folder: sentence
    events: tuple[SafetyEvent, ...] = ()

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(self.steps[0].observation.frames) if self.steps else tuple(self.goal.pictures)

    def step_at(self, number: int) -> StepRecord | None:
        """Control step `number`; None when its file is missing or damaged."""
        at = bisect_left(self.steps, number, key=lambda step: step.number)
        return self.steps[at] if at < len(self.steps) and self.steps[at].number == number else None

    def decision_at(self, step: int) -> Decision | None:
        """The newest decision made at or before control step `step`."""
        return next((decision for decision in reversed(self.decisions) if decision.step <= step), None)


def read_run(path: Path | str) -> RunRecord:
    """The run in folder `path`; raises `DataError` when there is none, or its run.json is damaged."""
    root, damaged = Path(path), {}
    about = read_about(root)

    def whole(read: Callable[[Path], Part], file: Path) -> Part | None:
        try:
            return read(file)
        except (DataError, OSError) as error:
            damaged[str(file.relative_to(root))] = str(error)
            return None

    files = {folder: in_order(root / folder) for folder in (STEPS, DECISIONS)}
    require_budget(sum(file.stat().st_size for kept in files.values() for file in kept), BUDGET.run, f"the run in {root}", "bytes")
    damaged |= {str(file.relative_to(root)): _far(file) for folder in files for file in out_of_order(root / folder)}
    steps = _alike([(file, step) for file in files[STEPS] if (step := whole(read_step, file)) is not None], step_shape, damaged)
    decisions = _alike([(file, one) for file in files[DECISIONS] if (one := whole(read_decision, file))], decision_shape, damaged)
    goal = whole(read_goal, root / GOAL) or _goal_without_file(decisions)
    result = whole(read_result, root / RESULT) if (root / RESULT).exists() else None
    events, num_damaged = whole(read_events, root / EVENTS) or ((), 0)
    if num_damaged:
        damaged[EVENTS] = f"{num_damaged} lines of {root / EVENTS} are damaged and left out"
    return RunRecord(root, about, goal, steps, decisions, result, damaged, events)


def decision_in_force(run: RunRecord, step: int) -> Decision:
    """The newest decision at or before control step `step`; raises `DataError` when there is none, or it is damaged."""
    steps = [decision.step for decision in run.decisions]
    found = run.decision_at(step)
    last = max([number.number for number in run.steps] + steps, default=-1)
    if found is None or not 0 <= step <= last:
        made = ", ".join(map(str, steps)) or "none"
        raise DataError(f"no decision of {run.root} is in force at control step {step}; there are decisions at {made}")
    for name, sentence in run.damaged.items():
        if name.startswith(f"{DECISIONS}/") and found.step < int(Path(name).stem) <= step:
            raise DataError(f"the decision in force at control step {step} is damaged: {sentence}")
    return found


def find_record(path: Path | str) -> Path:
    """The record in `path`, which is one or holds one; raises `DataError` that lists the records found deeper when it is neither."""
    root = Path(path)
    try:
        there = next((folder for folder in (root, root / "record") if (folder / RUN).exists()), None)
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise DataError(f"no run in {shown(str(root))}: {one_line(error)}") from None
    if there is not None:
        return there
    if not root.is_dir():
        raise DataError(f"no run in {root}: there is no such folder; `robo-dream plan` leaves them in runs/plan/<date>/<task>-<seed>")
    found = sorted(records_in(root))
    if found:
        raise DataError(f"{root} holds {len(found)} runs; give one of them: {', '.join(map(str, found[-5:]))}")
    raise DataError(f"no run in {root}: {RUN} is missing; give the folder of one episode, such as runs/plan/<date>/push-0")


def records_in(folder: Path) -> list[Path]:
    """The records up to three folders below `folder`, as far as it can be looked through: others may be at work there."""
    found: list[Path] = []
    for depth in ("*", "*/record", "*/*/record"):
        with suppress(OSError):
            found.extend(file.parent for file in folder.glob(f"{depth}/{RUN}"))
    return found


def read_about(root: Path) -> dict[str, Any]:
    """What run.json says; raises `DataError` when `root` holds no run, or one of another version."""
    if not (root / RUN).exists():
        raise DataError(f"no run in {root}: {RUN} is missing; give the folder of one episode, such as runs/plan/<date>/push-0/record")
    about = read_json(root / RUN)
    if about.get("version") != VERSION:
        raise DataError(f"{root / RUN} is version {shown(about.get('version'))}; this reads {VERSION}: use the release that wrote it")
    require_about(about, root / RUN)
    return about


def in_order(folder: Path) -> list[Path]:
    """The numbered files of `folder`, the earliest first, as far as they hang together: see `out_of_order`."""
    files = _numbered(folder)
    return files[: _first_far(files)]


def out_of_order(folder: Path) -> list[Path]:
    """Numbered files so far beyond the one before them that no run lost as many: nobody's, and never read."""
    files = _numbered(folder)
    return files[_first_far(files) :]


def _numbered(folder: Path) -> list[Path]:
    files = (file for file in folder.glob("[0-9]*.npz") if _NUMBER.fullmatch(file.stem) and file.stem == f"{int(file.stem):06d}")
    return sorted(files, key=lambda file: int(file.stem))


def _first_far(files: Sequence[Path]) -> int:
    numbers = [-1, *(int(file.stem) for file in files)]
    return next((place for place, (before, after) in enumerate(pairwise(numbers)) if after - before > BUDGET.gap), len(files))


def _far(file: Path) -> str:
    return f"{file} is left out: more than {BUDGET.gap} files before it are missing"


def step_shape(step: StepRecord) -> tuple[Any, ...]:
    """What is the same at every control step of a run: pictures and how many numbers an action has (None: none was sent)."""
    frames = {name: frame.image.shape for name, frame in step.observation.frames.items()}
    return frames, len(step.observation.arm.joint_pos), *(None if one is None else len(one) for one in (step.sent, step.applied))


def decision_shape(decision: Decision) -> tuple[int, ...]:
    """What is the same in every decision of a run: channels, and numbers of an action."""
    return len(decision.belief), decision.actions.shape[-1]


def like(shape: tuple[Any, ...], first: tuple[Any, ...]) -> bool:
    """Whether two shapes are of one run; None is anything."""
    return all(a == b or a is None or b is None for a, b in zip(shape, first, strict=True))


def unlike(file: Path) -> str:
    return f"{file} is not of this run: its pictures or vectors are of other sizes than those of the first file"


def _alike(read: Sequence[tuple[Path, Part]], shape: Callable[[Part], tuple[Any, ...]], damaged: dict[str, str]) -> tuple[Part, ...]:
    """The parts that are as the first; the others are noted in `damaged`."""
    kept = []
    for file, one in read:
        if like(shape(one), shape(read[0][1])):
            kept.append(one)
        else:
            damaged[f"{file.parent.name}/{file.name}"] = unlike(file)
    return tuple(kept)


def read_result(path: Path) -> dict[str, Any]:
    """How a run ended; raises `DataError`."""
    result = read_json(path)
    require_result(result, path)
    return result


def _goal_without_file(decisions: Sequence[Decision]) -> GoalRecord:
    """What the decisions know of the goal, where its own file is damaged: everything but the pictures."""
    if not decisions:
        return GoalRecord({}, np.zeros(0, np.float32), None, None)
    first = decisions[0]
    return GoalRecord({}, first.goal, first.goal_object_pos, first.goal_tool_pos)


def read_goal(path: Path) -> GoalRecord:
    """The goal in one file; raises `DataError` like `read_run`."""
    arrays, _ = read_archive(path)
    if "latent" not in arrays:
        raise DataError(f"{path} is not a goal of version {VERSION}: it has no latent; use the release that wrote it")
    try:
        goal = GoalRecord(part(arrays, "picture"), arrays["latent"], _of_objects(arrays.get("object_pos"), path), arrays.get("tool_pos"))
    except TypeError as error:  # where types are checked while this runs
        raise DataError(f"{path} is not a goal of version {VERSION} ({one_line(error)})") from None
    require_fields(replace(goal, pictures={}), path)  # cameras have sizes of their own
    for name, picture in goal.pictures.items():
        require_picture(picture, name, path)
    return goal


def read_decision(path: Path) -> Decision:
    """The decision in one file; raises `DataError` like `read_run`."""
    arrays, about = read_archive(path)
    try:
        terms = {new_term(name): values for name, values in part(arrays, "term").items()}
        about = {OLD_FIELDS.get(name, name): value for name, value in about.items()}
        rest = {name: array for name, array in arrays.items() if not name.startswith("term.")}
        about["origin_names"] = [OLD_ORIGINS.get(name, name) for name in about.get("origin_names", ())]
        lists = {name: tuple(value) for name, value in about.items() if isinstance(value, list)}
        values: dict[str, Any] = about | lists | rest | {"terms": terms}
        values["goal_object_pos"] = _of_objects(rest.get("goal_object_pos"), path)
        decision = Decision(**values)
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not a decision of version {VERSION} ({one_line(error)}); use the release that wrote it") from None
    require_decision(decision, path)
    num_samples = len(decision.candidates)
    require_indices(decision.origins, 0, len(decision.origin_names), "origins", path)
    require_indices(decision.elites, 0, num_samples, "elites", path)
    require_indices(decision.modes, -1, num_samples, "modes", path)
    return decision


def _of_objects(positions: np.ndarray | None, path: Path) -> Float[np.ndarray, "object 3"] | None:
    """Positions as they are kept now; older records have that of the one object."""
    if positions is not None and positions.shape[-1:] != (3,):
        raise DataError(f"{path}: positions of objects are an array of shape {positions.shape}; expected three numbers for each")
    return None if positions is None else positions.reshape(-1, 3)


def read_step(path: Path) -> StepRecord:
    """The step in one file; raises `DataError` like `read_run`."""
    arrays, about = read_archive(path)
    try:
        images, arm = part(arrays, "image"), part(arrays, "arm")
        frames = {name: Frame(time, images[name], number) for name, (time, number) in about["frames"].items()}
        values: dict[str, Any] = about["arm"] | arm
        observation = Observation(about["time"], frames, ArmState(**values), part(arrays, "truth"))
        step = StepRecord(int(path.stem), observation, arrays.get("sent"), arrays.get("applied"))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a step of version {VERSION} ({one_line(error)}); use the release that wrote it") from None
    for name, frame in frames.items():
        require_picture(frame.image, name, path)
        require_fields(frame, path)
    for part_of_it in (observation.arm, observation, step):
        require_fields(part_of_it, path)
    return step


def describe(run: RunRecord) -> str:
    """The run's description as indented JSON, for people."""
    return json.dumps({**run.about, "result": run.result}, indent=2)
