"""Live pictures as a checkpoint expects them: a square cut out of the picture and averaged down to N x N pixels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from hardware.cameras.folder import FolderCamera, FolderConfig
from hardware.cameras.opencv import OpenCVConfig, opencv_camera
from hardware.cameras.realsense import RealSenseConfig, RealSenseRecordingConfig, realsense_camera, realsense_recording
from robo_dream.embodiment import Camera, Frame, Intrinsics
from robo_dream.errors import CheckpointError, ConfigError, ContractError
from robo_dream.schema import Unit, configuration


@configuration
class Crop:
    """A square of the picture: its left and top edge and its side, as fractions of the picture's width, height and shorter side.

    The default is the largest square in the middle: of 640x480, columns 80 to 560. With `side` below 1, `left` and `top` place the
    square; None centres it.
    """

    side: Annotated[float, Field(gt=0, le=1), Unit("1")] = 1.0
    left: Annotated[float, Field(ge=0, lt=1)] | None = None
    top: Annotated[float, Field(ge=0, lt=1)] | None = None

    def pixels(self, width: int, height: int) -> tuple[int, int, int]:
        """Left column, top row and side in pixels; raises `ConfigError` when the square leaves the picture."""
        side = max(round(self.side * min(width, height)), 1)
        left = (width - side) // 2 if self.left is None else round(self.left * width)
        top = (height - side) // 2 if self.top is None else round(self.top * height)
        if left + side > width or top + side > height:
            reaches = f"columns to {left + side}, rows to {top + side}"
            raise ConfigError(f"crop {self} leaves a picture of {width}x{height} ({reaches}); make it smaller")
        return left, top, side


def crop_image(image: UInt8[np.ndarray, "height width 3"], size: int, crop: Crop | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """The crop of `image` at `size` x `size`: each pixel is the mean of the area it covers, so that nothing flickers or aliases."""
    left, top, side = (crop or Crop()).pixels(image.shape[1], image.shape[0])
    if size < 1:
        raise ContractError(f"picture size is {size} px; allowed is 1 or more")
    part = image[top : top + side, left : left + side]
    if side == size:
        return part.copy()
    weights = _area_weights(side, size)
    rows = weights @ part.reshape(side, -1).astype(np.float32)  # (size, side * 3)
    columns = np.einsum("os,rsc->roc", weights, rows.reshape(size, side, 3), optimize=True)
    return np.clip(np.rint(columns), 0, 255).astype(np.uint8)


def square_depth(depth: Float[np.ndarray, "height width"], size: int, crop: Crop | None = None) -> Float[np.ndarray, "size size"]:
    """The same square of a depth picture: the value in the middle of each pixel, because a mean over an edge is nowhere."""
    left, top, side = (crop or Crop()).pixels(depth.shape[1], depth.shape[0])
    at = ((np.arange(size) + 0.5) * side / size).astype(int)
    return depth[top + at[:, None], left + at[None, :]]


def square_intrinsics(lens: Intrinsics, size: int, crop: Crop | None = None) -> Intrinsics:
    """The intrinsics of the square picture; NaN while those of the whole one are."""
    if np.isnan(lens.fx):
        return Intrinsics(size, size, np.nan, np.nan, np.nan, np.nan)
    left, top, side = (crop or Crop()).pixels(lens.width, lens.height)
    scale = size / side
    return Intrinsics(size, size, lens.fx * scale, lens.fy * scale, (lens.cx - left) * scale, (lens.cy - top) * scale)


class SquareCamera:
    """A camera whose frames are square pictures of another's, `size` pixels wide."""

    def __init__(self, camera: Camera, size: int, crop: Crop | None = None) -> None:
        self._camera, self._size, self._crop = camera, size, crop
        self._made: tuple[Frame, Frame] | None = None  # the last frame, whole and square

    @property
    def name(self) -> str:
        return self._camera.name

    @property
    def intrinsics(self) -> Intrinsics:
        return square_intrinsics(self._camera.intrinsics, self._size, self._crop)

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        return self._camera.world_from_camera

    def __enter__(self) -> "SquareCamera":
        self._camera.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._camera.__exit__(*exc)

    def read(self) -> Frame:
        whole = self._camera.read()
        if self._made is None or self._made[0] is not whole:
            depth = None if whole.depth is None else square_depth(whole.depth, self._size, self._crop)
            self._made = whole, replace(whole, image=crop_image(whole.image, self._size, self._crop), depth=depth)
        return self._made[1]


@lru_cache(maxsize=16)
def _area_weights(side: int, size: int) -> np.ndarray:
    """(size, side): how much of each source pixel lies in each pixel of the result, rows adding to 1."""
    edges = np.arange(size + 1) * side / size
    source = np.arange(side)
    covered = np.minimum(edges[1:, None], source + 1) - np.maximum(edges[:-1, None], source)
    return (np.maximum(covered, 0) * size / side).astype(np.float32)


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
