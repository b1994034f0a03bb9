"""The calibration file: what was measured, of which arm and cameras, when and how well; and why a run should not trust it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from jaxtyping import Float
from pydantic import Field

from robo_dream.calibration.hand_eye import Mount
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import DataError
from robo_dream.files import replace_file
from robo_dream.schema import Unit, configuration

_FORMAT, _VERSION = "robo_dream calibration", 1


@dataclass(frozen=True)
class CameraCalibration:
    """One camera: `pose` is world_from_camera when it is fixed to the world, tool_from_camera when to the tool."""

    serial: str
    mount: Mount
    pose: tuple[tuple[float, ...], ...]
    intrinsics: Intrinsics
    made: str  # ISO 8601, UTC
    num_views: int
    rms_px: float
    rms_mm: float
    std_mm: float
    std_deg: float

    @property
    def matrix(self) -> Float[np.ndarray, "4 4"]:
        return np.array(self.pose, np.float64)


@dataclass(frozen=True)
class JointCalibration:
    """Signs and zeros of the joints: `offset` (rad) is the true angle minus the reading, for those that were `seen`."""

    made: str
    flipped: tuple[int, ...]
    offset: tuple[float, ...]
    std: tuple[float, ...]
    seen: tuple[bool, ...]


@dataclass(frozen=True)
class LatencyCalibration:
    """Seconds: from command to the joints' motion, and from a motion to the time stamp of the picture that shows it."""

    made: str
    actuation: float
    observation: Mapping[str, float]  # by camera
    correlation: float  # the worst of them


@dataclass(frozen=True)
class Calibration:
    """Everything that is known of one arm and its cameras."""

    arm: str  # its identity: kind and serial, as the arm itself tells
    cameras: Mapping[str, CameraCalibration] = field(default_factory=dict)
    joints: JointCalibration | None = None
    latency: LatencyCalibration | None = None

    def with_camera(self, name: str, camera: CameraCalibration) -> "Calibration":
        return replace(self, cameras={**self.cameras, name: camera})


@configuration
class CalibrationLimits:
    """What a run accepts."""

    max_age_days: Annotated[float, Field(gt=0, le=36500), Unit("days")] = 30.0
    max_rms_px: Annotated[float, Field(gt=0, le=100), Unit("px")] = 1.5
    max_rms_mm: Annotated[float, Field(gt=0, le=1000), Unit("mm")] = 5.0
    max_zero_offset: Annotated[float, Field(gt=0, le=3.2), Unit("rad")] = 0.035  # rad (2 degrees) of a joint whose zero could be seen


def now() -> str:
    """This moment, as the file writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def save(calibration: Calibration, path: Path) -> None:
    """Writes the whole file, or leaves the old one."""
    document = {"format": _FORMAT, "version": _VERSION, **asdict(calibration)}
    replace_file(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def load(path: Path) -> Calibration:
    """Raises `DataError` for a file that is missing, damaged, of another version, or whose poses are not rigid."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the calibration {path}: {error}; run `robo-dream calibrate all`") from None
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise DataError(f"{path} is not a calibration file; run `robo-dream calibrate all`")
    if data.get("version") != _VERSION:
        raise DataError(f"{path} is a calibration of version {data.get('version')}; this program reads {_VERSION}: calibrate again")
    try:
        calibration = Calibration(
            arm=str(data["arm"]),
            cameras={str(name): _camera(camera) for name, camera in data["cameras"].items()},
            joints=_of(JointCalibration, data["joints"]),
            latency=_of(LatencyCalibration, data["latency"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}); calibrate again") from None
    return calibration


def problems(
    calibration: Calibration, arm: str, cameras: Mapping[str, str], at: datetime, limits: CalibrationLimits | None = None
) -> tuple[str, ...]:
    """Why `calibration` does not hold for this arm and these cameras (name to serial) at that time; empty when it does.

    Every sentence ends with what to do.
    """
    limits = limits or CalibrationLimits()
    found = []
    if calibration.arm != arm:
        found.append(f"it was made with arm {calibration.arm!r}, this is {arm!r}: run `robo-dream calibrate all`")
    for name, serial in cameras.items():
        again = "run `robo-dream calibrate hand-eye`"
        camera = calibration.cameras.get(name)
        if camera is None:
            known = ", ".join(sorted(calibration.cameras)) or "none"
            found.append(f"camera {name!r} was never calibrated (there is {known}): {again}")
            continue
        if camera.serial != serial:
            found.append(f"camera {name!r} had serial {camera.serial!r}, now it has {serial!r}: {again}")
        days = (at - datetime.fromisoformat(camera.made)).total_seconds() / 86400
        if days > limits.max_age_days:
            found.append(f"camera {name!r} was calibrated {days:.0f} days ago, allowed are {limits.max_age_days:g}: {again}")
        if days < -1:
            found.append(f"camera {name!r} was calibrated {-days:.0f} days in the future: set this computer's clock")
        for what, value, most in (("px", camera.rms_px, limits.max_rms_px), ("mm", camera.rms_mm, limits.max_rms_mm)):
            if not value <= most:
                found.append(f"camera {name!r} was calibrated to {value:.2f} {what} only, allowed are {most:g}: {again} with more views")
    joints = calibration.joints
    if joints is not None:
        if joints.flipped:
            found.append(f"joints {list(joints.flipped)} turn against the model: correct their signs in the arm's configuration")
        for joint, (offset, seen) in enumerate(zip(joints.offset, joints.seen, strict=True)):
            if seen and abs(offset) > limits.max_zero_offset:
                found.append(
                    f"the zero of joint {joint} is off by {np.rad2deg(offset):.1f} degrees, allowed are "
                    f"{np.rad2deg(limits.max_zero_offset):.1f}: correct it in the arm's configuration, then calibrate again"
                )
    return tuple(found)


def _camera(data: Mapping[str, Any]) -> CameraCalibration:
    pose = np.array(data["pose"], np.float64)
    if pose.shape != (4, 4) or not np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-4) or np.linalg.det(pose[:3, :3]) < 0:
        raise ValueError(f"pose {data['pose']} is not rigid")
    if data["mount"] not in get_args(Mount):
        raise ValueError(f"mount {data['mount']!r}, allowed {' and '.join(get_args(Mount))}")
    datetime.fromisoformat(data["made"])
    rows = tuple(tuple(float(x) for x in row) for row in pose)
    return CameraCalibration(**{**data, "pose": rows, "intrinsics": Intrinsics(**data["intrinsics"])})


def _of(cls: type, data: Mapping[str, Any] | None) -> Any:
    """A flat dataclass of lists and numbers."""
    if data is None:
        return None
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    unknown = set(values) ^ {f.name for f in fields(cls)}
    if unknown:
        raise ValueError(f"{cls.__name__} has other keys: {', '.join(sorted(unknown))}")
    return cls(**values)
