"""Frozen start-goal pairs of one task, with a hash, so that a table says exactly what it was measured on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from robo_dream.errors import DataError, one_line
from robo_dream.files import packaged, replace_file
from robo_dream.foreign import BUDGET, parse_object, require_budget, whole_number
from robo_dream.schema import shown

VERSION = 1


@dataclass(frozen=True)
class Pair:
    """Where an attempt at a task starts, and where it should end, as states of the simulator; `budget` control steps are allowed."""

    task: str
    start: Float64[np.ndarray, " state"]
    goal: Float64[np.ndarray, " state"]
    budget: int | None = None  # None: nobody has said


@dataclass(frozen=True)
class Manifest:
    """Pairs of simulator states from held-out episodes; `steps` is how many control steps the episode took between them.

    0 where no episode joins them. `budget_steps` are the control steps allowed, where a protocol says so; without it, see `budget`.
    """

    task: str
    starts: Float64[np.ndarray, "pair state"]
    goals: Float64[np.ndarray, "pair state"]
    steps: Int64[np.ndarray, " pair"]
    episodes: Int64[np.ndarray, " pair"]  # seed of the episode that the pair was cut from
    budget_steps: int | None = None

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def sha256(self) -> str:
        """Hash of task and contents."""
        digest = hashlib.sha256(self.task.encode())
        for array in (self.starts, self.goals, self.steps, self.episodes):
            digest.update(np.ascontiguousarray(array).tobytes())
        if self.budget_steps is not None:
            digest.update(str(self.budget_steps).encode())
        return digest.hexdigest()

    def pair(self, number: int) -> Pair:
        return Pair(self.task, self.starts[number], self.goals[number], self.budget(number))

    def budget(self, pair: int) -> int:
        """Control steps allowed: `budget_steps`, or 2.5 times the steps that the goal was away, at least 25."""
        if self.budget_steps is not None:
            return self.budget_steps
        return max(25, int(2.5 * int(self.steps[pair])))


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Whole or not at all."""
    header = {"version": str(VERSION), "task": manifest.task, "sha256": manifest.sha256, "budget_steps": manifest.budget_steps}
    arrays = {name: np.ascontiguousarray(getattr(manifest, name)) for name in ("starts", "goals", "steps", "episodes")}
    replace_file(path, save(arrays, metadata={"robo_dream": json.dumps(header)}))


def read_manifest(path: Path, state_size: int | None = None) -> Manifest:
    """Raises `DataError` for a file that is missing, damaged, changed since it was made, or made for another scene."""
    path = packaged(path)
    if not path.is_file():
        raise DataError(f"no manifest at {path}; make it with `robo-dream evaluate --make-manifests`")
    try:
        require_budget(path.stat().st_size, BUDGET.file, f"{path}", "bytes")
        with safe_open(path, "numpy") as file:
            header = parse_object((file.metadata() or {}).get("robo_dream", "{}"), "its header")
            starts, goals, steps, episodes = (file.get_tensor(name) for name in ("starts", "goals", "steps", "episodes"))
            manifest = Manifest(header.get("task", ""), starts, goals, steps, episodes, header.get("budget_steps"))
            _require_pairs(manifest)
    except (SafetensorError, DataError, OSError, TypeError, ValueError) as error:  # TypeError: numbers that NumPy has no type for
        raise DataError(f"{path} is not a manifest: {one_line(error)}; restore it from git") from error
    if header.get("version") != str(VERSION) or header.get("sha256") != manifest.sha256:
        raise DataError(f"{path} does not match its own hash {shown(header.get('sha256'))}; it was changed: restore it from git")
    if state_size is not None and manifest.starts.shape[1] != state_size:
        size = manifest.starts.shape[1]
        raise DataError(f"{path} holds states of {size} numbers, the scene has {state_size}; it was made for another scene")
    return manifest


def _require_pairs(manifest: Manifest) -> None:
    """Raises `DataError` unless it has a pair, and for each of them one state of each kind, in numbers that are finite."""
    states = (manifest.starts, manifest.goals)
    if not all(one.dtype == np.float64 and one.ndim == 2 and one.shape == states[0].shape and np.isfinite(one).all() for one in states):
        raise DataError(f"states are {' and '.join(f'{one.dtype} {one.shape}' for one in states)}; expected finite float64 (pair, state)")
    counts = (manifest.steps, manifest.episodes)
    if not all(one.dtype == np.int64 and one.shape == states[0].shape[:1] and (one >= 0).all() for one in counts):
        raise DataError(
            f"steps and episodes are {' and '.join(f'{one.dtype} {one.shape}' for one in counts)}; expected int64 (pair,), from 0"
        )
    if not len(manifest) or not isinstance(manifest.task, str):
        raise DataError(f"it holds {len(manifest)} pairs of the task {str(manifest.task)[:60]!r}; expected one pair at least, and a name")
    if manifest.budget_steps is not None:
        whole_number(manifest.budget_steps, "budget_steps", "it", 1, 1_000_000)


def choose_pairs(candidates: Sequence[tuple[int, int]], rng: np.random.Generator, most: int, apart: int = 10) -> list[tuple[int, int]]:
    """At most `most` of an episode's (start, goal) frames, at random, whose starts lie `apart` frames from each other."""
    chosen: list[tuple[int, int]] = []
    for place in rng.permutation(len(candidates)):
        start, goal = candidates[int(place)]
        if all(abs(start - other) >= apart for other, _ in chosen):
            chosen.append((start, goal))
        if len(chosen) == most:
            break
    return chosen
