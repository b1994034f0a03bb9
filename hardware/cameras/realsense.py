"""Intel RealSense cameras, their recordings and their software devices, through librealsense: depth on colour, exposure-time stamps."""

import time
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.cameras.exposure import Domain, Exposure, Pictures
from hardware.cameras.newest import LiveCamera, WatchConfig
from hardware.cameras.realsense_sources import ConnectedSource, FramesetSource, RecordingSource, realsense
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import CameraError, ConfigError
from robo_dream.schema import Name, Unit, configuration

_DOMAINS: dict[str, Domain] = {"hardware_clock": "device", "system_time": "epoch", "global_time": "epoch"}
_COLOUR_EXPOSURE_UNIT = 1e-4  # s; of colour sensors, as UVC counts it
_STEREO_EXPOSURE_UNIT = 1e-6  # s; of stereo modules, which also give the colour of a D405


@configuration
class RealSenseConfig:
    """A connected camera. Depth, where desired, is taken at the size of colour and aligned to it."""

    kind: Literal["realsense"] = "realsense"
    name: Name = "front"
    serial: str = ""  # as `robo-dream doctor` shows it; empty takes the only one that is connected
    width: Annotated[int, Field(ge=1, le=8_192), Unit("px")] = 640
    height: Annotated[int, Field(ge=1, le=8_192), Unit("px")] = 480
    fps: Annotated[int, Field(ge=1, le=1_000), Unit("Hz")] = 30
    depth: bool = True
    exposure: Annotated[float, Field(gt=0, le=1), Unit("s")] | None = None  # s; None leaves it automatic
    gain: float | None = None
    white_balance: Annotated[float, Field(gt=0, le=100000), Unit("K")] | None = None  # K; None leaves it automatic
    watch: WatchConfig = field(default_factory=WatchConfig)

    def __post_init__(self) -> None:
        if self.exposure is not None and self.exposure > 1 / self.fps:
            raise ConfigError(f"{self.name!r}: exposure is {self.exposure} s; at {self.fps} Hz up to {1 / self.fps:.4f} s is allowed")


@configuration
class RealSenseRecordingConfig:
    """A recorded file, played at its own speed."""

    path: Path
    kind: Literal["realsense_recording"] = "realsense_recording"
    name: Name = "front"
    fps: Annotated[int, Field(ge=1, le=1_000), Unit("Hz")] = 30
    depth: bool = True
    repeat: bool = False  # begin again at its end
    watch: WatchConfig = field(default_factory=lambda: WatchConfig(warm_up_frames=0))


def realsense_camera(config: RealSenseConfig, world_from_camera: Float[np.ndarray, "4 4"] | None = None) -> LiveCamera:
    """The camera that `config` names, not yet open."""
    source = ConnectedSource(config.serial, config.width, config.height, config.fps, config.depth)
    exposures = RealSenseExposures(source, config.fps, config.depth, config.exposure, config.gain, config.white_balance)
    return LiveCamera(config.name, exposures, config.watch, world_from_camera)


def realsense_recording(config: RealSenseRecordingConfig, world_from_camera: Float[np.ndarray, "4 4"] | None = None) -> LiveCamera:
    """The recording that `config` names, as a camera."""
    exposures = RealSenseExposures(RecordingSource(config.path, config.repeat), config.fps, config.depth)
    return LiveCamera(config.name, exposures, config.watch, world_from_camera)


class RealSenseExposures:
    """Framesets of any source as exposures: settings applied, depth in metres aligned to colour, stamped in the middle of the exposure."""

    def __init__(
        self,
        source: FramesetSource,
        fps: int,
        depth: bool = True,
        exposure: float | None = None,
        gain: float | None = None,
        white_balance: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self.period, self._depth, self._clock = source, 1 / fps, depth, clock
        self._settings = (exposure, gain, white_balance)
        self._align: Any = None
        self._intrinsics: Intrinsics | None = None
        self.distortion: tuple[float, ...] = (0.0,) * 5  # k1, k2, p1, p2, k3 of OpenCV's model
        self.is_live, self.may_loop = source.is_live, source.may_loop

    @property
    def label(self) -> str:
        return self._source.label

    def open(self) -> None:
        rs = realsense()
        self._source.start()
        try:
            for sensor in self._source.sensors():
                self._apply_settings(rs, sensor)
        except BaseException:
            self._source.stop()
            raise
        self._align = rs.align(rs.stream.color)

    def grab(self, timeout: float) -> Exposure | None:
        ok, frameset = self._source.wait(int(1000 * timeout))
        arrival = self._clock()
        if not ok:
            return None
        rs = realsense()
        colour, depth = frameset.get_color_frame(), frameset.get_depth_frame()
        if self._depth and colour and depth:
            gap = 1e-3 * (depth.get_timestamp() - colour.get_timestamp())
        else:
            gap = 0.0 if colour and not self._depth else None
        first = colour or depth
        if colour and self._intrinsics is None:
            self._learn_intrinsics(rs, colour)
        return Exposure(
            number=first.get_frame_number(),
            stamp=1e-3 * first.get_timestamp() - _back_to_the_middle(rs, first),
            domain=_DOMAINS[first.get_frame_timestamp_domain().name],
            arrival=arrival,
            pictures=lambda: self._pictures(frameset),
            pair_gap=gap,
        )

    def close(self) -> None:
        self._source.stop()

    @property
    def intrinsics(self) -> Intrinsics:
        return self._intrinsics or Intrinsics(0, 0, np.nan, np.nan, np.nan, np.nan)

    def _pictures(self, frameset: Any) -> Pictures:
        aligned = self._align.process(frameset) if self._depth else frameset
        image = np.array(aligned.get_color_frame().get_data())  # copied: the library reuses its memory
        if not self._depth:
            return image, None
        depth = aligned.get_depth_frame()
        return image, np.asarray(depth.get_data()).astype(np.float32) * np.float32(depth.get_units())

    def _learn_intrinsics(self, rs: Any, colour: Any) -> None:
        lens = colour.get_profile().as_video_stream_profile().get_intrinsics()
        self._intrinsics = Intrinsics(lens.width, lens.height, lens.fx, lens.fy, lens.ppx + 0.5, lens.ppy + 0.5)
        if lens.model == rs.distortion.brown_conrady:
            self.distortion = tuple(lens.coeffs)

    def _apply_settings(self, rs: Any, sensor: Any) -> None:
        """Sets what was asked for on the sensor that gives colour; raises `CameraError` with the range it has."""
        if not any(profile.stream_type() == rs.stream.color for profile in sensor.get_stream_profiles()):
            return
        exposure, gain, white_balance = self._settings
        unit = _STEREO_EXPOSURE_UNIT if sensor.is_depth_sensor() else _COLOUR_EXPOSURE_UNIT
        if exposure is not None or gain is not None:
            self._set(rs, sensor, "enable_auto_exposure", 0.0)
        if exposure is not None:
            self._set(rs, sensor, "exposure", exposure / unit)
        if gain is not None:
            self._set(rs, sensor, "gain", gain)
        if white_balance is not None:
            self._set(rs, sensor, "enable_auto_white_balance", 0.0)
            self._set(rs, sensor, "white_balance", white_balance)

    def _set(self, rs: Any, sensor: Any, name: str, value: float) -> None:
        option = getattr(rs.option, name)
        if not sensor.supports(option):
            raise CameraError(f"{self.label} has no setting {name}; leave it out of the configuration")
        allowed = sensor.get_option_range(option)
        if not allowed.min <= value <= allowed.max:
            raise CameraError(f"{self.label}: {name} would be {value:g}; allowed {allowed.min:g} to {allowed.max:g} (in its own units)")
        try:
            sensor.set_option(option, value)
        except RuntimeError as error:
            raise CameraError(f"{self.label} refuses {name} = {value:g}: {error}") from error


def _back_to_the_middle(rs: Any, frame: Any) -> float:
    """Seconds from the middle of the exposure to the frame's time stamp, where the camera's metadata tell (in microseconds)."""
    stamped, middle = rs.frame_metadata_value.frame_timestamp, rs.frame_metadata_value.sensor_timestamp
    if not (frame.supports_frame_metadata(stamped) and frame.supports_frame_metadata(middle)):
        return 0.0
    seconds = 1e-6 * (frame.get_frame_metadata(stamped) - frame.get_frame_metadata(middle))
    return seconds if 0 <= seconds < 0.1 else 0.0
