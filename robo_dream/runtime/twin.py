"""A MuJoCo arm that moves in real time in a process of its own, behind the wire that its driver speaks, and what looks at it.

Its cameras are librealsense software devices behind the driver of real ones, or pictures drawn when they are read.
"""

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import field
from multiprocessing import connection
from types import TracebackType
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.arms.ros2 import Ros2Config
from hardware.arms.ur import UrConfig
from hardware.cameras.newest import LiveCamera, WatchConfig
from hardware.cameras.realsense import RealSenseExposures
from hardware.cameras.realsense_sources import realsense
from robo_dream.embodiment import Camera, Frame, Intrinsics
from robo_dream.errors import ArmError, ConfigError, RoboDreamError
from robo_dream.runtime.arms import ArmKind, DynamixelKind
from robo_dream.runtime.cameras import SquareCamera
from robo_dream.schema import Unit, configuration
from sim.emulators.plant import Plant
from sim.emulators.realsense import SoftwareRealSense, SoftwareRealSenseConfig
from sim.environment import truth
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

_START = 30.0  # s for a new interpreter and a compiled scene
Address = str | int
Serve = Callable[[Plant, Any], AbstractContextManager[Address]]


@contextmanager
def _line(plant: Plant, arm: ArmKind):
    from sim.emulators.line_server import LineServer

    with LineServer(plant) as server:
        yield server.port


@contextmanager
def _so101(plant: Plant, arm: ArmKind):
    from sim.emulators.so101 import so101_bus

    with so101_bus(plant) as bus:
        yield bus.port


@contextmanager
def _dynamixel(plant: Plant, arm: DynamixelKind):
    from sim.emulators.dynamixel_bus import DynamixelBus
    from sim.emulators.servo_bus import ServoMount

    with DynamixelBus(plant, [ServoMount(servo.id, servo.zero, servo.scale) for servo in (*arm.joints, arm.gripper)]) as bus:
        yield bus.port


@contextmanager
def _ur(plant: Plant, arm: UrConfig):
    from sim.emulators.ur_rtde import SERIAL, UrEmulator

    serial, has_hand = arm.serial or SERIAL, arm.gripper == "robotiq"
    with UrEmulator(plant, _own_address(), model=arm.model, serial=serial, robotiq=has_hand) as controller:
        yield controller.address


@contextmanager
def _xarm(plant: Plant, arm: ArmKind):
    from sim.emulators.xarm import XarmEmulator

    with XarmEmulator(plant, _own_address()) as controller:
        yield controller.address


@contextmanager
def _ros2(plant: Plant, arm: Ros2Config):
    from sim.emulators.ros2_controller import Ros2Controller

    if arm.gripper is None or arm.gripper.commands not in ("", arm.commands):
        raise ConfigError("the twin's gripper is a joint of the arm's own controller; give arm.gripper, and leave out arm.gripper.commands")
    namespace = f"/twin_{os.getpid()}"  # that no other process has
    states, commands = namespace + arm.states, namespace + arm.commands
    with Ros2Controller(plant, arm.names, arm.gripper.open, arm.gripper.closed, states, commands, arm.domain):
        yield namespace


WIRES: dict[str, Serve] = {"line": _line, "so101": _so101, "dynamixel": _dynamixel, "ur": _ur, "xarm": _xarm, "ros2": _ros2}
"""How the arm of each `kind` is emulated: what serves its plant, and gives the port or address for the driver."""


def _own_address() -> str:
    """A loopback address that no other process takes: these controllers' ports are fixed."""
    number = os.getpid()
    return f"127.{64 + (number >> 16) % 64}.{number >> 8 & 255}.{number & 255}"


class Twin:
    """The process. Entering starts it with the arm at `start` (a world's state; its home pose without) and gives `address`."""

    def __init__(self, arm: ArmKind, scene: SceneConfig, start: Float[np.ndarray, " state"] | None = None, speed: float = 1.0) -> None:
        if arm.kind not in WIRES:
            raise ConfigError(f"no twin speaks the wire of arm kind {arm.kind!r}; there are twins of {', '.join(sorted(WIRES))}")
        self._arguments = (arm, scene, None if start is None else np.asarray(start), speed)
        self._asking = threading.Lock()
        self.address: Address = 0

    def __enter__(self) -> "Twin":
        context = mp.get_context("spawn")
        self._channel, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(*self._arguments, theirs), name="twin", daemon=True)
        self._process.start()
        theirs.close()
        if not self._channel.poll(_START):
            self._process.terminate()
            raise ArmError(f"the twin did not start within {_START} s")
        told = self._ask(None)
        self.address = told["address"]
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._channel.close()
        self._process.join(3.0)
        if self._process.is_alive():
            self._process.terminate()

    def now(self) -> tuple[float, Float[np.ndarray, " state"], float]:
        """Monotonic seconds of the newest physics, the world's state then, and seconds of physics that the machine was too slow for."""
        told = self._ask("state")
        return told["time"], told["state"], told["time_lost"]

    def _ask(self, what: str | None) -> dict[str, Any]:
        try:
            with self._asking:
                if what is not None:
                    self._channel.send(what)
                told = self._channel.recv()
        except (EOFError, OSError):
            raise ArmError(f"the twin has ended (exit code {self._process.exitcode}); see what it said above") from None
        if "error" in told:
            raise ArmError(f"the twin failed: {told['error']}")
        return told


def _serve(
    arm: ArmKind, scene: SceneConfig, start: Float[np.ndarray, " state"] | None, speed: float, channel: connection.Connection
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a real arm does not vanish on Ctrl-C either
    with suppress(OSError):  # where the system allows it: a real arm does not wait for a busy computer
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    try:
        with World(scene) as world:
            if start is not None:
                world.set_state(start)
            with Plant(world, speed) as plant, WIRES[arm.kind](plant, arm) as address:
                channel.send({"address": address})
                while channel.recv() == "state":
                    with plant.lock:
                        told = {"time": plant.joints().time, "state": plant.state(), "time_lost": plant.time_lost}
                    channel.send(told)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # nobody looks any more
        return
    except RoboDreamError as error:
        channel.send({"error": str(error)})


@configuration
class RenderedKind:
    """Pictures drawn at the very moment they are read: no camera's delay, beat or faults."""

    kind: Literal["rendered"] = "rendered"


@configuration
class SoftwareRealSenseKind:
    """A librealsense software device for each camera of the scene. A D400's smallest mode, at a rate at which any two exposures that are
    the newest are less than `max_frame_spread` apart."""

    kind: Literal["realsense"] = "realsense"
    width: Annotated[int, Field(ge=1, le=8_192), Unit("px")] = 424
    height: Annotated[int, Field(ge=1, le=8_192), Unit("px")] = 240
    fps: Annotated[int, Field(ge=1, le=1_000), Unit("Hz")] = 30
    depth: bool = True
    latency: Annotated[float, Field(ge=0, le=10), Unit("s")] = 0.0  # s from exposure to delivery, beside the time that drawing takes
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
