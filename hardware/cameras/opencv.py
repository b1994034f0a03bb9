"""Any camera that OpenCV can open (V4L2 on Linux), and video files, played at their own speed."""

import importlib
import time
import zlib
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.cameras.exposure import Exposure
from hardware.cameras.newest import LiveCamera, WatchConfig
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import CameraError, MissingExtraError
from robo_dream.schema import Name, Unit, Words, configuration

_V4L2_EXPOSURE_UNIT = 1e-4  # s of V4L2_CID_EXPOSURE_ABSOLUTE
_MANUAL, _AUTOMATIC = 1.0, 3.0  # of V4L2_CID_EXPOSURE_AUTO (3 is aperture priority, the only automatic mode of most webcams)


Fourcc = Annotated[str, Field(pattern=r"^([ -~]{4})?$"), Words("four letters such as MJPG or YUYV, or nothing")]
Degrees = Annotated[float, Field(gt=0, lt=180), Unit("degrees")]


Focal = Annotated[float, Field(gt=0, le=1e6), Unit("px")]


@configuration
class OpenCVConfig:
    """A V4L2 camera by its device, or a video file. Intrinsics are told here, or guessed from its field of view."""

    device: str  # "/dev/video0", "/dev/v4l/by-id/..." (which stays the same when others are plugged in), or a video file
    kind: Literal["opencv"] = "opencv"
    name: Name = "front"
    width: Annotated[int, Field(ge=1, le=8_192), Unit("px")] = 640
    height: Annotated[int, Field(ge=1, le=8_192), Unit("px")] = 480
    fps: Annotated[float, Field(gt=0, le=1000), Unit("Hz")] = 30.0
    fourcc: Fourcc = "MJPG"  # most webcams reach 30 Hz above 640x480 with MJPG only; empty leaves it
    exposure: Annotated[float, Field(gt=0, le=10), Unit("s")] | None = None  # s; None leaves it automatic
    gain: float | None = None
    white_balance: Annotated[float, Field(gt=0, le=100000), Unit("K")] | None = None  # K; None leaves it automatic
    repeat: bool = False  # a video file begins again at its end
    fovy: Degrees = 45.0  # degrees, from which intrinsics are guessed when `focal` is not given
    focal: tuple[Focal, Focal] | None = None  # px
    centre: tuple[float, float] | None = None  # px from the picture's top left edge; None is the middle
    watch: WatchConfig = field(default_factory=WatchConfig)


def opencv_camera(config: OpenCVConfig, world_from_camera: Float[np.ndarray, "4 4"] | None = None) -> LiveCamera:
    """The camera or file that `config` names, not yet open."""
    return LiveCamera(config.name, OpenCVExposures(config), config.watch, world_from_camera)


class OpenCVExposures:
    """Pictures of a `cv2.VideoCapture` as exposures, in RGB.

    V4L2 stamps its buffers by this computer's monotonic clock, at the end of the exposure for most cameras; where it does not, and for
    files, pictures are stamped on arrival, and `latency` says so. A picture identical to the last, bit by bit, is the same exposure.
    """

    def __init__(self, config: OpenCVConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock = config, clock
        self._is_file = not config.device.startswith("/dev/") and not config.device.isdecimal()
        self._capture: Any = None
        self._began, self._count, self._last_sum = 0.0, 0, -1
        self._fps = config.fps
        self._intrinsics: Intrinsics | None = None
        self.label = f"video file {config.device}" if self._is_file else f"OpenCV {config.device}"
        self.is_live, self.may_loop = not self._is_file, config.repeat

    @property
    def period(self) -> float:
        return 1 / self._fps

    def open(self) -> None:
        cv2 = opencv()
        config = self._config
        if not Path(config.device).exists() and not config.device.isdecimal():
            found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
            fix = "" if self._is_file else "; plug it in, and run `robo-dream doctor`"
            raise CameraError(f"no {'video file' if self._is_file else 'camera'} {config.device}; V4L2 devices: {found}{fix}")
        if self._is_file:
            self._capture = cv2.VideoCapture(config.device, cv2.CAP_FFMPEG)
        else:
            self._capture = cv2.VideoCapture(int(config.device) if config.device.isdecimal() else config.device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self.close()
            reason = "it is not a video that FFmpeg decodes" if self._is_file else "another program has it, or `robo-dream doctor` says why"
            raise CameraError(f"{self.label} does not open; {reason}")
        if self._is_file:
            self._fps = self._capture.get(cv2.CAP_PROP_FPS) or config.fps
        else:
            self._apply_settings(cv2)
        self._began, self._count, self._last_sum = self._clock(), 0, -1

    def grab(self, timeout: float) -> Exposure | None:
        cv2 = opencv()
        if self._is_file:
            due = self._began + self._count * self.period
            if due > self._clock():
                time.sleep(min(due - self._clock(), timeout))
            if due > self._clock():
                return None
        ok, picture = self._capture.read()  # V4L2 waits for as long as its own timeout (10 s); `read` of the camera does not
        arrival = self._clock()
        if not ok:
            return self._again()
        if self._intrinsics is None:
            self._intrinsics = self._lens(picture.shape[1], picture.shape[0])
        stamp = 1e-3 * self._capture.get(cv2.CAP_PROP_POS_MSEC)
        is_monotonic = not self._is_file and 0 <= arrival - stamp < 1.0
        same = (total := zlib.adler32(picture)) == self._last_sum
        self._last_sum = total
        self._count += 0 if same and not self._is_file else 1
        return Exposure(
            number=self._count,
            stamp=stamp if is_monotonic else arrival,
            domain="monotonic" if is_monotonic else "arrival",
            arrival=arrival,
            pictures=lambda: (np.ascontiguousarray(picture[..., ::-1]), None),
        )

    def close(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    @property
    def intrinsics(self) -> Intrinsics:
        """As told or guessed from the field of view, for the size that really came (that asked for, before any has)."""
        return self._intrinsics or self._lens(self._config.width, self._config.height)

    def _again(self) -> Exposure | None:
        if not self._is_file:
            raise CameraError(f"{self.label} delivers no more pictures; check its cable and port")
        if not self.may_loop or self._count == 0:
            raise CameraError(f"{self.label} has ended; play it with `repeat: true`, or record a longer one")
        count = self._count
        self.close()
        self.open()
        self._count, self._began = count, self._clock() - count * self.period  # the count goes on, as the pictures do
        return None

    def _lens(self, width: int, height: int) -> Intrinsics:
        config = self._config
        guess = height / 2 / np.tan(np.deg2rad(config.fovy) / 2)
        fx, fy = config.focal or (guess, guess)
        cx, cy = config.centre or (width / 2, height / 2)
        return Intrinsics(width, height, fx, fy, cx, cy)

    def _apply_settings(self, cv2: Any) -> None:
        config = self._config
        if config.fourcc:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*config.fourcc))
        for name, value in (("FRAME_WIDTH", config.width), ("FRAME_HEIGHT", config.height), ("FPS", config.fps), ("BUFFERSIZE", 1)):
            self._capture.set(getattr(cv2, f"CAP_PROP_{name}"), value)
        came = tuple(int(self._capture.get(getattr(cv2, f"CAP_PROP_{name}"))) for name in ("FRAME_WIDTH", "FRAME_HEIGHT"))
        if came != (config.width, config.height):
            self.close()
            raise CameraError(f"{self.label} has no mode {config.width}x{config.height} {config.fourcc}; it gives {came[0]}x{came[1]}")
        automatic = [("AUTO_EXPOSURE", _MANUAL if config.exposure is not None else _AUTOMATIC)]
        automatic += [("AUTO_WB", 0.0 if config.white_balance is not None else 1.0)]
        for name, value in automatic:  # many cameras lack these; whether a value that was asked for holds is seen below
            self._capture.set(getattr(cv2, f"CAP_PROP_{name}"), value)
        units = None if config.exposure is None else config.exposure / _V4L2_EXPOSURE_UNIT
        for name, value in (("EXPOSURE", units), ("GAIN", config.gain), ("WB_TEMPERATURE", config.white_balance)):
            if value is not None and not self._capture.set(getattr(cv2, f"CAP_PROP_{name}"), value):
                self.close()
                raise CameraError(f"{self.label} refuses {name.lower()} = {value:g}; `v4l2-ctl --list-ctrls` shows its range")


def opencv() -> Any:
    """The module `cv2`; raises `MissingExtraError`."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingExtraError(f"this camera needs OpenCV ({error}); run `pip install 'robo-dream[opencv]'`") from error
