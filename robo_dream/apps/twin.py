"""A MuJoCo arm that moves in real time in a process of its own, behind the wire that its driver speaks, and cameras that look at it."""

import multiprocessing as mp
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import connection
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import Frame, Intrinsics
from robo_dream.errors import ArmError, ConfigError, RoboDreamError
from sim.emulators.plant import Plant
from sim.scene import SceneConfig
from sim.world import World

_START = 30.0  # s for a new interpreter and a compiled scene
Address = str | int
Serve = Callable[[Plant], AbstractContextManager[Address]]


@contextmanager
def _line(plant: Plant):
    from sim.emulators.line_server import LineServer

    with LineServer(plant) as server:
        yield server.port


@contextmanager
def _so101(plant: Plant):
    from sim.emulators.so101 import so101_bus

    with so101_bus(plant) as bus:
        yield bus.port


WIRES: dict[str, Serve] = {"line": _line, "so101": _so101}
"""How the arm of each `kind` is emulated: what serves its plant, and gives the port or address for the driver."""


class Twin:
    """The process. Entering starts it with the arm at `start` (a world's state; its home pose without) and gives `address`."""

    def __init__(self, kind: str, scene: SceneConfig, start: Float[np.ndarray, " state"] | None = None, speed: float = 1.0) -> None:
        if kind not in WIRES:
            raise ConfigError(f"no twin speaks the wire of arm kind {kind!r}; there are twins of {', '.join(sorted(WIRES))}")
        self._arguments = (kind, scene, None if start is None else np.asarray(start), speed)
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
            if what is not None:
                self._channel.send(what)
            told = self._channel.recv()
        except (EOFError, OSError):
            raise ArmError(f"the twin has ended (exit code {self._process.exitcode}); see what it said above") from None
        if "error" in told:
            raise ArmError(f"the twin failed: {told['error']}")
        return told


class TwinView:
    """What a twin's cameras see: its newest state, put into a world of this process."""

    def __init__(self, twin: Twin, world: World) -> None:
        self._twin, self.world = twin, world
        self.time = 0.0
        self.refresh()

    def refresh(self) -> None:
        self.time, state, _ = self._twin.now()
        self.world.set_state(state)


class TwinCamera:
    """A `Camera` of a twin. Frames are stamped with the time of the physics that they show."""

    def __init__(self, view: TwinView, name: str) -> None:
        view.world.camera(name)
        self._view, self.name = view, name

    def __enter__(self) -> "TwinCamera":
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
        self._view.refresh()
        frame = self._view.world.frame(self.name)
        return Frame(self._view.time, frame.image, frame.number)


def _serve(kind: str, scene: SceneConfig, start: Float[np.ndarray, " state"] | None, speed: float, channel: connection.Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a real arm does not vanish on Ctrl-C either
    try:
        with World(scene) as world:
            if start is not None:
                world.set_state(start)
            with Plant(world, speed) as plant, WIRES[kind](plant) as address:
                channel.send({"address": address})
                while channel.recv() == "state":
                    with plant.lock:
                        told = {"time": plant.joints().time, "state": plant.state(), "time_lost": plant.time_lost}
                    channel.send(told)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # nobody looks any more
        return
    except RoboDreamError as error:
        channel.send({"error": str(error)})
