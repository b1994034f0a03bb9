"""Recordings of an arm's joints, as LeRobot's recorder makes them, read as what a model learns from: nothing is converted on disk.

A recorded action is absolute: the target that each joint was given, in degrees, and how far the gripper was to open, 0 to 100. It is read
as a move: by how much the target in force changed during a control step. Moves are small numbers around zero whose zero holds still, which
is what a search adds noise to and fills up with; absolute targets in the range of a joint would leave 2 % of it to a control step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from robo_dream.data.features import camera_key, camera_names
from robo_dream.data.spec import CameraSpec, DatasetSpec
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import DataError

SUFFIX = ".pos"  # of the name of each joint's number
_TURN = 360.0  # degrees beyond which no servo's reading goes
_RADIANS = 3.5  # a recording in degrees within which every joint stays would be of an arm that hardly moves
_PERCENT, _EXACTLY = 100.0, 1e-3  # where readings in percent of a range end; ticks of a servo are 0.088 degrees apart
_ENDS = 2  # joints that end there; one may by chance
_SLACK = 1.0  # by which a gripper may read beyond its range of 0 to 100
_USUAL = 0.995  # of all moves are within the action limits that are made of them
_LEAST = 0.02  # rad, or closure: the least limit, so that a joint that rests is not blown up

Joints = Float[np.ndarray, "frame joint_and_gripper"]
Steps = Float[np.ndarray, "step joint_and_gripper"]


@dataclass(frozen=True)
class JointReading:
    """How an arm's recorded joints are read, in the words of that arm.

    `with_tool` works out where its tool is, `square` makes of a picture what a live camera's becomes, `size` pixels wide.
    """

    action_spec: ActionSpec  # joint moves
    with_tool: Callable[[ArmState], ArmState]
    square: Callable[[UInt8[np.ndarray, "height width 3"]], UInt8[np.ndarray, "size size 3"]]
    size: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the recorded numbers."""
        return tuple(f"{name}{SUFFIX}" for name in self.action_spec.names)

    def every(self, fps: float, root: Path) -> int:
        """How many recorded frames a control step has; raises `DataError` where that is no whole number."""
        frames = fps * self.action_spec.control_dt
        if round(frames) < 1 or abs(frames - round(frames)) > 1e-6 * frames:
            raise DataError(
                f"{root} is at {fps:g} fps, no multiple of the {1 / self.action_spec.control_dt:g} control steps a second; "
                f"record at 10, 20, 30, ... fps (lerobot-record --dataset.fps=30)"
            )
        return round(frames)

    def spec(self, root: Path, info: Mapping[str, Any]) -> DatasetSpec:
        """Of the dataset in `root` as it is read; raises `DataError` for joints of another arm, or another rate."""
        features = info["features"]
        for key in ("observation.state", "action"):
            order(features, key, self.names, root)
        every = self.every(info["fps"], root)
        cameras = tuple(CameraSpec(name, self.size, self.size) for name in camera_names(features))
        for camera in cameras:
            camera_key(features, camera.name)
        told = {"robot_type": str(info.get("robot_type"))[:100], "fps": info["fps"], "frames_a_control_step": every}
        return DatasetSpec(
            self.action_spec, cameras, self.action_spec.proprio_names, robot_type=told["robot_type"], recipe={"lerobot": told},
            test_fraction=1 / min(max(info["total_episodes"], 2), 10),
        )  # fmt: skip

    def joints(self, numbers: Float[np.ndarray, "frame number"], column: str, features: Mapping[str, Any], root: Path) -> Joints:
        """The recorded numbers of `column` in radians and closure, in the order of the arm; raises `DataError` for other units."""
        found = np.asarray(numbers, np.float64)[:, order(features, column, self.names, root)]
        low, high = np.full(found.shape[1], -_TURN), np.full(found.shape[1], _TURN)
        low[-1], high[-1] = -_SLACK, 100 + _SLACK
        odd = np.argwhere((found < low) | (found > high))
        if len(odd):
            frame, joint = odd[0]
            raise DataError(
                f"{column} of {self.names[joint]} is {found[frame, joint]:.4g} at frame {frame}; joints are read in degrees within "
                f"{_TURN:g} and the gripper from 0 to 100, as LeRobot records an SO-101 with use_degrees"
            )
        return np.column_stack([np.deg2rad(found[:, :-1]), np.clip(1 - found[:, -1] / 100, 0.0, 1.0)])

    def told(self, state: Joints, action: Joints, every: int) -> tuple[Steps, Steps]:
        """For each control step, where the joints were, and which target was in force.

        A target that moved further than the limits is followed as fast as they allow, as it would be here. What was in force before the
        first action nobody recorded: the arm is taken to have been where it was told to be.
        """
        at = np.arange(0, len(state), every)
        in_force = [state[0]]
        for target in action[at[1:] - 1]:
            in_force.append(in_force[-1] + np.clip(target - in_force[-1], self.action_spec.low, self.action_spec.high))
        return state[at], np.stack(in_force)

    def proprio(self, state: Steps, in_force: Steps) -> Float32[np.ndarray, "step proprio"]:
        """What the arm would tell of itself at each control step."""
        dt, rows = self.action_spec.control_dt, []
        for step, (now, target) in enumerate(zip(state, in_force, strict=True)):
            known = ArmState.of_joints(step * dt, now[:-1], np.zeros(len(now) - 1), float(now[-1]), target)
            rows.append(self.with_tool(known).proprio_for(self.action_spec))
        return np.stack(rows)


def is_of_joints(info: Mapping[str, Any]) -> bool:
    """Whether a dataset's actions are joints, as LeRobot names them."""
    names = info["features"].get("action", {}).get("names")
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) and name.endswith(SUFFIX) for name in names)


def order(features: Mapping[str, Any], key: str, names: tuple[str, ...], root: Path) -> list[int]:
    """Where each of `names` is in the column `key`; raises `DataError` where it has others."""
    there = features.get(key, {}).get("names")
    if not isinstance(there, list) or sorted(map(str, there)) != sorted(names):
        raise DataError(f"{root} has {key} of {str(there)[:300]}; this arm has {', '.join(names)}: give a recording of this arm")
    return [there.index(name) for name in names]


def require_degrees(largest: Float[np.ndarray, " joint"], root: Path) -> None:
    """Raises `DataError` where the `largest` number (rad, as read) of each joint of a whole recording was none of degrees."""
    numbers = np.rad2deg(largest)
    if numbers.max() <= _RADIANS:
        raise DataError(
            f"no joint in {root} is ever more than {numbers.max():.2f} from its middle: these look like radians, and degrees are "
            f"read; record with LeRobot's SO101Follower and use_degrees, or multiply by 57.3"
        )
    if numbers.max() < _PERCENT + _EXACTLY and (numbers > _PERCENT - _EXACTLY).sum() >= _ENDS:
        raise DataError(
            f"joints in {root} reach exactly {_PERCENT:g} and never more, as percentages of their ranges do, and degrees are read; "
            f"record with use_degrees=true, the default of LeRobot 0.4.4"
        )


def usual_moves(moves: Float[np.ndarray, "step joint_and_gripper"], most: Float[np.ndarray, " joint_and_gripper"]) -> np.ndarray:
    """Action limits for such `moves`: nearly all of them are within, and none is beyond `most`, which the arm allows."""
    return np.clip(np.quantile(np.abs(moves), _USUAL, axis=0), _LEAST, most)
