"""Goals of a run: a held-out pair of a twin, a snapshot, picture files, or a pose."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from robo_dream.control.cartesian import downward_quat
from robo_dream.control.episode import Bench
from robo_dream.embodiment import ArmState, Frame, Observation, Pose
from robo_dream.errors import ConfigError, ContractError, DataError
from robo_dream.imagination import Goal
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_observation, goal_from_positions
from robo_dream.recording.archive import part, read_archive, write_archive
from robo_dream.runtime.cameras import crop_image
from robo_dream.runtime.connect import Connected
from robo_dream.runtime.run import AnyGoal, DrawnGoal, PairGoal, PicturesGoal, PoseGoal, SnapshotGoal
from robo_dream.viewer.pictures import write_png

Pictures = Mapping[str, UInt8[np.ndarray, "height width 3"]]


def goal_of(config: AnyGoal, model: LatentVideoModel, bench: Connected) -> tuple[Goal, Pictures]:
    """The goal, and the pictures that show it (none for a pose)."""
    match config:
        case PairGoal() | DrawnGoal():
            assert bench.attempt is not None
            seen = bench.attempt.goal_observation()
        case SnapshotGoal():
            seen = read_snapshot(config.file)
        case PicturesGoal():
            seen = _from_files(config, model, bench)
        case PoseGoal():
            with torch.no_grad():
                latent = model.believe([[Bench(bench.arm, bench.cameras, bench.clock).observe()]]).latent
            tool = None if config.tool_pos is None else torch.tensor([config.tool_pos], device=model.device)
            things = None
            if config.object_pos is not None:  # of the first object; the others stay
                things = torch.full((1, model.spec.num_objects, 3), torch.nan, device=model.device)
                things[0, 0] = torch.tensor(config.object_pos)
            return goal_from_positions(latent, things, tool), {}
    size = model.spec.config.image_size
    for name, image in zip(model.cameras, seen.images(model.cameras), strict=True):
        if image.shape != (size, size, 3):
            raise DataError(f"the goal picture of camera {name!r} has shape {image.shape}; the checkpoint takes {size} x {size}")
    return goal_from_observation(model, seen), {name: seen.frames[name].image for name in model.cameras}


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


def _from_files(config: PicturesGoal, model: LatentVideoModel, bench: Connected) -> Observation:
    from PIL import Image, UnidentifiedImageError

    missing = [name for name in model.cameras if name not in config.files]
    if missing:
        raise ConfigError(f"goal.files has no picture of camera {', '.join(missing)}; give one for each of {', '.join(model.cameras)}")
    state, frames = bench.arm.state(), {}
    for name in model.cameras:
        try:
            with Image.open(config.files[name]) as picture:
                image = np.asarray(picture.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"the goal picture of camera {name!r} cannot be read: {error}") from error
        frames[name] = Frame(state.time, crop_image(image, model.spec.config.image_size))
    if config.tool_pos is not None:
        pos, yaw, grip = np.asarray(config.tool_pos, float), config.tool_yaw, config.gripper
        kinematics = bench.world.kinematics
        joints = kinematics.inverse(state.joint_pos, Pose(pos, downward_quat(yaw)), 200)
        reached = kinematics.forward(joints).pos
        if np.linalg.norm(reached - pos) > 0.01:
            raise ContractError(f"goal.tool_pos {config.tool_pos} is out of reach; the nearest is {reached.round(3)}")
        state = ArmState(state.time, joints, np.zeros_like(joints), pos, downward_quat(yaw), yaw, grip, pos, yaw, grip, joints)
    elif model.spec.config.picture_goals:  # as `evaluate` shows it: nothing is said of the arm there
        state = ArmState.unknown(state.time, len(state.joint_pos))
    return Observation(state.time, frames, state)
