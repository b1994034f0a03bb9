"""A MuJoCo arm that moves in real time in a process of its own, behind the wire that its driver speaks."""

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing import connection
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float

from hardware.arms.ur import UrConfig
from robo_dream.errors import ArmError, ConfigError, RoboDreamError
from robo_dream.runtime.arms import ArmKind, DynamixelKind
from sim.emulators.plant import Plant
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


WIRES: dict[str, Serve] = {"line": _line, "so101": _so101, "dynamixel": _dynamixel, "ur": _ur, "xarm": _xarm}
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
