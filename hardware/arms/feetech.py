"""Arms of Feetech STS3215 servos (SO-100, SO-101), through Feetech's own `scservo_sdk` (the extra `so101`)."""

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
from jaxtyping import Int
from pydantic import Field

from hardware.arms.sdk_line import Packet, SdkLine, Servo, check_limits, little_endian, unsigned
from hardware.arms.servo_arm import TICKS, BusReading, ServoArm, ServoArmConfig
from robo_dream.errors import ArmError
from robo_dream.schema import configuration

MODEL_NUMBER = 777  # STS3215
_MODEL, _LIMITS, _GAINS, _MODE = 3, 9, 21, 33  # registers of Feetech's STS memory table
_TORQUE, _ACCELERATION, _GOAL, _POSITION, _SPEED, _TEMPERATURE, _STATUS = 40, 41, 42, 56, 58, 63, 65
_BLOCK = _STATUS - _TORQUE + 1  # bytes
_ALARMS = ("a wrong voltage", "a failed angle sensor", "overheating", "overcurrent", "a wrong angle", "overload")


@configuration
class FeetechConfig(ServoArmConfig):
    """An arm of STS3215 servos.

    The gains are LeRobot's for SO-100 and SO-101 (P is half of Feetech's own, against trembling); they are set until the power goes,
    not in the servos' permanent memory. `acceleration` is in 100 ticks/s^2, 0 for as fast as it can.
    """

    gain_p: Annotated[int, Field(ge=0, le=254)] = 16
    gain_d: Annotated[int, Field(ge=0, le=254)] = 32
    gain_i: Annotated[int, Field(ge=0, le=254)] = 0
    acceleration: Annotated[int, Field(ge=0, le=254)] = 254


class FeetechArm(ServoArm):
    """The arm of `config`; see `ServoArm`."""

    kind = "so101"

    def __init__(self, config: FeetechConfig, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(f"Feetech arm on {config.port}", config, FeetechLine(config, clock), clock)


class FeetechLine(SdkLine):
    """STS3215 servos on a bus. One sync read brings torque, goal, position, speed, temperature and status of every servo."""

    def __init__(self, config: FeetechConfig, clock: Callable[[], float]) -> None:
        super().__init__(config, clock, "scservo_sdk", 0, "feetech-servo-sdk", "so101", Packet(id=2, error=4, data=5))
        self._gains = [config.gain_p, config.gain_d, config.gain_i]
        self._acceleration = config.acceleration

    def read(self) -> BusReading:
        answers = self._read_all(_TORQUE, _BLOCK, self._clock() + self._config.reply_timeout)
        return BusReading(
            time=self._clock(),
            pos=np.array([_number(answer.data, _POSITION) for answer in answers]),
            speed=np.array([_number(answer.data, _SPEED) for answer in answers], np.float64),
            goal=np.array([_number(answer.data, _GOAL) for answer in answers]),
            has_torque=np.array([answer.data[0] == 1 for answer in answers]),
            alarm=tuple(_alarm(answer.error | answer.data[_STATUS - _TORQUE]) for answer in answers),
            temperature=np.array([answer.data[_TEMPERATURE - _TORQUE] for answer in answers], np.float64),
        )

    def write(self, goal: Int[np.ndarray, " servo"]) -> None:
        speed = little_endian(round(self._config.max_speed * TICKS / (2 * np.pi)), 2)  # each time: a servo that has restarted knows none
        no_time = (0, 0)
        self._write_all(_ACCELERATION, [[self._acceleration, *_word(int(ticks)), *no_time, *speed] for ticks in goal])

    def set_torque(self, on: bool) -> None:
        self._write_all(_TORQUE, [[int(on)] for _ in self._servos])

    def _prepare(self, servo: Servo) -> None:
        model = unsigned(self._ask(servo, _MODEL, 2))
        if model != MODEL_NUMBER:
            raise ArmError(f"{self._who(servo)} has model number {model}; this driver knows STS3215 ({MODEL_NUMBER})")
        if mode := self._ask(servo, _MODE, 1)[0]:
            raise ArmError(f"{self._who(servo)} is in operating mode {mode}; set it to 0 (position) with Feetech's or LeRobot's tool")
        limits = self._ask(servo, _LIMITS, 4)
        check_limits(self._who(servo), servo, unsigned(limits[:2]), unsigned(limits[2:]))
        if self._ask(servo, _GAINS, 3) != self._gains:
            self._tell(servo, _GAINS, self._gains)

    def _request(self, address: int, size: int) -> int:
        return self._packets.syncReadTx(self._port, address, size, self._ids, len(self._ids))

    def _size(self, packet: list[int]) -> int:
        return packet[3] - 2  # besides the error and the checksum


def _word(value: int) -> list[int]:
    """Feetech's signed numbers: 15 bits and a sign."""
    return little_endian(0x8000 | -value if value < 0 else value, 2)


def _number(block: list[int], address: int) -> int:
    value = unsigned(block[address - _TORQUE : address - _TORQUE + 2])
    return -(value & 0x7FFF) if value & 0x8000 else value


def _alarm(bits: int) -> str:
    return " and ".join(name for bit, name in enumerate(_ALARMS) if bits >> bit & 1)
