"""The cameras that configuration files can name, how each is built, and as square pictures of the size that a checkpoint takes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hardware.cameras.folder import FolderCamera, FolderConfig
from hardware.cameras.opencv import OpenCVConfig, opencv_camera
from hardware.cameras.realsense import RealSenseConfig, RealSenseRecordingConfig, realsense_camera, realsense_recording
from robo_dream.control.square import SquareCamera
from robo_dream.embodiment import Camera
from robo_dream.errors import CheckpointError

CameraKind = OpenCVConfig | RealSenseConfig | RealSenseRecordingConfig | FolderConfig
"""What a file may write under `cameras:`, told apart by `kind`."""

_BUILDERS: Mapping[type, Callable[[Any, np.ndarray | None], Camera]] = {
    OpenCVConfig: opencv_camera,
    RealSenseConfig: realsense_camera,
    RealSenseRecordingConfig: realsense_recording,
    FolderConfig: FolderCamera,
}


def build_camera(config: CameraKind, world_from_camera: np.ndarray | None = None) -> Camera:
    """The camera, not yet open; with its calibrated pose where one is known."""
    return _BUILDERS[type(config)](config, world_from_camera)


def serial_of(config: CameraKind) -> str:
    """By what a calibration file knows the camera again: its serial number, device or path."""
    if isinstance(config, RealSenseConfig):
        return config.serial
    return config.device if isinstance(config, OpenCVConfig) else str(config.path)


def bench_cameras(
    cameras: Sequence[CameraKind], names: Sequence[str], size: int, poses: Mapping[str, np.ndarray] | None = None
) -> list[Camera]:
    """Those named `names`, in that order, `size` pixels wide, at `poses`; raises `CheckpointError` for one that is not there."""
    there = {camera.name: camera for camera in cameras}
    missing = [name for name in names if name not in there]
    if missing:
        raise CheckpointError(
            f"the checkpoint looks through {', '.join(names)}; `cameras` has {', '.join(sorted(there)) or 'none'}: add {', '.join(missing)}"
        )
    return [SquareCamera(build_camera(there[name], (poses or {}).get(name)), size) for name in names]
