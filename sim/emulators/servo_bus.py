"""A bus of servos behind a pseudo-terminal: what Feetech's and Dynamixel's have in common, wire faults included."""

import errno
import heapq
import os
import select
import shutil
import tempfile
import termios
import threading
import time
import tty
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType

import numpy as np

from robo_dream.errors import ConfigError
from sim.emulators.commands import CommandLog
from sim.emulators.faults import Fault, FaultInjector, Faults
from sim.emulators.plant import Plant

TICKS = 4096  # a turn
_LOOK = 0.005  # s between looks at faults that nobody asked about
_SPEEDS = {57_600: termios.B57600, 115_200: termios.B115200, 500_000: termios.B500000, 1_000_000: termios.B1000000}


@dataclass(frozen=True)
class ServoMount:
    """How a servo sits in the arm: its number on the bus, and its position in ticks as `zero + scale * value`.

    The value is the joint's angle in radians (a turn has 4,096 ticks) or, of the gripper, the closure (0 open, 1 closed).
    """

    id: int
    zero: float = TICKS / 2
    scale: float = TICKS / (2 * np.pi)

    def ticks(self, value: float) -> int:
        return round(self.zero + self.scale * value)

    def value(self, ticks: float) -> float:
        return (ticks - self.zero) / self.scale


@dataclass(frozen=True)
class Reply:
    """A packet on its way back, and the joint whose servo sends it."""

    joint: int
    packet: bytes


class ServoBus(ABC):
    """The servos of a plant's joints, the gripper's last, at `port` once entered. Faults strike each servo's reply by itself.

    Opening the port at another speed than `baud` hears nothing. `unplug` takes the port away while the servos hold; when it is over
    the port is back under the same name. `stop` is a brown-out: all torque is lost, and the servos answer again without it.
    """

    def __init__(
        self,
        plant: Plant,
        mounts: Sequence[ServoMount],
        faults: Faults | None = None,
        baud: int = 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        num_servos = len(plant.target)
        if len(mounts) != num_servos or len({mount.id for mount in mounts}) != num_servos:
            raise ConfigError(f"the arm has {num_servos} servos, gripper included; got the numbers {[mount.id for mount in mounts]}")
        if baud not in _SPEEDS:
            raise ConfigError(f"baud is {baud}; an emulated bus has {', '.join(map(str, _SPEEDS))}")
        self.plant = plant
        self.mounts = tuple(mounts)
        self.commands = CommandLog(clock)
        self._faults = FaultInjector(faults, clock)
        self._baud = baud
        self._clock = clock
        self._rng = np.random.default_rng(0)
        self._folder = ""
        self._master = self._slave = -1
        self._buffer = bytearray()
        self._due: list[tuple[float, int, bytes]] = []  # late replies: when, tie-breaker, packet
        self._ties = count()
        self._browned_out = False
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "ServoBus":
        self._folder = tempfile.mkdtemp(prefix="servo_bus_")
        self._plug_in()
        self._leave.clear()
        self._thread = threading.Thread(target=self._serve, name="servo bus", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._leave.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._unplug()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def port(self) -> str:
        """The device that a client opens; the same before and after an unplug."""
        return str(Path(self._folder) / "port")

    def inject(self, fault: Fault) -> None:
        self._faults.inject(fault)

    def clear_faults(self) -> None:
        self._faults.clear()

    @property
    def is_unplugged(self) -> bool:
        return self._faults.lasts("unplug") is not None

    def hear(self, said: bytes) -> bytes:
        """What the servos answer at once to bytes on the bus, after the faults of the moment."""
        self._buffer += said
        replies = b""
        while (packet := self._take_packet(self._buffer)) is not None:
            replies += b"".join(self._damaged(reply) for reply in self._answer(packet))
        return replies

    def overdue(self) -> bytes:
        """The late replies whose time has come."""
        replies = b""
        while self._due and self._due[0][0] <= self._clock():
            replies += heapq.heappop(self._due)[2]
        return replies

    @abstractmethod
    def _take_packet(self, buffer: bytearray) -> bytes | None:
        """Removes the first whole and valid packet from `buffer` and returns it; None when there is none yet."""

    @abstractmethod
    def _answer(self, packet: bytes) -> list[Reply]:
        """Obeys an instruction."""

    @abstractmethod
    def _lose_power(self) -> None:
        """What a brown-out does to the servos' memory and torque."""

    def _hears(self, joint: int) -> bool:
        """Whether the servo is on the bus at all; a mute one neither hears nor answers."""
        return self._faults.lasts("mute", joint) is None

    def _error_code(self, joint: int) -> int:
        """The error that an injected fault makes the servo report; 0 is none. Counts as a reply."""
        fault = self._faults.strike("error", joint)
        return fault.code if fault else 0

    def _serve(self) -> None:
        while not self._leave.is_set():
            self._look_at_plug()
            self.look_at_faults()
            if self._master < 0:
                time.sleep(_LOOK)
                continue
            wait = max(0.0, min(_LOOK, self._due[0][0] - self._clock())) if self._due else _LOOK
            readable, _, _ = select.select([self._master], [], [], wait)
            try:
                if readable:
                    heard = os.read(self._master, 4096)
                    if self._has_right_speed() and (replies := self.hear(heard)):
                        os.write(self._master, replies)
                if late := self.overdue():
                    os.write(self._master, late)
            except OSError as error:
                if error.errno != errno.EIO:  # the client has closed its end
                    raise

    def _look_at_plug(self) -> None:
        if self.is_unplugged and self._master >= 0:
            self._unplug()
        elif not self.is_unplugged and self._master < 0:
            self._plug_in()

    def look_at_faults(self) -> None:
        """What strikes the servos without anybody asking them."""
        browned_out = self._faults.lasts("stop") is not None
        if browned_out and not self._browned_out:
            self._lose_power()
        self._browned_out = browned_out

    def _damaged(self, reply: Reply) -> bytes:
        """What of a reply goes on the wire at once, after the faults of this moment."""
        if not self._hears(reply.joint) or self._faults.strike("lost", reply.joint):
            return b""
        packet = bytearray(reply.packet)
        if self._faults.strike("corrupt", reply.joint):
            packet[int(self._rng.integers(len(packet)))] ^= int(self._rng.integers(1, 256))
        if self._faults.strike("truncated", reply.joint):
            del packet[int(self._rng.integers(1, len(packet))) :]
        late = self._faults.strike("late", reply.joint)
        if late is None:
            return bytes(packet)
        heapq.heappush(self._due, (self._clock() + late.delay, next(self._ties), bytes(packet)))
        return b""

    def _has_right_speed(self) -> bool:
        return termios.tcgetattr(self._slave)[5] == _SPEEDS[self._baud]

    def _plug_in(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, True)
        link = Path(self.port)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._slave))

    def _unplug(self) -> None:
        self._buffer.clear()
        self._due.clear()
        Path(self.port).unlink(missing_ok=True)
        for end in (self._master, self._slave):
            if end >= 0:
                os.close(end)
        self._master = self._slave = -1
