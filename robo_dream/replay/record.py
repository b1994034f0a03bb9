"""A stored run, read back: its description, goal, observations, actions and decisions. Needs no torch.

A run is a folder, written by `robo_dream.replay.writer` one whole file at a time, so it reads after a crash at any byte:

    run.json               configuration, checkpoint and its hash, code version, goal in words
    goal.npz               goal pictures, latent and positions
    decisions/000015.npz   the decision made at control step 15
    steps/000017.npz       observation 17, the action that was sent there and what the arm applied
    result.json            how it ended; missing when it was cut short
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.data.layout import read_json
from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.errors import DataError
from robo_dream.replay.archive import part, read_archive
from robo_dream.replay.decision import Decision

VERSION = 1
RUN, GOAL, RESULT = "run.json", "goal.npz", "result.json"
DECISIONS, STEPS = "decisions", "steps"


@dataclass(frozen=True)
class GoalRecord:
    """What was to be reached: a picture of each camera (none when the goal was given in numbers), the latent, positions in metres."""

    pictures: Mapping[str, UInt8[np.ndarray, "height width 3"]]
    latent: Float[np.ndarray, " channel"]
    object_pos: Float[np.ndarray, "3"] | None
    tool_pos: Float[np.ndarray, "3"] | None


@dataclass(frozen=True)
class StepRecord:
    """One observation, and the action sent there with what the arm applied of it (None after the last)."""

    observation: Observation
    sent: Float[np.ndarray, " action"] | None
    applied: Float[np.ndarray, " action"] | None


@dataclass(frozen=True)
class RunRecord:
    """One episode on disk. `result` is None when it was cut short."""

    root: Path
    about: Mapping[str, Any]
    goal: GoalRecord
    steps: tuple[StepRecord, ...]
    decisions: tuple[Decision, ...]
    result: Mapping[str, Any] | None

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(self.steps[0].observation.frames) if self.steps else tuple(self.goal.pictures)

    def decision_at(self, step: int) -> Decision | None:
        """The newest decision made at or before control step `step`."""
        return next((decision for decision in reversed(self.decisions) if decision.step <= step), None)


def read_run(path: Path | str) -> RunRecord:
    """The run in folder `path`; raises `DataError` when there is none or a file of it is damaged."""
    root = Path(path)
    about = read_about(root)
    steps = tuple(read_step(file) for file in in_order(root / STEPS))
    decisions = tuple(read_decision(file) for file in in_order(root / DECISIONS))
    result = read_json(root / RESULT) if (root / RESULT).exists() else None
    return RunRecord(root, about, read_goal(root / GOAL), steps, decisions, result)


def read_about(root: Path) -> dict[str, Any]:
    """What run.json says; raises `DataError` when `root` holds no run, or one of another version."""
    if not (root / RUN).exists():
        raise DataError(f"no run in {root}: {RUN} is missing; give the folder of one episode, such as runs/plan/<date>/push-0/record")
    about = read_json(root / RUN)
    if about.get("version") != VERSION:
        raise DataError(f"{root / RUN} is version {about.get('version')}; this reads {VERSION}: use the release that wrote it")
    return about


def in_order(folder: Path) -> list[Path]:
    """The numbered files of `folder`, the earliest first."""
    return sorted(folder.glob("[0-9]*.npz"))


def read_goal(path: Path) -> GoalRecord:
    """The goal in one file; raises `DataError` like `read_run`."""
    arrays, _ = read_archive(path)
    return GoalRecord(part(arrays, "picture"), arrays["latent"], arrays.get("object_pos"), arrays.get("tool_pos"))


def read_decision(path: Path) -> Decision:
    """The decision in one file; raises `DataError` like `read_run`."""
    arrays, about = read_archive(path)
    try:
        terms = part(arrays, "term")
        rest = {name: array for name, array in arrays.items() if not name.startswith("term.")}
        values: dict[str, Any] = about | rest | {"origin_names": tuple(about["origin_names"]), "terms": terms}
        return Decision(**values)
    except (TypeError, KeyError) as error:
        raise DataError(f"{path} is not a decision of version {VERSION} ({error}); use the release that wrote it") from None


def read_step(path: Path) -> StepRecord:
    """The step in one file; raises `DataError` like `read_run`."""
    arrays, about = read_archive(path)
    try:
        images, arm = part(arrays, "image"), part(arrays, "arm")
        frames = {name: Frame(time, images[name], number) for name, (time, number) in about["frames"].items()}
        values: dict[str, Any] = about["arm"] | arm
        state = ArmState(**values)
    except (TypeError, KeyError) as error:
        raise DataError(f"{path} is not a step of version {VERSION} ({error}); use the release that wrote it") from None
    observation = Observation(about["time"], frames, state, part(arrays, "truth"))
    return StepRecord(observation, arrays.get("sent"), arrays.get("applied"))


def describe(run: RunRecord) -> str:
    """The run's description as indented JSON, for people."""
    return json.dumps({**run.about, "result": run.result}, indent=2)
