"""What looks at a twin: librealsense software devices behind the driver of real cameras, or pictures drawn when they are read."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

import numpy as np
from jaxtyping import Float

from hardware.cameras.newest import LiveCamera, WatchConfig
from hardware.cameras.realsense import RealSenseExposures
from hardware.cameras.realsense_sources import realsense
from robo_dream.embodiment import Camera, Frame, Intrinsics
from robo_dream.runtime.cameras import SquareCamera
from robo_dream.runtime.twin import Twin
from sim.emulators.realsense import SoftwareRealSense, SoftwareRealSenseConfig
from sim.environment import truth
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World


@dataclass(frozen=True)
class RenderedKind:
    """Pictures drawn at the very moment they are read: no camera's delay, beat or faults."""

    kind: Literal["rendered"] = "rendered"


@dataclass(frozen=True)
class SoftwareRealSenseKind:
    """A librealsense software device for each camera of the scene. A D400's smallest mode, at a rate at which any two exposures that are
    the newest are less than `max_frame_spread` apart."""

    kind: Literal["realsense"] = "realsense"
    width: int = 424
    height: int = 240
    fps: int = 30
    depth: bool = True
    latency: float = 0.0  # s from exposure to delivery, beside the time that drawing takes
    watch: WatchConfig = field(default_factory=lambda: WatchConfig(warm_up_frames=5, start_seconds=20.0))


TwinCameraKind = RenderedKind | SoftwareRealSenseKind


class TwinView:
    """A world of this process that shows how the twin is. Within `with view:` it is as the twin was on entering."""

    def __init__(self, twin: Twin, world: World) -> None:
        self._twin, self._lock, self.world = twin, threading.RLock(), world
        self.time = 0.0  # monotonic seconds of what it shows
        with self:
            pass

    def __enter__(self) -> "TwinView":
        self._lock.acquire()
        try:
            self.time, state, _ = self._twin.now()
            self.world.set_state(state)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def truth(self) -> dict[str, np.ndarray]:
        """What only a simulator knows, now; `world` stays as it then was."""
        with self:
            return truth(self.world)


class RenderedCamera:
    """A `Camera` of a twin. Frames are stamped with the time of the physics that they show."""

    def __init__(self, view: TwinView, name: str) -> None:
        view.world.camera(name)
        self._view, self.name = view, name

    def __enter__(self) -> "RenderedCamera":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    @property
    def intrinsics(self) -> Intrinsics:
        return self._view.world.intrinsics(self.name)

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        return self._view.world.world_from_camera(self.name)

    def read(self) -> Frame:
        with self._view:
            world = self._view.world
            return Frame(self._view.time, world.image(self.name), round(world.time / world.model.opt.timestep))


def twin_serial(name: str) -> str:
    """By what a calibration file knows the camera `name` of a twin again."""
    return f"sim-{name}"


@contextmanager
def twin_cameras(config: TwinCameraKind, twin: Twin, scene: SceneConfig, names: Sequence[str], size: int) -> Iterator[list[Camera]]:
    """The scene's cameras named `names`, not yet open, `size` pixels wide. Raises `MissingExtraError` where librealsense is missing."""
    if isinstance(config, SoftwareRealSenseKind):
        realsense()
    with World(scene) as world:
        view = TwinView(twin, world)
        if isinstance(config, RenderedKind):
            yield [RenderedCamera(view, name) for name in names]
        else:
            yield [SquareCamera(_software_realsense(config, view, name), size) for name in names]


def _software_realsense(config: SoftwareRealSenseKind, view: TwinView, name: str) -> LiveCamera:
    device = SoftwareRealSenseConfig(twin_serial(name), config.width, config.height, config.fps, config.latency)
    source = SoftwareRealSense(view.world, name, device, lock=view)
    return LiveCamera(name, RealSenseExposures(source, config.fps, config.depth), config.watch, view.world.world_from_camera(name))
