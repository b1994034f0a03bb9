"""Runs as training data: what was seen, sent and done, in the form in which datasets keep it. Needs no torch."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from robo_dream.data.episode import Episode
from robo_dream.data.spec import CameraSpec, DatasetSpec, Storage
from robo_dream.data.writer import DatasetWriter
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import DataError
from robo_dream.recording.record import RunRecord, StepRecord
from robo_dream.viewer.page_data import world_name

_TOLERANCE = 1e-6


def action_spec_of(run: RunRecord) -> ActionSpec | None:
    """What the actions of `run` mean; None in a run that was recorded before that was kept."""
    told = run.about.get("action_spec")
    return None if told is None else ActionSpec.from_json(told)


def dataset_spec(run: RunRecord, action_spec: ActionSpec, storage: Storage = "image") -> DatasetSpec:
    """What all runs of a dataset have in common with `run`. Raises `DataError` for a run of which nothing can be learned."""
    first = next(iter(run.steps), None)
    if first is None:
        raise DataError(f"the run in {run.root} has no control steps that can be read; leave it out")
    frames = first.observation.frames
    cameras = tuple(CameraSpec(name, *frame.image.shape[:2]) for name, frame in frames.items())
    recipe = {"command": "robo-dream replay --lerobot", "checkpoint_sha256": run.about.get("checkpoint_sha256", "unknown")}
    robot = world_name(run.about).removeprefix("tabletop ") or "unknown"
    num_objects = max(1, len(first.observation.truth.get("object_pose", ())) // 7)
    return DatasetSpec(
        action_spec, cameras, action_spec.proprio_names, num_objects=num_objects, skills=("planned",), robot_type=robot, storage=storage,
        recipe=recipe,
    )  # fmt: skip


def episodes(run: RunRecord, spec: DatasetSpec) -> Iterator[Episode]:
    """The run as one episode, or as several around what is lost of it. Actions are those that were sent, as in collected data.

    Pieces of a single observation teach nothing and are left out.
    """
    for piece in _pieces(run.steps):
        seen = [step.observation for step in piece]
        actions = [step.sent for step in piece[:-1] if step.sent is not None]
        if {tuple(one.frames) for one in seen} != {spec.camera_names}:
            raise DataError(f"the run in {run.root} has not the cameras {spec.camera_names} at every control step; leave it out")
        unknown = np.full(7 * spec.num_objects, np.nan)
        poses = [one.truth.get("object_pose", unknown) for one in seen]
        result = run.result or {}
        yield Episode(
            images={name: np.stack([one.frames[name].image for one in seen]) for name in spec.camera_names},
            proprio=np.stack([one.arm.proprio_for(spec.action_spec) for one in seen]),
            actions=np.stack(actions).astype(np.float32),
            object_pose=np.stack(poses).astype(np.float32),
            sim_state=np.zeros((len(seen), 0)),
            times=np.array([one.time for one in seen], np.float64),
            skill=np.zeros(len(seen), np.int64),
            task=str(run.about.get("task", "unnamed")),
            seed=int(run.about.get("seed", 0)),
            behavior="planned",
            info={
                "run": str(run.root), "first_step": piece[0].number, "goal": str(run.about.get("goal", "")),
                "end": result.get("end"), "moderate": result.get("moderate"), "strict": result.get("strict"),
            },
        )  # fmt: skip


def write_dataset(
    root: Path, runs: Sequence[RunRecord], spec: DatasetSpec, on_progress: Callable[[int, int], None] | None = None
) -> tuple[int, int]:
    """A LeRobotDataset v3.0 in `root`, which must not exist, written beside and renamed; the number of its episodes and frames."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} is there already; give a folder that is not, or delete it")
    root.parent.mkdir(parents=True, exist_ok=True)
    beside = root.with_name(f"{root.name}.tmp-{os.getpid()}")
    try:
        with DatasetWriter(beside, spec) as writer:
            for done, run in enumerate(runs):
                _require_same(spec, dataset_spec(run, action_spec_of(run) or spec.action_spec, spec.storage), run)
                for episode in episodes(run, spec):
                    writer.append(episode)
                if on_progress is not None:
                    on_progress(done + 1, len(runs))
            counts = writer.num_episodes, writer.num_frames
        if not counts[0]:
            raise DataError(
                f"none of the {len(runs)} runs holds two observations with an action between them; there is nothing to learn from"
            )
        if root.is_dir():
            root.rmdir()
        os.replace(beside, root)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return counts


def _require_same(spec: DatasetSpec, other: DatasetSpec, run: RunRecord) -> None:
    differences = spec.differences(other)
    if differences:
        raise DataError(f"the run in {run.root} does not fit the first one: {'; '.join(differences)}; give a dataset to each kind")


def _pieces(steps: Sequence[StepRecord]) -> Iterator[list[StepRecord]]:
    """Steps without a gap, in which every action but the last is known and time goes on; two observations at least."""
    piece: list[StepRecord] = []
    for step in steps:
        before = piece[-1] if piece else None
        if before is not None and (
            step.number != before.number + 1 or before.sent is None or step.observation.time <= before.observation.time + _TOLERANCE
        ):
            if len(piece) > 1:
                yield piece
            piece = []
        piece.append(step)
    if len(piece) > 1:
        yield piece
