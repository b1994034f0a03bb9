"""Dynamixel X servos on a bus: protocol 2.0, as `dynamixel_sdk` speaks it, before a MuJoCo arm.

Registers, units and errors are those of Robotis' control table of the XM430-W350. Emulated: position mode with its profile velocity,
torque switch, EEPROM lock, limits, homing offset, hardware error status, bus watchdog, reboot. Kept but without effect: other modes, gains,
current, PWM and acceleration limits. Not there: bulk and fast reads, indirect addresses.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from robo_dream.errors import ConfigError
from sim.emulators.faults import Faults
from sim.emulators.plant import JointReading, Plant
from sim.emulators.servo_bus import TICKS, Reply, ServoBus, ServoMount

MODEL_NUMBER = 1020  # XM430-W350
VOLTAGE, OVERHEAT, ENCODER, SHOCK, OVERLOAD = 1, 4, 8, 16, 32  # of the hardware error status
INSTRUCTION_ERROR, CRC_ERROR, RANGE_ERROR, LENGTH_ERROR, LIMIT_ERROR, ACCESS_ERROR, ALERT = 2, 3, 4, 5, 6, 7, 0x80

_BROADCAST = 0xFE
_PING, _READ, _WRITE, _REG_WRITE, _ACTION, _REBOOT, _STATUS, _SYNC_READ, _SYNC_WRITE = 1, 2, 3, 4, 5, 8, 0x55, 0x82, 0x83
_HEADER, _STUFFED = b"\xff\xff\xfd\x00", b"\xff\xff\xfd\xfd"
_SIZE, _EEPROM_SIZE = 148, 64
_ID, _MODE, _HOMING, _HIGH_LIMIT, _LOW_LIMIT = 7, 11, 20, 48, 52
_TORQUE, _STATUS_LEVEL, _HARDWARE_ERROR, _WATCHDOG = 64, 68, 70, 98
_PROFILE_VELOCITY, _GOAL, _TICK, _MOVING, _LOAD, _VELOCITY, _POSITION = 112, 116, 120, 122, 126, 128, 132
_READ_ONLY = (range(0, 7), range(_HARDWARE_ERROR, 71), range(_TICK, _SIZE))
_FACTORY = {  # first address: value and bytes; the rest is 0
    0: (MODEL_NUMBER, 2), 6: (48, 1), 8: (3, 1), 9: (250, 1), 11: (3, 1), 12: (255, 1), 13: (2, 1), 24: (10, 4), 31: (80, 1), 32: (160, 2),
    34: (95, 2), 36: (885, 2), 38: (1193, 2), 44: (200, 4), 48: (4095, 4), 52: (0, 4), 63: (52, 1), 68: (2, 1), 76: (1920, 2),
    78: (100, 2), 84: (800, 2), 144: (120, 2), 146: (32, 1),
}  # fmt: skip
_WATCHDOG_UNIT = 0.02  # s
_WATCHDOG_BARKED = 0xFF
_VELOCITY_UNIT = 0.229 * TICKS / 60  # ticks a second
_STALL_TORQUE = 4.1  # N m at 12 V


class DynamixelBus(ServoBus):
    """The servos of `plant`, numbered as in `mounts`; see `ServoBus`. The code of an `error` fault is the hardware error status."""

    def __init__(
        self,
        plant: Plant,
        mounts: Sequence[ServoMount],
        faults: Faults | None = None,
        baud: int = 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if any(not 0 <= mount.id < 0xFD for mount in mounts):
            raise ConfigError(f"a servo's number is 0 to 252; got {[mount.id for mount in mounts]}")
        super().__init__(plant, mounts, faults, baud, clock)
        self.memory = [_new_memory(mount.id) for mount in mounts]
        self._waiting: list[tuple[int, bytes] | None] = [None] * len(mounts)  # registered writes
        self._heard = clock()  # when the last instruction came
        reading = plant.joints()
        for joint, memory in enumerate(self.memory):
            self._refresh(joint, reading)
            memory[_GOAL : _GOAL + 4] = memory[_POSITION : _POSITION + 4]
            memory[_TORQUE] = 1

    def register(self, joint: int, address: int, size: int) -> int:
        """The signed number in a servo's memory."""
        return int.from_bytes(self.memory[joint][address : address + size], "little", signed=True)

    def _take_packet(self, buffer: bytearray) -> bytes | None:
        while len(buffer) >= 10:
            start = buffer.find(_HEADER)
            if start:
                del buffer[: start if start > 0 else len(buffer) - 3]
                continue
            length = int.from_bytes(buffer[5:7], "little")
            if not 3 <= length <= 1024:
                del buffer[0]
                continue
            if len(buffer) < length + 7:
                return None
            packet = bytes(buffer[: length + 7])
            if checksum(packet[:-2]) == int.from_bytes(packet[-2:], "little"):
                del buffer[: length + 7]
                return packet[:7] + packet[7:-2].replace(_STUFFED, _STUFFED[:3])
            del buffer[0]
        return None

    def _answer(self, packet: bytes) -> list[Reply]:
        self._heard = self._clock()
        number, instruction, arguments = packet[4], packet[7], packet[8:]
        address = int.from_bytes(arguments[:2], "little")
        if instruction == _SYNC_READ and len(arguments) > 4:
            size, ids = int.from_bytes(arguments[2:4], "little"), tuple(arguments[4:])
            self.commands.add("sync_read", address=address, size=size, ids=ids)
            reading = self.plant.joints()
            return [self._read(joint, address, size, reading) for number in ids for joint in self._addressed(number)]
        if instruction == _SYNC_WRITE and len(arguments) > 4:
            size = int.from_bytes(arguments[2:4], "little")
            parts = [arguments[i : i + size + 1] for i in range(4, len(arguments), size + 1)]
            self.commands.add("sync_write", address=address, data={part[0]: bytes(part[1:]) for part in parts})
            for part in parts:
                for joint in self._addressed(part[0]):
                    self._write(joint, address, part[1:])
            self._aim()
            return []
        joints = self._addressed(number)
        if instruction == _PING:
            self.commands.add("ping", id=number)
            return [self._status(joint, bytes(self.memory[joint][0:2]) + bytes(self.memory[joint][6:7])) for joint in joints]
        if instruction == _READ and len(arguments) == 4 and number != _BROADCAST:
            size = int.from_bytes(arguments[2:4], "little")
            self.commands.add("read", id=number, address=address, size=size)
            return [self._read(joint, address, size, self.plant.joints()) for joint in joints]
        errors = {joint: self._obey(joint, instruction, address, arguments) for joint in joints}
        self._aim()
        if number == _BROADCAST or instruction == _ACTION:
            return []
        return [self._status(joint, b"", error) for joint, error in errors.items() if self.memory[joint][_STATUS_LEVEL] == 2]

    def _obey(self, joint: int, instruction: int, address: int, arguments: bytes) -> int:
        """Does an instruction that is answered without data; returns its error."""
        number = self.memory[joint][_ID]
        if instruction == _WRITE and len(arguments) > 2:
            self.commands.add("write", id=number, address=address, data=bytes(arguments[2:]))
            return self._write(joint, address, arguments[2:])
        if instruction == _REG_WRITE and len(arguments) > 2:
            self.commands.add("reg_write", id=number, address=address, data=bytes(arguments[2:]))
            self._waiting[joint] = address, arguments[2:]
            return 0
        if instruction == _ACTION:
            self.commands.add("action", id=number)
            waiting, self._waiting[joint] = self._waiting[joint], None
            return self._write(joint, *waiting) if waiting else 0
        if instruction == _REBOOT:
            self.commands.add("reboot", id=number)
            self._restart(joint)
            return 0
        return INSTRUCTION_ERROR

    def _lose_power(self) -> None:
        for joint in range(len(self.mounts)):
            self._restart(joint)

    def look_at_faults(self) -> None:
        super().look_at_faults()
        quiet = self._clock() - self._heard
        for joint, memory in enumerate(self.memory):
            if 0 < memory[_WATCHDOG] < 128 and quiet > memory[_WATCHDOG] * _WATCHDOG_UNIT:
                memory[_WATCHDOG] = _WATCHDOG_BARKED
                self._refresh(joint, self.plant.joints())
                memory[_GOAL : _GOAL + 4] = memory[_POSITION : _POSITION + 4]
                self._aim()

    def _addressed(self, number: int) -> list[int]:
        """The joints whose servos hear a packet for `number`."""
        return [joint for joint in range(len(self.mounts)) if number in (self.memory[joint][_ID], _BROADCAST) and self._hears(joint)]

    def _status(self, joint: int, data: bytes = b"", error: int = 0) -> Reply:
        memory = self.memory[joint]
        alert = ALERT if memory[_HARDWARE_ERROR] else 0
        body = (bytes([_STATUS, error | alert]) + data).replace(_STUFFED[:3], _STUFFED)
        packet = _HEADER + bytes([memory[_ID]]) + (len(body) + 2).to_bytes(2, "little") + body
        return Reply(joint, packet + checksum(packet).to_bytes(2, "little"))

    def _read(self, joint: int, address: int, size: int, reading: JointReading) -> Reply:
        if address + size > _SIZE:
            return self._status(joint, b"", RANGE_ERROR)
        self._refresh(joint, reading)
        return self._status(joint, bytes(self.memory[joint][address : address + size]))

    def _refresh(self, joint: int, reading: JointReading) -> None:
        """Brings the measured part of a servo's memory up to date."""
        memory, mount = self.memory[joint], self.mounts[joint]
        memory[_HARDWARE_ERROR] = self._error_code(joint)
        is_gripper = joint == len(self.mounts) - 1
        speed = (reading.gripper_vel if is_gripper else reading.vel[joint]) * mount.scale
        effort = (reading.gripper_effort if is_gripper else reading.effort[joint]) * np.sign(mount.scale)
        present = mount.ticks(reading.gripper if is_gripper else reading.pos[joint]) + self.register(joint, _HOMING, 4)
        for address, value, size in (
            (_TICK, int(self._clock() * 1000) % 32768, 2),
            (_MOVING, int(abs(speed) > 5), 1),
            (_LOAD, round(np.clip(effort / _STALL_TORQUE, -1, 1) * 1000), 2),
            (_VELOCITY, round(speed / _VELOCITY_UNIT), 4),
            (_POSITION, present, 4),
        ):
            memory[address : address + size] = value.to_bytes(size, "little", signed=True)

    def _write(self, joint: int, address: int, data: bytes) -> int:
        """Writes to one servo's memory; returns the error, in which case nothing was written."""
        memory = self.memory[joint]
        addresses = range(address, address + len(data))
        if address + len(data) > _SIZE:
            return RANGE_ERROR
        if any(one in part for one in addresses for part in _READ_ONLY):
            return ACCESS_ERROR
        if address < _EEPROM_SIZE and memory[_TORQUE]:
            return ACCESS_ERROR
        if _GOAL in addresses:
            if memory[_WATCHDOG] == _WATCHDOG_BARKED:
                return ACCESS_ERROR
            goal = int.from_bytes(data[_GOAL - address : _GOAL - address + 4], "little", signed=True)
            if memory[_MODE] == 3 and not self.register(joint, _LOW_LIMIT, 4) <= goal <= self.register(joint, _HIGH_LIMIT, 4):
                return LIMIT_ERROR
        had_torque = memory[_TORQUE]
        memory[address : address + len(data)] = data
        if _TORQUE in addresses and bool(memory[_TORQUE]) != bool(had_torque):
            self.plant.set_torque(bool(memory[_TORQUE]), joint)
            if memory[_TORQUE]:  # X servos take hold where they are
                self._refresh(joint, self.plant.joints())
                memory[_GOAL : _GOAL + 4] = memory[_POSITION : _POSITION + 4]
        return 0

    def _restart(self, joint: int) -> None:
        old = self.memory[joint]
        memory = _new_memory(old[_ID])
        memory[:_EEPROM_SIZE] = old[:_EEPROM_SIZE]
        old[:] = memory
        self._waiting[joint] = None
        self.plant.set_torque(False, joint)
        self._refresh(joint, self.plant.joints())
        old[_GOAL : _GOAL + 4] = old[_POSITION : _POSITION + 4]

    def _aim(self) -> None:
        """Sends the plant where the goal registers say; servos without torque stay where they are."""
        target, torque = self.plant.target, self.plant.torque
        speeds = np.full(len(self.mounts), np.inf)
        for joint, mount in enumerate(self.mounts):
            if torque[joint]:
                target[joint] = mount.value(self.register(joint, _GOAL, 4) - self.register(joint, _HOMING, 4))
            if velocity := self.register(joint, _PROFILE_VELOCITY, 4):
                speeds[joint] = velocity * _VELOCITY_UNIT / abs(mount.scale)
        self.plant.set_target(target[:-1], float(target[-1]), speeds[:-1])


def checksum(data: bytes) -> int:
    """CRC-16 with the polynomial 0x8005 (Robotis, "CRC Calculation")."""
    crc = 0
    for byte in data:
        crc = (crc << 8 ^ _CRC_TABLE[(crc >> 8 ^ byte) & 0xFF]) & 0xFFFF
    return crc


def _crc_table() -> list[int]:
    table = []
    for i in range(256):
        crc = i << 8
        for _ in range(8):
            crc = crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1
        table.append(crc & 0xFFFF)
    return table


_CRC_TABLE = _crc_table()


def _new_memory(number: int) -> bytearray:
    memory = bytearray(_SIZE)
    for address, (value, size) in _FACTORY.items():
        memory[address : address + size] = value.to_bytes(size, "little")
    memory[_ID] = number
    return memory
