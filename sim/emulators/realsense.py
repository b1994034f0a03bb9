"""A RealSense camera that looks into MuJoCo: a librealsense software device, fed in real time with rendered colour and depth."""

import importlib
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import UInt8, UInt16
from pydantic import Field

from robo_dream.errors import CameraError, MissingExtraError
from robo_dream.schema import Unit, configuration
from sim.emulators.camera_faults import CameraFault, CameraFaultKind
from sim.rendering import SceneRenderer
from sim.tabletop.world import World

_DEPTH_UNIT = 0.001  # m a count, as the D400 series
_BASELINE = 0.015  # m by which the depth sensor stands to the right of the colour sensor, as in a D435
_DEVICE_EPOCH = 50_000.0  # s that the device's own clock shows at first; with 12 s, librealsense 2.59.1 pairs nothing


@configuration
class SoftwareRealSenseConfig:
    """The emulated camera. A `domain` of hardware_clock is a clock of its own, as a camera without global time has."""

    serial: str = "sim-0001"
    width: Annotated[int, Field(ge=1, le=8_192), Unit("px")] = 640
    height: Annotated[int, Field(ge=1, le=8_192), Unit("px")] = 480
    fps: Annotated[int, Field(ge=1, le=1_000), Unit("Hz")] = 15
    latency: Annotated[float, Field(ge=0, le=10), Unit("s")] = 0.0  # s from exposure to delivery, beside the time that drawing takes
    exposure_time: Annotated[float, Field(ge=0, le=10), Unit("s")] = 0.008  # s; stamps are made at its end, and the metadata tell
    domain: Literal["global_time", "system_time", "hardware_clock"] = "global_time"
    record: Path | None = None  # also written to this .db3 file


@dataclass(frozen=True)
class Shot:
    """One exposure: when it was really made, and what was seen."""

    number: int
    time: float  # monotonic seconds, the middle of the exposure
    image: UInt8[np.ndarray, "height width 3"]
    depth: UInt16[np.ndarray, "height width"]


class SoftwareRealSense:
    """Yields librealsense framesets of `camera` in `world`, 15 a second, from `start` to `stop`.

    Everything after the pixels is the real library: streams, intrinsics, extrinsics, matching, time stamps, metadata, recording. `lock`
    is held while it looks, so another thread may move the world. With `free_running` off, `expose` makes every exposure.
    """

    is_live, may_loop = True, False

    def __init__(
        self,
        world: World,
        camera: str,
        config: SoftwareRealSenseConfig | None = None,
        lock: AbstractContextManager[Any] | None = None,
        free_running: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        world.camera(camera)
        self.config = config or SoftwareRealSenseConfig()
        self.label = f"software RealSense {self.config.serial}"
        self.shots: deque[Shot] = deque(maxlen=120)  # the truth, for tests
        self._world, self._camera, self._lock, self._clock = world, camera, lock or nullcontext(), clock
        self._free_running = free_running
        self._faults: deque[CameraFaultKind] = deque()
        self._faults_lock = threading.Lock()
        self._plugged_from = -float("inf")
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None
        self._renderer: SceneRenderer | None = None
        self._device: _Device | None = None
        self._number, self._clock_back = 0, 0.0
        self._began = clock()
        self._failure: Exception | None = None
        self._last_frameset: Any = None

    def __enter__(self) -> "SoftwareRealSense":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        if self._clock() < self._plugged_from:
            raise CameraError(f"no RealSense with serial {self.config.serial}; connected: none; plug it in again")
        if self._device is not None:
            raise CameraError(f"{self.label} is already started; stop it first")
        self._device = _Device(self.config, self._world.intrinsics(self._camera).fy / self._world.camera(self._camera).height)
        self._leave.clear()
        self._failure = None
        if self._free_running:
            self._thread = threading.Thread(target=self._run, name=self.label, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._leave.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._close_renderer()
        self._last_frameset = None
        device, self._device = self._device, None
        if device is not None:
            device.close()

    def wait(self, timeout_ms: int) -> tuple[bool, Any]:
        if self._failure is not None:
            raise self._failure
        if self._device is None or self._clock() < self._plugged_from:
            raise CameraError(f"{self.label} is not connected any more")
        with self._faults_lock:
            if self._faults and self._faults[0] == "repeat" and self._last_frameset is not None:
                self._faults.popleft()
                return True, self._last_frameset
        ok, frameset = self._device.syncer.try_wait_for_frames(timeout_ms)
        if ok and frameset.size() == 2:
            self._last_frameset = frameset
        return ok, frameset

    def sensors(self) -> list[Any]:
        return self._device.sensors if self._device else []

    def inject(self, fault: CameraFault) -> None:
        """From the next exposure on."""
        if fault.kind == "unplug":
            self._plugged_from = self._clock() + fault.count / self.config.fps
            return
        with self._faults_lock:
            for _ in range(1 if fault.kind == "loop" else fault.count):
                self._faults.append(fault.kind)

    def expose(self) -> Shot:
        """Looks now, and delivers at once."""
        shot = self._look()
        self._deliver(shot)
        return shot

    def _run(self) -> None:
        period = 1 / self.config.fps
        due, waiting = self._clock(), deque[Shot]()
        try:
            while not self._leave.is_set():
                now = self._clock()
                if now >= due:
                    waiting.append(self._look())
                    due = max(due + period, self._clock() - period)  # a computer that is too slow drops exposures, it does not race
                while waiting and self._clock() >= waiting[0].time + self.config.latency:
                    self._deliver(waiting.popleft())
                next_event = min(due, waiting[0].time + self.config.latency if waiting else due)
                self._leave.wait(max(next_event - self._clock(), 0.0))
        except Exception as error:  # told to whoever waits for frames
            self._failure = error
        finally:
            self._close_renderer()  # OpenGL belongs to this thread

    def _look(self) -> Shot:
        if self._renderer is None:
            config, size = self.config, self._world.model.vis.global_
            size.offwidth, size.offheight = max(size.offwidth, config.width), max(size.offheight, config.height)
            self._renderer = SceneRenderer(self._world.model, config.width, config.height)
        with self._lock:
            self._renderer.look(self._world.data, self._camera)
            now = self._clock()
        image = self._renderer.colour().copy()
        metres = self._renderer.depth(to_the_right=_BASELINE)
        counts = np.where(metres < 65.5, metres / _DEPTH_UNIT, 0.0).round().astype(np.uint16)
        shot = Shot(self._number, now, image, counts)
        self._number += 1
        return shot

    def _close_renderer(self) -> None:
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()

    def _deliver(self, shot: Shot) -> None:
        with self._faults_lock:
            fault = self._faults.popleft() if self._faults and self._faults[0] != "repeat" else None
        depth = shot
        if self._clock() < self._plugged_from or fault in ("stall", "drop"):
            if fault == "stall":
                self._number -= 1
            return
        if fault == "loop":
            back = min(10, shot.number)
            self._number -= back
            self._clock_back += back / self.config.fps
        elif fault == "unpaired" and len(self.shots) > 1:
            depth = self.shots[-2]
        self.shots.append(shot)
        if self._device is not None:
            self._device.push_colour(shot.image, shot.number, self._stamp(shot), self.config.exposure_time)
            self._device.push_depth(depth.depth, depth.number, self._stamp(depth), self.config.exposure_time)

    def _stamp(self, shot: Shot) -> float:
        """Milliseconds of the end of the exposure, in the configured domain."""
        end = shot.time + self.config.exposure_time / 2 - self._clock_back
        if self.config.domain == "hardware_clock":
            return 1e3 * (end - self._began + _DEVICE_EPOCH)
        return 1e3 * (end + time.time() - time.monotonic())


class _Device:
    """The librealsense objects of one connection."""

    def __init__(self, config: SoftwareRealSenseConfig, focal_over_height: float) -> None:
        try:
            rs = self._rs = importlib.import_module("pyrealsense2")
        except ImportError as error:
            raise MissingExtraError(f"it needs pyrealsense2 ({error}); run `pip install 'robo-dream[realsense]'`") from error
        self._config = config
        self._domain = getattr(rs.timestamp_domain, config.domain)
        self._device = rs.software_device()
        self._device.register_info(rs.camera_info.serial_number, config.serial)
        self._device.register_info(rs.camera_info.name, "MuJoCo RealSense")
        self._colour_sensor, self._depth_sensor = self._device.add_sensor("RGB Camera"), self._device.add_sensor("Stereo Module")
        lens = rs.intrinsics()
        lens.width, lens.height, lens.model, lens.coeffs = config.width, config.height, rs.distortion.brown_conrady, [0.0] * 5
        lens.fx = lens.fy = focal_over_height * config.height
        lens.ppx, lens.ppy = (config.width - 1) / 2, (config.height - 1) / 2  # librealsense counts from the centre of the first pixel
        self._colour = self._colour_sensor.add_video_stream(self._stream(rs.stream.color, 1, rs.format.rgb8, 3, lens))
        self._depth_sensor.add_read_only_option(rs.option.depth_units, _DEPTH_UNIT)
        self._depth = self._depth_sensor.add_video_stream(self._stream(rs.stream.depth, 0, rs.format.z16, 2, lens))
        place = rs.extrinsics()
        place.rotation, place.translation = np.eye(3).ravel().tolist(), [_BASELINE, 0.0, 0.0]
        self._depth.register_extrinsics_to(self._colour, place)
        for option, low, high, default in (
            (rs.option.enable_auto_exposure, 0, 1, 1), (rs.option.exposure, 1, 10000, 166), (rs.option.gain, 0, 128, 64),
            (rs.option.enable_auto_white_balance, 0, 1, 1), (rs.option.white_balance, 2800, 6500, 4600),
        ):  # fmt: skip
            allowed = rs.option_range()
            allowed.min, allowed.max, allowed.step, allowed.default = low, high, 1, default
            self._colour_sensor.add_option(option, allowed, True)
        self._device.create_matcher(rs.matchers.default)
        self.syncer = rs.syncer(4)
        self._recorder = rs.recorder(str(config.record), self._device) if config.record else None
        self.sensors = list((self._recorder or self._device).query_sensors())
        for sensor in self.sensors:
            sensor.open(sensor.get_stream_profiles()[0])
            sensor.start(self.syncer)

    def push_colour(self, image: UInt8[np.ndarray, "height width 3"], number: int, stamp: float, exposure_time: float) -> None:
        self._push(self._colour_sensor, self._colour, image, 3, number, stamp, exposure_time)

    def push_depth(self, depth: UInt16[np.ndarray, "height width"], number: int, stamp: float, exposure_time: float) -> None:
        self._push(self._depth_sensor, self._depth, depth, 2, number, stamp, exposure_time)

    def close(self) -> None:
        for sensor in self.sensors:
            sensor.stop()
            sensor.close()
        self.sensors = []
        self._recorder = None  # a recorder writes its file's end when it is let go

    def _push(
        self, sensor: Any, profile: Any, pixels: np.ndarray, bytes_each: int, number: int, stamp: float, exposure_time: float
    ) -> None:
        values = self._rs.frame_metadata_value
        sensor.set_metadata(values.frame_timestamp, int(1e3 * stamp))
        sensor.set_metadata(values.sensor_timestamp, int(1e3 * stamp - 1e6 * exposure_time / 2))
        frame = self._rs.software_video_frame()
        frame.pixels, frame.bpp, frame.stride = np.ascontiguousarray(pixels), bytes_each, bytes_each * self._config.width
        frame.timestamp, frame.domain, frame.frame_number = stamp, self._domain, number
        frame.profile = profile.as_video_stream_profile()
        if bytes_each == 2:
            frame.depth_units = _DEPTH_UNIT
        sensor.on_video_frame(frame)

    def _stream(self, kind: Any, uid: int, form: Any, bytes_each: int, lens: Any) -> Any:
        stream = self._rs.video_stream()
        stream.type, stream.index, stream.uid, stream.fmt, stream.bpp = kind, 0, uid, form, bytes_each
        stream.width, stream.height, stream.fps, stream.intrinsics = lens.width, lens.height, self._config.fps, lens
        return stream
