"""Arms of Dynamixel X servos (Koch, ViperX, WidowX, ALOHA), through Robotis' own `dynamixel_sdk` (the extra `dynamixel`)."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import numpy as np
from jaxtyping import Int
from pydantic import Field

from hardware.arms.sdk_line import Packet, SdkLine, Servo, check_limits, little_endian, unsigned
from hardware.arms.servo_arm import TICKS, BusError, BusReading, ServoArm, ServoArmConfig
from robo_dream.errors import ArmError, ConfigError
from robo_dream.schema import Unit, configuration

MODELS = {  # model number: name, of those with 4,096 ticks a turn and one control table
    1190: "XL330-M077", 1200: "XL330-M288", 1060: "XL430-W250", 1090: "2XL430-W250", 1080: "XC430-W240", 1070: "XC430-W150",
    1030: "XM430-W210", 1020: "XM430-W350", 1130: "XM540-W150", 1120: "XM540-W270", 1000: "XH430-W350", 1010: "XH430-W210",
    1100: "XH540-W270", 1110: "XH540-W150",
}  # fmt: skip
_MODEL, _MODE, _LIMITS, _TORQUE, _HARDWARE_ERROR, _WATCHDOG = 0, 11, 48, 64, 70, 98
_PROFILE_VELOCITY, _GOAL, _VELOCITY, _POSITION = 112, 116, 128, 132
_POSITION_MODE = 3
_VELOCITY_UNIT = 0.229 * TICKS / 60  # ticks a second
_WATCHDOG_UNIT = 0.02  # s
_ALARMS = {1: "a wrong voltage", 4: "overheating", 8: "a failed encoder", 16: "an electric shock", 32: "overload"}


@configuration
class DynamixelConfig(ServoArmConfig):
    """An arm of X servos in position mode.

    `watchdog` is how long the servos wait for a word before they stop by themselves (0 for ever): what ends the motion when this
    computer dies. It must be longer than any pause between readings; afterwards the arm has to be connected again.
    """

    watchdog: Annotated[float, Field(ge=0, le=2.54), Unit("s")] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.watchdog and not 2 * self.control_dt <= self.watchdog <= 127 * _WATCHDOG_UNIT:
            raise ConfigError(f"watchdog is {self.watchdog} s; allowed are 0 for none, or two periods ({2 * self.control_dt} s) to 2.54 s")


class DynamixelArm(ServoArm):
    """The arm of `config`; see `ServoArm`."""

    kind = "dynamixel"

    def __init__(self, config: DynamixelConfig, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(f"Dynamixel arm on {config.port}", config, DynamixelLine(config, clock), clock)


class DynamixelLine(SdkLine):
    """X servos on a bus. Two sync reads bring torque and hardware errors, then goal, speed and position."""

    _receive_options = (False,)  # no fast replies

    def __init__(self, config: DynamixelConfig, clock: Callable[[], float]) -> None:
        super().__init__(config, clock, "dynamixel_sdk", 2.0, "dynamixel-sdk", "dynamixel", Packet(id=4, error=8, data=9))
        self._watchdog = round(config.watchdog / _WATCHDOG_UNIT)

    def read(self) -> BusReading:
        ends = self._clock() + self._config.reply_timeout
        health = self._read_all(_TORQUE, _HARDWARE_ERROR - _TORQUE + 1, ends)
        motion = self._read_all(_GOAL, _POSITION - _GOAL + 4, ends)
        return BusReading(
            time=self._clock(),
            pos=np.array([_number(answer.data, _POSITION) for answer in motion]),
            speed=np.array([_number(answer.data, _VELOCITY) for answer in motion]) * _VELOCITY_UNIT,
            goal=np.array([_number(answer.data, _GOAL) for answer in motion]),
            has_torque=np.array([answer.data[0] == 1 for answer in health]),
            alarm=tuple(_alarm(answer.data[_HARDWARE_ERROR - _TORQUE]) for answer in health),
        )

    def write(self, goal: Int[np.ndarray, " servo"]) -> None:
        speed = little_endian(max(1, round(self._config.max_speed * TICKS / (2 * np.pi) / _VELOCITY_UNIT)), 4)
        self._write_all(_PROFILE_VELOCITY, [[*speed, *little_endian(int(ticks), 4)] for ticks in goal])

    def set_torque(self, on: bool) -> None:
        self._write_all(_TORQUE, [[int(on)] for _ in self._servos])

    def close(self) -> None:
        if self._port is not None and self._port.is_open and self._watchdog:
            with suppress(BusError):  # then the watchdog stops the servos
                self._write_all(_WATCHDOG, [[0] for _ in self._servos])
        super().close()

    def _prepare(self, servo: Servo) -> None:
        model = unsigned(self._ask(servo, _MODEL, 2))
        if model not in MODELS:
            known = ", ".join(f"{name} ({number})" for number, name in MODELS.items())
            raise ArmError(f"{self._who(servo)} has model number {model}; this driver knows {known}")
        if (mode := self._ask(servo, _MODE, 1)[0]) != _POSITION_MODE:
            raise ArmError(f"{self._who(servo)} is in operating mode {mode}; set it to 3 (position) with Dynamixel Wizard")
        limits = self._ask(servo, _LIMITS, 8)
        check_limits(self._who(servo), servo, unsigned(limits[4:]), unsigned(limits[:4]))
        self._tell(servo, _WATCHDOG, [0])  # a barked one takes no goals
        if self._watchdog:
            self._tell(servo, _WATCHDOG, [self._watchdog])

    def _request(self, address: int, size: int) -> int:
        return self._packets.syncReadTx(self._port, address, size, self._ids, len(self._ids), False)

    def _size(self, packet: list[int]) -> int:
        return unsigned(packet[5:7]) - 4  # besides instruction, error and CRC


def _number(block: list[int], address: int) -> int:
    return int.from_bytes(bytes(block[address - _GOAL : address - _GOAL + 4]), "little", signed=True)


def _alarm(bits: int) -> str:
    return " and ".join(name for bit, name in _ALARMS.items() if bits & bit)
