"""Goals of a run: a held-out pair of a twin, a snapshot, picture files, or a pose."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from robo_dream.control.cartesian import downward_quat
from robo_dream.embodiment import ArmState, Frame, Observation, Pose
from robo_dream.errors import ConfigError, ContractError, DataError
from robo_dream.recording.archive import part, read_archive, write_archive
from robo_dream.runtime.cameras import crop_image
from robo_dream.runtime.connect import CameraSetup, Connected
from robo_dream.runtime.run import AnyGoal, DrawnGoal, PairGoal, PicturesGoal, PoseGoal, SnapshotGoal, TextGoal
from robo_dream.viewer.pictures import write_png

Pictures = Mapping[str, UInt8[np.ndarray, "height width 3"]]


def goal_seen(config: AnyGoal, setup: CameraSetup, bench: Connected) -> Observation | PoseGoal | TextGoal:
    """What the goal looks like to the cameras of `setup`; a pose is not seen, nor is what is asked for in words."""
    match config:
        case PairGoal() | DrawnGoal():
            assert bench.attempt is not None
            seen = bench.attempt.goal_observation()
        case SnapshotGoal():
            seen = read_snapshot(config.file)
        case PicturesGoal():
            seen = _from_files(config, setup, bench)
        case PoseGoal() | TextGoal():
            return config
    for name, image in zip(setup.cameras, seen.images(setup.cameras), strict=True):
        if image.shape != (setup.size, setup.size, 3):
            raise DataError(
                f"the goal picture of camera {name!r} has shape {image.shape}; the checkpoint takes {setup.size} x {setup.size}"
            )
    return seen


def pictures_of(seen: Observation | PoseGoal | TextGoal, cameras: tuple[str, ...]) -> Pictures:
    """The pictures that show a goal; none of a pose or of words."""
    return {} if isinstance(seen, PoseGoal | TextGoal) else dict(zip(cameras, seen.images(cameras), strict=True))


def write_snapshot(path: Path, observation: Observation) -> list[Path]:
    """Keeps `observation` in `path` (an npz), and a PNG of each camera beside; returns all files."""
    state = {field.name: getattr(observation.arm, field.name) for field in fields(ArmState)}
    arrays = {f"image.{name}": frame.image for name, frame in observation.frames.items()}
    arrays |= {f"arm.{name}": np.asarray(value, float) for name, value in state.items() if value is not None}
    write_archive(path, arrays, {"time": observation.time, "kind": "robo_dream goal"})
    pictures = [write_png(path.with_name(f"{path.stem}-{name}.png"), frame.image) for name, frame in observation.frames.items()]
    return [path, *pictures]


def read_snapshot(path: Path) -> Observation:
    """Raises `DataError` for a file that is missing, damaged or something else."""
    arrays, about = read_archive(path)
    if about.get("kind") != "robo_dream goal":
        raise DataError(f"{path} is no goal; make one with `robo-dream goal capture`")
    values: dict[str, Any] = {name: float(value) if value.ndim == 0 else value for name, value in part(arrays, "arm").items()}
    try:
        arm = ArmState(**values)
    except TypeError as error:
        raise DataError(f"{path} is a goal of another release ({error}); make it anew with `robo-dream goal capture`") from None
    frames = {name: Frame(about["time"], image) for name, image in part(arrays, "image").items()}
    return Observation(about["time"], frames, arm)


def _from_files(config: PicturesGoal, setup: CameraSetup, bench: Connected) -> Observation:
    from PIL import Image, UnidentifiedImageError

    missing = [name for name in setup.cameras if name not in config.files]
    if missing:
        raise ConfigError(f"goal.files has no picture of camera {', '.join(missing)}; give one for each of {', '.join(setup.cameras)}")
    state, frames = bench.arm.state(), {}
    for name in setup.cameras:
        try:
            with Image.open(config.files[name]) as picture:
                image = np.asarray(picture.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"the goal picture of camera {name!r} cannot be read: {error}") from error
        frames[name] = Frame(state.time, crop_image(image, setup.size))
    if config.tool_pos is not None:
        pos, yaw, grip = np.asarray(config.tool_pos, float), config.tool_yaw, config.gripper
        kinematics = bench.world.kinematics
        joints = kinematics.inverse(state.joint_pos, Pose(pos, downward_quat(yaw)), 200)
        reached = kinematics.forward(joints).pos
        if np.linalg.norm(reached - pos) > 0.01:
            raise ContractError(f"goal.tool_pos {config.tool_pos} is out of reach; the nearest is {reached.round(3)}")
        state = ArmState(state.time, joints, np.zeros_like(joints), pos, downward_quat(yaw), yaw, grip, pos, yaw, grip, joints)
    elif setup.picture_goals:  # as `evaluate` shows it: nothing is said of the arm there
        state = ArmState.unknown(state.time, len(state.joint_pos))
    return Observation(state.time, frames, state)
