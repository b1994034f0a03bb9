"""Where RealSense framesets come from: a connected camera, a recorded file, or anything else that can `wait` for them."""

import importlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from robo_dream.errors import CameraError, MissingExtraError


@runtime_checkable
class FramesetSource(Protocol):
    """Yields librealsense framesets of colour and, where desired, depth. A software device fed by a simulator is one too."""

    label: str
    is_live: bool
    may_loop: bool

    def start(self) -> None:
        """Raises `CameraError` naming what is missing and what there is."""
        ...

    def wait(self, timeout_ms: int) -> tuple[bool, Any]:
        """(True, frameset), or (False, anything) when none came in time; raises `CameraError` when none can come any more."""
        ...

    def stop(self) -> None: ...

    def sensors(self) -> list[Any]:
        """The librealsense sensors, whose options can be set; empty for a file."""
        ...


class ConnectedSource:
    """The camera with a serial number; with an empty one, the only camera that is connected."""

    is_live, may_loop = True, False

    def __init__(self, serial: str, width: int, height: int, fps: int, depth: bool) -> None:
        self._serial, self._size, self._fps, self._depth = serial, (width, height), fps, depth
        self._pipeline: Any = None
        self._device: Any = None
        self.label = f"RealSense {serial or '(the only one)'}"

    def start(self) -> None:
        rs = realsense()
        found = {device.get_info(rs.camera_info.serial_number): device for device in rs.context().query_devices()}
        if self._serial not in found and (self._serial or len(found) != 1):
            desired = f"with serial {self._serial}" if self._serial else "connected" if not found else "chosen"
            fix = "name one of them as `serial`" if found else "plug it in, and run `robo-dream doctor` to see whether the system knows it"
            raise CameraError(f"no RealSense {desired}; connected: {', '.join(sorted(found)) or 'none'}; {fix}")
        serial = self._serial or next(iter(found))
        self.label = f"{found[serial].get_info(rs.camera_info.name)} {serial}"
        config = rs.config()
        config.enable_device(serial)
        config.enable_stream(rs.stream.color, *self._size, rs.format.rgb8, self._fps)
        if self._depth:
            config.enable_stream(rs.stream.depth, *self._size, rs.format.z16, self._fps)
        self._pipeline = rs.pipeline()
        try:
            self._device = self._pipeline.start(config).get_device()
        except RuntimeError as error:
            self._pipeline = None
            raise CameraError(
                f"{self.label} does not start with colour{' and depth' if self._depth else ''} {self._size[0]}x{self._size[1]} at "
                f"{self._fps} Hz: {error}; it offers {', '.join(_profiles(rs, found[serial]))}. If it offers that, another program has it"
            ) from error

    def wait(self, timeout_ms: int) -> tuple[bool, Any]:
        try:
            return self._pipeline.try_wait_for_frames(timeout_ms)
        except RuntimeError as error:
            raise CameraError(f"{self.label} is lost: {error}") from error

    def stop(self) -> None:
        pipeline, self._pipeline, self._device = self._pipeline, None, None
        if pipeline is not None:
            with suppress(RuntimeError):  # it is already gone
                pipeline.stop()

    def sensors(self) -> list[Any]:
        return list(self._device.query_sensors()) if self._device else []


class RecordingSource:
    """A `.db3` or `.bag` file that librealsense recorded, played at the speed of its recording."""

    is_live = False

    def __init__(self, path: Path, repeat: bool = False) -> None:
        self._path, self.may_loop = path, repeat
        self._pipeline: Any = None
        self._playback: Any = None
        self.label = f"RealSense recording {path}"

    def start(self) -> None:
        rs = realsense()
        if not self._path.is_file():
            near = sorted(p.name for p in self._path.parent.glob("*") if p.suffix in (".db3", ".bag")) if self._path.parent.is_dir() else []
            raise CameraError(f"no RealSense recording {self._path}; recordings in {self._path.parent}: {', '.join(near) or 'none'}")
        config = rs.config()
        self._pipeline = rs.pipeline()
        try:
            config.enable_device_from_file(str(self._path), self.may_loop)
            self._playback = self._pipeline.start(config).get_device().as_playback()
        except RuntimeError as error:
            self._pipeline = None
            raise CameraError(f"{self._path} is not a recording that librealsense can play: {error}; record it again") from error

    def wait(self, timeout_ms: int) -> tuple[bool, Any]:
        try:
            ok, frameset = self._pipeline.try_wait_for_frames(timeout_ms)
            if not ok and self._playback.current_status() == realsense().playback_status.stopped:
                raise CameraError(f"{self.label} has ended; play it with `repeat: true`, or record a longer one")
        except RuntimeError as error:
            raise CameraError(f"{self.label} cannot be played on: {error}") from error
        return ok, frameset

    def stop(self) -> None:
        pipeline, self._pipeline, self._playback = self._pipeline, None, None
        if pipeline is not None:
            with suppress(RuntimeError):  # playback has ended by itself
                pipeline.stop()

    def sensors(self) -> list[Any]:
        return []


def realsense() -> Any:
    """The module `pyrealsense2`; raises `MissingExtraError`."""
    try:
        return importlib.import_module("pyrealsense2")
    except ImportError as error:
        raise MissingExtraError(
            f"RealSense cameras need pyrealsense2 ({error}); run `pip install 'robo-dream[realsense]'`, and where libusb is missing, "
            "`apt-get install libusb-1.0-0`"
        ) from error


def _profiles(rs: Any, device: Any) -> list[str]:
    """The colour modes of a device, as `640x480 at 30 Hz`."""
    modes = {
        (video.width(), video.height(), profile.fps())
        for sensor in device.query_sensors()
        for profile in sensor.get_stream_profiles()
        if profile.stream_type() == rs.stream.color and (video := profile.as_video_stream_profile())
    }
    return [f"{width}x{height} at {fps} Hz" for width, height, fps in sorted(modes)]
