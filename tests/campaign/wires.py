"""Wires within one process: what vendor clients and drivers hold in place of a serial port, a socket or a process of ur-rtde."""

import random
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import serial

from hardware.arms.ur_process import UrReading
from robo_dream.errors import ArmError
from sim.emulators import xarm_frames
from sim.emulators.faults import FaultInjector
from sim.emulators.line_server import LineServer
from sim.emulators.servo_bus import ServoBus
from sim.emulators.ur_controller import UrController
from sim.emulators.xarm_controller import XarmController

from .lockstep import Lockstep

_TRIP = 0.001  # s that a question and its answer are under way
_LOOK = 0.001  # s that a client which finds nothing sleeps


class SerialBus:
    """The port of a servo bus, as pyserial would give it."""

    timeout = 0.001

    def __init__(self, clock: Lockstep, bus: ServoBus) -> None:
        self._clock, self._bus, self._unread, self._is_gone = clock, bus, b"", bus.is_unplugged
        self._alive()

    @property
    def in_waiting(self) -> int:
        return len(self._unread)

    def write(self, data: bytes) -> int:
        self._alive()
        self._unread += self._bus.hear(bytes(data))
        self._clock.wait(_TRIP)
        return len(data)

    def read(self, size: int) -> bytes:
        self._alive()
        self._unread += self._bus.overdue()
        if not self._unread:
            self._clock.wait(_LOOK)
        part, self._unread = self._unread[:size], self._unread[size:]
        return part

    def reset_input_buffer(self) -> None:
        self._alive()
        self._bus.overdue()
        self._unread = b""

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def _alive(self) -> None:
        self._is_gone |= self._bus.is_unplugged  # a port that came back is another one
        if self._is_gone:
            raise serial.SerialException("the device is gone")


def port_handler(handler: type, clock: Lockstep, bus: ServoBus) -> type:
    """An SDK's port handler on `bus`, keeping its time by `clock`."""

    class Stepped(handler):
        def setupPort(self, cflag_baud: int) -> bool:
            self.ser, self.is_open = SerialBus(clock, bus), True
            self.tx_time_per_byte = 10_000.0 / self.baudrate
            return True

        def getCurrentTime(self) -> float:
            return 1000 * clock.now()

    return Stepped


class Replies:
    """Replies on their way through the faults of a TCP wire, as `sim/emulators/wire.py` has them; they keep their order."""

    def __init__(self, clock: Lockstep, faults: FaultInjector) -> None:
        self._clock, self.faults, self._random = clock, faults, random.Random(0)
        self._waiting: deque[tuple[float, bytes]] = deque()
        self.is_gone = False  # an unplug ends a connection for good

    def send(self, data: bytes) -> None:
        if not self.is_up() or self.faults.strike("lost"):
            return
        late = self.faults.strike("late")
        due = self._clock.now() + _TRIP + (late.delay if late else 0.0)
        if self.faults.strike("corrupt"):
            at = self._random.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ (1 << self._random.randrange(8))]) + data[at + 1 :]
        if self.faults.strike("truncated"):
            data = data[: self._random.randrange(len(data))]
        self._waiting.append((max(due, self._waiting[-1][0]) if self._waiting else due, data))

    def is_up(self) -> bool:
        self.is_gone |= self.faults.lasts("unplug") is not None
        return not self.is_gone

    def arrived(self) -> bytes:
        data = b""
        while self._waiting and self._waiting[0][0] <= self._clock.now() and self.is_up():
            data += self._waiting.popleft()[1]
        return data

    def await_some(self, seconds: float) -> bytes:
        """What comes within that time; nothing when nothing does."""
        end = self._clock.now() + seconds
        while not (data := self.arrived()) and self._clock.now() < end:
            due = self._waiting[0][0] if self._waiting and not self.is_gone else end
            self._clock.sleep_until(min(max(due, self._clock.now() + 1e-4), end))
        return data


class LineSocket:
    """The client's end of a connection to a `LineServer`."""

    def __init__(self, replies: Replies, server: LineServer) -> None:
        self._replies, self._server, self._timeout = replies, server, 1.0
        if not replies.is_up():
            raise ConnectionRefusedError("nobody listens")

    def setsockopt(self, *option: int) -> None: ...

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def sendall(self, data: bytes) -> None:
        if self._replies.is_up():
            self._replies.send(self._server.reply(data))

    def recv(self, size: int) -> bytes:
        if not (data := self._replies.await_some(self._timeout)):
            raise TimeoutError
        return data

    def close(self) -> None: ...


class XarmPort:
    """The SDK's main socket: packets to an `XarmController` and its answers."""

    def __init__(self, replies: Replies, controller: XarmController) -> None:
        self._replies, self._controller, self._buffer, self._unread = replies, controller, bytearray(), b""
        self.connected = replies.is_up()

    def flush(self) -> int:
        self._replies.arrived()
        self._unread = b""
        return 0

    def write(self, data: bytes) -> int:
        self._buffer += data
        try:
            for request in xarm_frames.requests(self._buffer):
                self._replies.send(self._controller.answer(request))
        except (ValueError, IndexError, struct.error):
            self.connected = False
        return 0 if self.connected else -1

    def read(self, timeout: float) -> bytes | int:
        """One whole packet, cut as the SDK cuts them."""
        while True:
            if len(self._unread) >= 6 and len(self._unread) >= (length := int.from_bytes(self._unread[4:6], "big") + 6):
                packet, self._unread = self._unread[:length], self._unread[length:]
                if len(packet) > 6:
                    return packet
                continue
            if not (data := self._replies.await_some(timeout)):
                return -1
            self._unread += data

    def close(self) -> None:
        self.connected = False


class UrClient:
    """In place of `UrProcess` and ur-rtde: writes the registers that ur-rtde writes, and tells readings as they come."""

    def __init__(self, clock: Lockstep, controller: UrController, replies: Replies, period: float) -> None:
        self._clock, self._controller, self._replies, self._period = clock, controller, replies, period
        self.alive = True
        self._reading: UrReading | None = None
        self._next = self._kick = 0.0
        self._is_streaming = self._has_control = False
        clock.lives.append(self._live)

    def reading(self) -> UrReading | None:
        return self._reading

    def call(self, doing: str, name: str, *arguments: Any, timeout: float) -> Any:
        if not self.alive:
            raise ArmError(f"{doing} ended meanwhile")
        answer = getattr(self, f"_do_{name}")(*arguments)
        end = self._clock.now() + timeout
        while True:  # the controller's word that it is ready or done comes with the readings
            before = self._reading
            self._clock.wait(self._period)
            if self._reading is not before and (done := answer()) is not None:
                return done
            if self._clock.now() > end:
                self.kill()
                raise ArmError(f"{doing} was not answered within {timeout * 1000:.0f} ms")

    def close(self, timeout: float = 2.0) -> None:
        if self.alive and self._has_control:
            self._write(16, [10.0])
            self._clock.wait(0.05)
            self._controller.end_program()
        self.kill()

    def kill(self) -> None:
        self.alive = False
        if self._live in self._clock.lives:
            self._clock.lives.remove(self._live)

    def _live(self) -> None:
        now, controller = self._clock.now(), self._controller
        if self._has_control and not self._is_streaming and now >= self._kick and controller.program and self._replies.is_up():
            self._kick = now + 0.02
            controller.write({"input_int_register_0": 0}, now)
        if now >= self._next:
            self._next = now + self._period
            told = controller.variables()
            numbers = struct.pack("<12dIII", *told["actual_q"], *told["actual_qd"], told["robot_mode"], told["safety_status_bits"],
                                  told["robot_status_bits"])  # fmt: skip
            self._replies.send(numbers)
        data = self._replies.arrived()
        if len(data) >= 108 and len(data) % 108 == 0:  # RTDE drops what has another length
            *joints, mode, safety, status = struct.unpack("<12dIII", data[-108:])
            self._reading = UrReading(now, np.array(joints[:6]), np.array(joints[6:]), mode, safety, status, True)
        if not self._replies.is_up() and self._reading is not None and self._reading.connected:
            old = self._reading
            self._reading = UrReading(old.time, old.pos, old.vel, old.robot_mode, old.safety_bits, old.status_bits, False)

    def _write(self, command: int, numbers: list[float]) -> None:
        values = {f"input_double_register_{i}": value for i, value in enumerate(numbers)} | {"input_int_register_0": command}
        if self._replies.is_up():
            self._controller.write(values, self._clock.now())

    def _do_receive(self, host: str, rate: float, *rest: Any) -> Callable[[], bool]:
        return lambda: True

    def _do_control(self, host: str, rate: float, watchdog: float) -> Callable[[], bool]:
        controller = self._controller
        controller.load("def rtde_control():\nend", self._clock.now())
        controller.write({"input_double_register_0": watchdog, "input_int_register_0": 35}, self._clock.now())
        self._has_control = True
        return lambda: True

    def _do_servo(self, target: list[float], duration: float, lookahead: float, gain: float) -> Callable[[], bool]:
        self._is_streaming = True
        self._write(11, [*target, 0.0, 0.0, duration, lookahead, gain])
        return lambda: bool(self._controller.program)

    def _do_stop(self, deceleration: float) -> Callable[[], bool | None]:
        self._write(16, [deceleration])
        self._is_streaming, self._kick = False, self._clock.now() + 0.02
        controller = self._controller
        return lambda: False if not controller.program else True if controller.motion.done else None
