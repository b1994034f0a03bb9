"""What a body is: actions with units and limits, timestamped states and frames, and the arm, camera and clock protocols.

NumPy only: this file is what the computer beside a robot imports.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.errors import ContractError

ActionKind = Literal["tool_move", "joint_move", "joint_target", "command", "choice"]

TOOL_MOVE_NAMES = ("x", "y", "z", "yaw", "gripper")
PROPRIO_NAMES = (
    "tool_x", "tool_y", "tool_z", "tool_cos_yaw", "tool_sin_yaw", "gripper",
    "lag_x", "lag_y", "lag_z", "lag_yaw", "lag_gripper",
)  # fmt: skip


@dataclass(frozen=True)
class ActionSpec:
    """What one action means: a name, unit and range for each number, and how long it lasts.

    `tool_move` is relative: metres and radians by which the commanded tool pose moves in the world frame during
    `control_dt`, and the change of the gripper's closure (0 open, 1 closed); zeros hold still.
    `joint_move` is relative, too: radians by which the commanded target of each joint moves, and the change of the gripper's closure.
    `joint_target` is absolute: radians for each joint, then the gripper's closure.
    `command` is whatever else a world that others wrote takes, such as torques; zeros ask for nothing.
    `choice` is one of `names`, in the order of a dial: a 1 at the one that is chosen, 0 elsewhere.
    """

    kind: ActionKind
    names: tuple[str, ...]
    units: tuple[str, ...]
    low: Float[np.ndarray, " action"]
    high: Float[np.ndarray, " action"]
    control_dt: float  # seconds

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", np.asarray(self.low, np.float32))
        object.__setattr__(self, "high", np.asarray(self.high, np.float32))
        size = len(self.names)
        if not (len(self.units) == size and self.low.shape == self.high.shape == (size,)):
            raise ContractError(
                f"action spec of {size} names has {len(self.units)} units, low {self.low.shape} and high {self.high.shape}; "
                f"give one unit and one limit for each of {self.names}"
            )
        if not (np.isfinite(self.low).all() and np.isfinite(self.high).all() and (self.low < self.high).all()):
            raise ContractError(f"action limits must be finite with low < high; got low {self.low}, high {self.high}")
        if not 0 < self.control_dt < np.inf:
            raise ContractError(f"control_dt is {self.control_dt} s; it must be positive and finite")
        if not all(isinstance(text, str) for text in (self.kind, *self.names, *self.units)):
            raise ContractError(f"action spec has the kind {self.kind!r}, names {self.names} and units {self.units}; give texts")

    @classmethod
    def joint_targets(
        cls, joints: Sequence[str], low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray, control_dt: float
    ) -> "ActionSpec":
        """Of an arm with `joints` between `low` and `high` (rad), and a gripper."""
        names, units = (*joints, "gripper"), ("rad",) * len(joints) + ("1",)
        return cls("joint_target", names, units, np.append(low, 0.0), np.append(high, 1.0), control_dt)

    @classmethod
    def joint_moves(cls, joints: Sequence[str], most: Float[np.ndarray, " joint_and_gripper"], control_dt: float) -> "ActionSpec":
        """Of an arm with `joints` whose targets move by at most `most` (rad, and closure last) in a control step."""
        most = np.asarray(most, np.float32)
        return cls("joint_move", (*joints, "gripper"), ("rad",) * len(joints) + ("1",), -most, most, control_dt)

    @classmethod
    def choices(cls, names: Sequence[str], control_dt: float) -> "ActionSpec":
        """Of a game, where one of `names` is chosen in a control step."""
        return cls("choice", tuple(names), ("1",) * len(names), np.zeros(len(names)), np.ones(len(names)), control_dt)

    def chosen(self, index: int) -> Float[np.ndarray, " action"]:
        """The action that chooses `names[index]`; of a kind `choice` alone."""
        return np.eye(self.size, dtype=np.float32)[index]

    @property
    def proprio_names(self) -> tuple[str, ...]:
        """What an arm with such actions tells of itself: where it moves joints, also where those are; see `ArmState.proprio_for`."""
        return (*PROPRIO_NAMES, *self.names[:-1]) if self.kind == "joint_move" else PROPRIO_NAMES

    @property
    def size(self) -> int:
        return len(self.names)

    def clip(self, action: Float[np.ndarray, "*batch action"]) -> Float[np.ndarray, "*batch action"]:
        return np.clip(action, self.low, self.high)

    def numbers(self, action: Sequence[float] | np.ndarray) -> Float[np.ndarray, " action"]:
        """`action` as float64 of shape (action,); raises `ContractError` when mis-shaped or not finite."""
        action = np.asarray(action, np.float64)
        if action.shape != (self.size,) or not np.isfinite(action).all():
            what = self.kind.replace("_", " ")
            raise ContractError(f"{what} {action} must be {self.size} finite numbers {self.names}; nothing was sent")
        return action

    def check(self, action: np.ndarray) -> Float[np.ndarray, " action"]:
        """`action` as float32 of shape (action,); raises `ContractError` when mis-shaped, not finite or out of range."""
        action = np.asarray(action, np.float32)
        if action.shape != (self.size,):
            raise ContractError(f"action has shape {action.shape}; expected ({self.size},) for {self.names}")
        if not np.isfinite(action).all():
            raise ContractError(f"action {action} is not finite; expected numbers for {self.names}")
        tolerance = 1e-4 * (self.high - self.low)  # float32 round trips
        for i, name in enumerate(self.names):
            if not self.low[i] - tolerance[i] <= action[i] <= self.high[i] + tolerance[i]:
                raise ContractError(f"action {name} is {action[i]:.4g} {self.units[i]}; allowed {self.low[i]:.4g} to {self.high[i]:.4g}")
        if self.kind == "choice" and sorted(action) != [0.0] * (self.size - 1) + [1.0]:
            raise ContractError(f"action {action} chooses no single one of {self.names}; give a 1 at one of them and 0 elsewhere")
        return self.clip(action)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "names": list(self.names),
            "units": list(self.units),
            "low": [float(x) for x in self.low],
            "high": [float(x) for x in self.high],
            "control_dt": self.control_dt,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ActionSpec":
        return cls(
            data["kind"], tuple(data["names"]), tuple(data["units"]),
            np.asarray(data["low"], np.float32), np.asarray(data["high"], np.float32), float(data["control_dt"]),
        )  # fmt: skip

    def differences(self, other: "ActionSpec") -> list[str]:
        """Sentences that say how `other` differs; empty when the two mean the same."""
        mine, theirs = self.to_json(), other.to_json()

        def same(key: str) -> bool:
            if key in ("low", "high", "control_dt"):
                return np.shape(mine[key]) == np.shape(theirs[key]) and np.allclose(mine[key], theirs[key], rtol=1e-5)
            return mine[key] == theirs[key]

        return [f"{key}: {mine[key]} against {theirs[key]}" for key in mine if not same(key)]


@dataclass(frozen=True)
class Pose:
    """A pose in the world frame: position in metres, unit quaternion wxyz."""

    pos: Float[np.ndarray, "3"]
    quat: Float[np.ndarray, "4"]

    @property
    def yaw(self) -> float:
        """Rotation about the world's vertical axis, radians in (-pi, pi]."""
        w, x, y, z = self.quat
        return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


@dataclass(frozen=True)
class ArmState:
    """What the arm says of itself at `time` (monotonic seconds of the arm).

    `tool_yaw` turns about the world's vertical; `gripper` is the closure, 0 open and 1 closed.
    `target_*` is where the arm was last told to be; an arm that does not know repeats what it measures.
    """

    time: float
    joint_pos: Float[np.ndarray, " joint"]
    joint_vel: Float[np.ndarray, " joint"]
    tool_pos: Float[np.ndarray, "3"]
    tool_quat: Float[np.ndarray, "4"]
    tool_yaw: float
    gripper: float
    target_pos: Float[np.ndarray, "3"]
    target_yaw: float
    target_gripper: float
    joint_target: Float[np.ndarray, " joint"] | None = None  # rad; None when the arm cannot tell
    motor_temperatures: Float[np.ndarray, " motor"] | None = None  # degrees Celsius, from base to gripper; None when the arm cannot tell

    @classmethod
    def of_joints(
        cls,
        time: float,
        pos: Float[np.ndarray, " joint"],
        vel: Float[np.ndarray, " joint"],
        gripper: float,
        target: Float[np.ndarray, " joint_and_gripper"] | None = None,
        motor_temperatures: Float[np.ndarray, " motor"] | None = None,
    ) -> "ArmState":
        """Of an arm that knows its joints and not where its tool is: that is NaN, until `control.cartesian.with_tool` works it out."""
        unknown, closure = np.full(3, np.nan), gripper if target is None else float(target[-1])
        joint_target = None if target is None else target[:-1].copy()
        where = (unknown, np.full(4, np.nan), np.nan, gripper, unknown, np.nan, closure)
        return cls(time, pos, vel, *where, joint_target, motor_temperatures)

    @classmethod
    def unknown(cls, time: float, num_joints: int) -> "ArmState":
        """Of an arm that is only seen: all NaN, as in a goal that is a picture alone."""
        joints, where = np.full(num_joints, np.nan), np.full(3, np.nan)
        return cls(time, joints, joints, where, np.full(4, np.nan), np.nan, np.nan, where, np.nan, np.nan)

    @property
    def proprio(self) -> Float[np.ndarray, " proprio"]:
        """`PROPRIO_NAMES` as one float32 vector: tool pose, closure and how far each lags behind its target."""
        lag_yaw = (self.target_yaw - self.tool_yaw + np.pi) % (2 * np.pi) - np.pi
        return np.concatenate([
            self.tool_pos, [np.cos(self.tool_yaw), np.sin(self.tool_yaw), self.gripper],
            self.target_pos - self.tool_pos, [lag_yaw, self.target_gripper - self.gripper],
        ]).astype(np.float32)  # fmt: skip

    def proprio_for(self, spec: ActionSpec) -> Float[np.ndarray, " proprio"]:
        """`spec.proprio_names` as one float32 vector. The tool's pose alone does not say what a joint's move does to it."""
        return np.append(self.proprio, self.joint_pos).astype(np.float32) if spec.kind == "joint_move" else self.proprio


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera: focal lengths and principal point in pixels, counted from the picture's top left edge.

    The centre of the first pixel is therefore at (0.5, 0.5). OpenCV and librealsense count from that centre: their principal point is
    half a pixel less.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Frame:
    """One picture and when it was exposed (monotonic seconds of the camera's source)."""

    time: float
    image: UInt8[np.ndarray, "height width 3"]
    number: int = 0  # counts up by one for each new exposure; the same number twice is the same picture
    depth: Float[np.ndarray, "height width"] | None = None  # metres along the camera's axis, for each pixel of `image`; 0 where unknown


@dataclass(frozen=True)
class Observation:
    """What cameras and joints say at one moment; `frames` is keyed by camera name."""

    time: float
    frames: Mapping[str, Frame]
    arm: ArmState
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Simulator state kept for labels and scores (such as `object_pose` (7,)); models and planners must never read it."""

    def images(self, cameras: tuple[str, ...]) -> list[UInt8[np.ndarray, "height width 3"]]:
        """The pictures of `cameras`, in that order; raises `ContractError` naming a camera that is missing."""
        for name in cameras:
            if name not in self.frames:
                raise ContractError(f"no frame from camera {name!r}; the observation has {sorted(self.frames)}")
        return [self.frames[name].image for name in cameras]


@runtime_checkable
class Clock(Protocol):
    """Monotonic time. In simulation, sleeping is what moves the world."""

    def now(self) -> float: ...

    def sleep_until(self, time: float) -> None: ...


@runtime_checkable
class ToolKinematics(Protocol):
    """Where the tool is for joint positions (rad), and joint positions that bring it somewhere; see `robo_dream.control.kinematics`."""

    def forward(self, joint_pos: Float[np.ndarray, " joint"]) -> Pose: ...

    def inverse(
        self, joint_pos: Float[np.ndarray, " joint"], target: Pose, num_iterations: int = 30, tolerance: float = 1e-4
    ) -> Float[np.ndarray, " joint"]: ...


@runtime_checkable
class RobotArm(Protocol):
    """An arm. Use it as a context manager: entering connects, leaving stops the arm first and then disconnects."""

    @property
    def action_spec(self) -> ActionSpec: ...

    def __enter__(self) -> "RobotArm": ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...

    def state(self) -> ArmState: ...

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Starts the action and returns at once with what was really applied after limits; refuses non-finite input."""
        ...

    def stop(self) -> None:
        """Brings the arm to rest where it is; safe to call at any time and more than once."""
        ...


@runtime_checkable
class LastResort(Protocol):
    """A driver that can stop its arm without ever having been entered, when the process of the one that was is gone."""

    def last_resort(self) -> str:
        """A sentence that says what acted and whether the arm confirmed it, or that nothing can be told to it and what its controller does
        by itself; raises `ArmError` when the arm was told and nothing is known to have acted."""
        ...


@runtime_checkable
class Camera(Protocol):
    """A camera. Use it as a context manager."""

    @property
    def name(self) -> str: ...

    @property
    def intrinsics(self) -> Intrinsics:
        """NaN where a camera learns them only when it is entered."""
        ...

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        """Pose of the camera; x right, y down, z forward (OpenCV). NaN when it was never calibrated."""
        ...

    def __enter__(self) -> "Camera": ...

    def __exit__(self, *exc: object) -> None: ...

    def read(self) -> Frame:
        """The newest frame."""
        ...


BOX = 4  # equal looks of a box in one turn


def upright_turn(quats: Float[np.ndarray, "*batch 4"], symmetry: int) -> Float[np.ndarray, "*batch"]:
    """Heading (rad) of objects at orientations `quats` (wxyz), known up to a `symmetry`-th of a full turn.

    A box (4) may lie on any of its faces: then the heading is that of its most level edge, whichever edge that is. Anything
    else is taken to stand upright, and its heading is that of its x axis.
    """
    w, x, y, z = np.moveaxis(np.asarray(quats, np.float64), -1, 0)
    edges = np.stack(
        [  # the columns of the rotation matrix
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], -1),
            np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], -1),
            np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    chosen = np.abs(edges[..., 2]).argmin(-1) if symmetry == BOX else np.zeros(w.shape, np.int64)
    edge = np.take_along_axis(edges, chosen[..., None, None], -2)[..., 0, :]
    return np.asarray(np.arctan2(edge[..., 1], edge[..., 0]))


class WallClock:
    """Monotonic seconds of this computer; frames and arm states must be stamped by the same clock."""

    def __init__(self, read: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._read = read
        self._sleep = sleep

    def now(self) -> float:
        return self._read()

    def sleep_until(self, time: float) -> None:
        """Returns at `time`, at once when that has passed."""
        remaining = time - self._read()
        if remaining > 0:
            self._sleep(remaining)
