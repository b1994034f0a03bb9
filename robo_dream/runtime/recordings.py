"""What others recorded of an arm that we know: LeRobot's datasets of an SO-100 or SO-101 are opened as if they were ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np

from hardware.arms.so101 import RANGES
from robo_dream import store
from robo_dream.control.cartesian import most_joint_move, with_tool
from robo_dream.control.kinematics import Kinematics
from robo_dream.data import layout, metadata
from robo_dream.data.cache import Datasets, dataset_folders, joined, open_dataset
from robo_dream.data.joints import JointReading, is_of_joints, require_degrees, usual_moves
from robo_dream.data.reader import Dataset
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import DataError
from robo_dream.runtime.cameras import crop_image
from sim.tabletop.scene import Scene, SceneConfig, build_scene
from sim.tabletop.world import CONTROL_DT

ARMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    name: ("so101", tuple(RANGES)) for name in ("so_follower", "so101_follower", "so100_follower", "so101", "so100")
}
"""By LeRobot's `robot_type`: the model of the arm in our scene, and its joints."""


def is_recording(folder: Path) -> bool:
    """Whether the dataset in `folder` is one of joints that robo_dream did not write."""
    if store.exists(folder / layout.SPEC) or not store.exists(folder / layout.INFO):
        return False
    info = metadata.read_info(folder)
    return is_of_joints(info) or str(info.get("robot_type")) in ARMS


def open_training(roots: Sequence[Path], size: int, action_spec: ActionSpec | None = None, pictures: bool = True) -> Datasets:
    """The datasets in `roots` as one: our own, recordings of joints, or these and runs of a model that was learned from such.

    Without `pictures` those that are there are left out. Raises `DataError` for datasets that do not fit together, or `action_spec`.
    """
    folders = dataset_folders(roots)
    recordings = [folder for folder in folders if is_recording(folder)]
    if not recordings:
        return open_dataset(folders, action_spec=action_spec, pictures=pictures)
    if len(recordings) == len(folders) and action_spec is None:
        return open_recordings(recordings, size, pictures=pictures)
    own = [folder for folder in folders if folder not in recordings]
    parts: Sequence[Dataset] = open_dataset(own, action_spec=action_spec, pictures=pictures).parts if own else []
    spec = action_spec or parts[0].spec.action_spec
    if spec.kind != "joint_move":
        raise DataError(
            f"{recordings[0]} is a recording of joints, and the actions of the other data are {', '.join(spec.names)}; "
            f"train on one kind at a time"
        )
    return joined([*open_recordings(recordings, size, action_spec=spec, pictures=pictures).parts, *parts])


def open_recordings(
    roots: Path | Sequence[Path],
    size: int,
    cameras: tuple[str, ...] | None = None,
    action_spec: ActionSpec | None = None,
    pictures: bool = True,
) -> Datasets:
    """The recordings in `roots` with pictures of `size` x `size` pixels and joint moves as actions.

    Their limits are those of `action_spec`; without one, what nearly all recorded moves keep to and the arm allows. Raises `DataError`
    for another arm, other units, or datasets that do not fit together.
    """
    folders = dataset_folders(roots)
    arm = _arm_of(folders)
    scene = build_scene(SceneConfig(arm=arm.model))
    most = most_joint_move(scene.arm.limits, CONTROL_DT)
    spec = action_spec or ActionSpec.joint_moves(arm.joints, most, CONTROL_DT)
    reading = JointReading(spec, _Locator(scene), partial(crop_image, size=size), size)
    data = open_dataset(folders, cameras, pictures=pictures, reading=reading)
    largest = _require_units(data)
    return data if action_spec is not None or not largest.size else _limited(data, usual_moves(largest, most))


@dataclass(frozen=True)
class _Arm:
    model: str
    joints: tuple[str, ...]


def _arm_of(folders: Sequence[Path]) -> _Arm:
    for folder in folders:
        kind = str(metadata.read_info(folder).get("robot_type"))
        if kind not in ARMS:
            raise DataError(
                f"{folder} was recorded of robot_type {kind[:100]!r}; joints are read of {', '.join(ARMS)}, whose model is here"
            )
    return _Arm(*ARMS[str(metadata.read_info(folders[0])["robot_type"])])


def _require_units(data: Datasets) -> np.ndarray:
    """All recorded moves; raises `DataError` for a recording that is not in degrees."""
    moves = []
    for part in data.parts:
        furthest = np.zeros(part.spec.action_spec.size - 1)
        for index in range(part.num_episodes):
            state, action = part.joints(index)
            furthest = np.maximum(furthest, np.abs(np.concatenate([state, action])[:, :-1]).max(axis=0))
            targets = action[np.arange(0, len(action), part.every)[1:] - 1]
            moves.append(np.diff(targets, axis=0, prepend=state[:1]))
        if part.num_episodes:
            require_degrees(furthest, part.root)
    return np.concatenate(moves) if moves else np.zeros(0)


def _limited(data: Datasets, most: np.ndarray) -> Datasets:
    """`data` with action limits of `most`."""
    parts = []
    for part in data.parts:
        assert part.reading is not None
        spec = ActionSpec.joint_moves(part.spec.action_spec.names[:-1], most, part.spec.action_spec.control_dt)
        parts.append(replace(part, spec=replace(part.spec, action_spec=spec), reading=replace(part.reading, action_spec=spec)))
    return Datasets(tuple(parts))


class _Locator:
    """Works out where the tool of the arm in `scene` is. Its kinematics are for one thread at a time, and episodes are read by several."""

    def __init__(self, scene: Scene) -> None:
        self._kinematics, self._lock = Kinematics(scene.model, scene.joint_names, scene.tool_site), Lock()

    def __call__(self, state: ArmState) -> ArmState:
        with self._lock:
            return with_tool(state, self._kinematics)
