"""A run on disk, read file by file as it grows, so that a page opens at once and follows an arm that is still moving."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from robo_dream.errors import DataError
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import (
    DECISIONS,
    GOAL,
    RESULT,
    STEPS,
    GoalRecord,
    StepRecord,
    decision_shape,
    in_order,
    like,
    read_about,
    read_decision,
    read_goal,
    read_result,
    read_step,
    step_shape,
    unlike,
)
from robo_dream.recording.timeline import (
    DecisionGlimpse,
    Row,
    damaged_row,
    decision_row,
    read_decision_glimpse,
    read_step_glimpse,
    step_row,
)

_KEPT_DECISIONS, _KEPT_STEPS = 48, 600  # whole ones in memory: under 100 MB of the largest that are usual
_KEPT_BYTES = 256 << 20  # of either, as files
Read = TypeVar("Read")


class RunWatch:
    """What is known of the run in `root` so far. `refresh` adds what was written since; nothing is ever written.

    `decisions` and `steps` are rows for a time line, in order, and row n of `steps` is control step n; `decision` and `step`
    give whole ones. Not for several threads at once.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time) -> None:
        self.root, self._clock, self._wall_clock = root, clock, wall_clock
        self.about, self.goal = read_about(root), _goal(root)
        self.decisions: list[Row] = []
        self.steps: list[Row] = []
        self.result: Mapping[str, Any] | None = None
        self._decision_files: list[Path] = []
        self._step_files: list[Path] = []
        self._beliefs: dict[int, np.ndarray] = {}  # control step: latent that was believed there
        self._unread: deque[tuple[Callable[[Path], None], Path]] = deque()
        self._ended: Mapping[str, Any] | None = None
        self._first: DecisionGlimpse | None = None
        self._before: DecisionGlimpse | None = None
        self._shapes: dict[type, tuple[Any, ...]] = {}  # of the first whole one that was read
        self._kept: dict[type, OrderedDict[int, tuple[Any, int]]] = {Decision: OrderedDict(), StepRecord: OrderedDict()}

    def refresh(self, seconds: float = math.inf) -> bool:
        """Reads what is new, for about `seconds`; True when there is more to read."""
        until = self._clock() + seconds
        if not self._unread:
            self._ended = _result(self.root)  # before the files are listed: it comes last
            self._unread.extend((self._add_decision, file) for file in in_order(self.root / DECISIONS)[len(self._decision_files) :])
            self._unread.extend((self._add_step, file) for file in in_order(self.root / STEPS) if int(file.stem) >= len(self._step_files))
        while self._unread:
            add, file = self._unread.popleft()
            add(file)
            if self._unread and self._clock() > until:
                return True
        self.result = self._ended
        return False

    @property
    def cameras(self) -> tuple[str, ...]:
        try:
            return tuple(self.step(0).observation.frames)
        except DataError:
            return tuple(self.goal.pictures)

    @property
    def silent_seconds(self) -> float:
        """Since the newest file came, by the clock of files; a run that was killed stays silent."""
        folders = [folder for folder in (self.root, self.root / DECISIONS, self.root / STEPS) if folder.is_dir()]
        return self._wall_clock() - max(folder.stat().st_mtime for folder in folders)

    @property
    def channels(self) -> int:
        """Numbers in a latent; 0 while nothing says."""
        return len(self._first.belief) if self._first is not None else len(self.goal.latent)

    def decision(self, index: int) -> Decision:
        return self._whole(index, self._decision_files, read_decision, Decision, _KEPT_DECISIONS)

    def step(self, number: int) -> StepRecord:
        return self._whole(number, self._step_files, read_step, StepRecord, _KEPT_STEPS)

    def believed(self, step: int) -> np.ndarray | None:
        """The latent that was believed at control step `step`, where a decision was made there: what was measured, in the model's words."""
        return self._beliefs.get(step)

    def _add_decision(self, file: Path) -> None:
        self._decision_files.append(file)
        try:
            decision = read_decision_glimpse(file)
            first = self._first or decision
            if (len(decision.belief), decision.actions.shape[-1]) != (len(first.belief), first.actions.shape[-1]):
                raise DataError(unlike(file))
        except DataError as error:
            self.decisions.append(damaged_row(int(file.stem), str(error)))
            return
        self.decisions.append(decision_row(decision, self._before))
        self._beliefs[decision.step] = decision.belief
        self._first, self._before = self._first or decision, decision

    def _add_step(self, file: Path) -> None:
        for number in range(len(self._step_files), int(file.stem)):  # lost: the files are written in order
            self._step_files.append(file.with_name(f"{number:06d}.npz"))
            self.steps.append(damaged_row(number, f"{self._step_files[-1]} is missing"))
        self._step_files.append(file)
        try:
            step = read_step_glimpse(file)
            size = None if self._first is None else self._first.actions.shape[-1]
            if not all(like((None if one is None else len(one),), (size,)) for one in (step.sent, step.applied)):
                raise DataError(unlike(file))
            self.steps.append(step_row(step, self._first, self.about))
        except DataError as error:
            self.steps.append(damaged_row(int(file.stem), str(error)))

    def _whole(self, index: int, files: list[Path], read: Callable[[Path], Read], kind: type, most: int) -> Read:
        kept = self._kept[kind]
        if index not in kept:
            if not 0 <= index < len(files):
                raise DataError(f"{self.root} has no {kind.__name__} {index}; there are {len(files)} so far")
            found = read(files[index])
            self._require_like_first(kind, found, files[index])
            kept[index] = found, files[index].stat().st_size
        kept.move_to_end(index)
        while len(kept) > most or (len(kept) > 1 and sum(size for _, size in kept.values()) > _KEPT_BYTES):
            kept.popitem(last=False)
        return kept[index][0]

    def _require_like_first(self, kind: type, found: Any, file: Path) -> None:
        """Raises `DataError` for a file of another run's sizes."""
        shape = decision_shape(found) if kind is Decision else step_shape(found)
        if not like(shape, self._shapes.setdefault(kind, shape)):
            raise DataError(unlike(file))


def _goal(root: Path) -> GoalRecord:
    """The goal, or one of which nothing is known where its file is missing or damaged."""
    try:
        return read_goal(root / GOAL)
    except (DataError, KeyError):
        return GoalRecord({}, np.zeros(0, np.float32), None, None)


def _result(root: Path) -> Mapping[str, Any] | None:
    try:
        return read_result(root / RESULT) if (root / RESULT).exists() else None
    except DataError:
        return None  # damaged: how it ended is not known
