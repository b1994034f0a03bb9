"""Servos through Dynamixel's Python SDK, or through Feetech's, which is made after it: the same calls, the same traps."""

import termios
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import cycle
from typing import Any

from hardware.arms.servo_arm import BusError, GripperServo, JointServo, ServoArmConfig, ServoLine
from robo_dream.errors import ArmError, ConfigError, MissingExtraError

Servo = JointServo | GripperServo

_TRIES = 3  # of a configuration, where there is time
_CONFIGURE_TIMEOUT = 0.05  # s, or longer where the readings may take longer
_NUM_LENGTHS = 12  # of requests in a row that differ in how much they ask for


@dataclass(frozen=True)
class Packet:
    """Where things are in a status packet of an SDK: first bytes of number, error and data."""

    id: int
    error: int
    data: int


@dataclass(frozen=True)
class Answer:
    """A servo's reply: its error byte and its data."""

    error: int
    data: list[int]


class SdkLine(ServoLine):
    """An SDK's port and packets.

    Neither protocol numbers its replies (and Feetech's SDK never clears its input), so that a late reply would pass for the next one.
    Here the input is cleared before every request, and each request asks for another number of bytes than the eleven before it: a reply
    to an older one has the wrong length and is dropped.
    """

    _receive_options: tuple[bool, ...] = ()  # what the SDK's `rxPacket` takes besides the port

    def __init__(
        self, config: ServoArmConfig, clock: Callable[[], float], module: str, protocol: float, package: str, extra: str, packet: Packet
    ) -> None:
        self._config = config
        self._clock = clock
        self._servos: tuple[Servo, ...] = (*config.joints, config.gripper)
        self._ids = [servo.id for servo in self._servos]
        self._module, self._protocol, self._package, self._extra = module, protocol, package, extra
        self._packet = packet
        self._more = cycle(range(_NUM_LENGTHS))
        self._port: Any = None
        self._packets: Any = None
        self._broken: tuple[type[Exception], ...] = (OSError, termios.error, IndexError)  # IndexError: the SDKs trip over short replies
        self._success = 0

    def open(self) -> None:
        try:
            sdk = import_module(self._module)
        except ImportError as error:
            raise MissingExtraError(
                f"these servos need {self._package}, which is not installed; run `pip install 'robo-dream[{self._extra}]'`"
            ) from error
        self._port, self._packets = sdk.PortHandler(self._config.port), sdk.PacketHandler(self._protocol)
        self._success = sdk.COMM_SUCCESS
        try:
            opened = self._port.setBaudRate(self._config.baud)
        except self._broken as error:
            raise ArmError(
                f"cannot open {self._config.port} ({error}); is the bus adapter plugged in, and may this user open it (group dialout)?"
            ) from error
        if not opened:
            raise ConfigError(f"baud is {self._config.baud}, which {self._package} does not know; 57600, 115200 and 1000000 are usual")
        self._port.ser.timeout = 0.001  # the SDK's loops then sleep where they would spin
        try:
            for servo in self._servos:
                self._prepare(servo)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._port is not None and self._port.is_open:
            try:
                self._port.closePort()
            except self._broken:  # it is gone already
                self._port.is_open = False

    @abstractmethod
    def _prepare(self, servo: Servo) -> None:
        """Raises `ArmError` unless the servo can be driven as configured; sets what it must know."""

    @abstractmethod
    def _request(self, address: int, size: int) -> int:
        """Sends a sync read to all servos; returns the SDK's result."""

    @abstractmethod
    def _size(self, packet: list[int]) -> int:
        """Bytes of data that a status packet says it has."""

    def _who(self, servo: Servo) -> str:
        return f"{self._config.port}: {servo.name} (servo {servo.id})"

    def _read_all(self, address: int, size: int, ends: float) -> list[Answer]:
        """At least `size` bytes from `address` of every servo, in order; raises `BusError` at `ends` (of the clock)."""
        size += next(self._more)
        try:
            self._clear()
            result = self._request(address, size)
            if result != self._success:
                raise BusError(f"the bus took no request ({self._packets.getTxRxResult(result)})")
            answers = self._receive(self._ids, size, ends)
        except self._broken as error:
            raise BusError(f"the bus on {self._config.port} is gone ({error})") from error
        return [answers[number] for number in self._ids]

    def _write_all(self, address: int, data: Sequence[Sequence[int]]) -> None:
        """Writes to every servo at once; nothing comes back. Raises `BusError`."""
        parameters = [byte for servo, part in zip(self._servos, data, strict=True) for byte in (servo.id, *part)]
        try:
            self._clear()
            result = self._packets.syncWriteTxOnly(self._port, address, len(data[0]), parameters, len(parameters))
        except self._broken as error:
            raise BusError(f"the bus on {self._config.port} is gone ({error})") from error
        if result != self._success:
            raise BusError(f"the bus took no command ({self._packets.getTxRxResult(result)})")

    def _ask(self, servo: Servo, address: int, size: int) -> list[int]:
        """A register of one servo, while there is time; raises `ArmError`."""
        return self._one(servo, size, lambda: self._packets.readTx(self._port, servo.id, address, size)).data

    def _tell(self, servo: Servo, address: int, data: list[int]) -> None:
        """Writes a register of one servo and reads it back; raises `ArmError`."""
        answer = self._one(servo, 0, lambda: self._packets.writeTxOnly(self._port, servo.id, address, len(data), data))
        if self._ask(servo, address, len(data)) != data:
            raise ArmError(f"{self._who(servo)} keeps no new value in register {address} (error {answer.error}); is its memory locked?")

    def _one(self, servo: Servo, size: int, request: Callable[[], int]) -> Answer:
        for _ in range(_TRIES):
            try:
                self._clear()
                request()
                return self._receive([servo.id], size, self._clock() + max(_CONFIGURE_TIMEOUT, self._config.reply_timeout))[servo.id]
            except BusError:
                continue
            except self._broken as error:
                raise ArmError(f"the bus on {self._config.port} is gone ({error}); plug it in and connect again") from error
        raise ArmError(f"{self._who(servo)} does not answer at {self._config.baud} baud; check its number, its cable and the supply")

    def _receive(self, ids: Sequence[int], size: int, ends: float) -> dict[int, Answer]:
        """The whole, valid replies of these servos with `size` bytes of data; raises `BusError` naming who is missing at `ends`."""
        self._port.setPacketTimeoutMillis(1000 * max(0.0, ends - self._clock()))
        answers: dict[int, Answer] = {}
        came_garbled = False
        while len(answers) < len(ids):
            packet, result = self._packets.rxPacket(self._port, *self._receive_options)
            place = self._packet
            if result == self._success:
                if packet[place.id] in ids and self._size(packet) == size:
                    answers[packet[place.id]] = Answer(packet[place.error], packet[place.data : place.data + size])
                continue
            came_garbled |= bool(packet)
            if self._clock() > ends:
                missing = [f"{servo.name} (servo {servo.id})" for servo in self._servos if servo.id in ids and servo.id not in answers]
                damage = ", and something came garbled" if came_garbled else ""
                raise BusError(f"no answer in time from {', '.join(missing)}{damage}")
        return answers

    def _clear(self) -> None:
        self._port.is_using = False  # what an interrupted exchange leaves behind
        self._port.ser.reset_input_buffer()


def check_limits(who: str, servo: Servo, low: int, high: int) -> None:
    """Raises `ArmError` where the servo's own limits (ticks) would cut the range that it is configured with."""
    ends = sorted(servo.zero + servo.scale * end for end in (servo.low, servo.high))
    if high > low and not (low - 1 <= ends[0] and ends[1] <= high + 1):
        raise ArmError(
            f"{who} is limited to {low}..{high} ticks by its own memory, but its range here is {ends[0]:.0f}..{ends[1]:.0f}; "
            "narrow the joint's low and high, or take them from the arm's calibration file"
        )


def unsigned(data: Sequence[int]) -> int:
    return int.from_bytes(bytes(data), "little")


def little_endian(value: int, size: int) -> list[int]:
    """As bytes, negative ones in two's complement."""
    return list((value % (1 << 8 * size)).to_bytes(size, "little"))
