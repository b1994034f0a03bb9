"""Feetech STS3215 servos on a bus: the protocol that `scservo_sdk` speaks, before a MuJoCo arm.

Registers, units and sign bits are those of Feetech's STS memory table. Emulated: position mode with its goal speed, torque switch,
limits, homing offset, EEPROM lock, status and alarms. Kept but without effect: other modes, acceleration, gains and torque limits.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from robo_dream.errors import ConfigError
from sim.emulators.faults import Faults
from sim.emulators.plant import JointReading, Plant
from sim.emulators.servo_bus import TICKS, Reply, ServoBus, ServoMount

MODEL_NUMBER = 777
VOLTAGE, SENSOR, OVERHEAT, OVERCURRENT, ANGLE, OVERLOAD = (1 << bit for bit in range(6))  # of the error byte and the status register

_BROADCAST = 0xFE
_PING, _READ, _WRITE, _REG_WRITE, _ACTION, _SYNC_READ, _SYNC_WRITE = 1, 2, 3, 4, 5, 0x82, 0x83
_SIZE = 128  # bytes of memory
_EEPROM = range(5, 40)  # writable; kept without power only when unlocked
_WRITABLE = (range(5, 56), range(80, 87))
_TORQUE, _ACCELERATION, _GOAL, _GOAL_SPEED, _LOCK = 40, 41, 42, 46, 55
_LOW_LIMIT, _HIGH_LIMIT, _HOMING = 9, 11, 31
_PRESENT, _STATUS, _MOVING, _CURRENT = 56, 65, 66, 69
_FACTORY = {  # first address: bytes; the rest is 0
    0: (3, 10), 3: (MODEL_NUMBER & 0xFF, MODEL_NUMBER >> 8), 7: (0, 1), _LOW_LIMIT: (0, 0), _HIGH_LIMIT: (0xFF, 0x0F),
    13: (70, 140, 40), 16: (0xE8, 0x03, 12, 44, 47, 32, 32, 0), 24: (16, 0, 1, 1, 0xF4, 0x01, 1), 34: (20, 200, 80), 80: (1,),
    85: (254,),
}  # fmt: skip
_STALL_TORQUE = 2.94  # N m at 12 V, 100 % of the load register
_VOLTAGE, _TEMPERATURE = 120, 32  # 0.1 V, degrees Celsius
_SET_MIDDLE = 128  # written to the torque register, makes the present position the middle of the turn


class FeetechBus(ServoBus):
    """The servos of `plant`, numbered as in `mounts`; see `ServoBus`."""

    def __init__(
        self,
        plant: Plant,
        mounts: Sequence[ServoMount],
        faults: Faults | None = None,
        baud: int = 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if any(not 0 <= mount.id < _BROADCAST for mount in mounts):
            raise ConfigError(f"a servo's number is 0 to {_BROADCAST - 1}; got {[mount.id for mount in mounts]}")
        super().__init__(plant, mounts, faults, baud, clock)
        self.memory = [_new_memory(mount.id) for mount in mounts]
        self._kept = [bytes(memory) for memory in self.memory]  # what is left after a loss of power
        self._waiting: list[tuple[int, bytes] | None] = [None] * len(mounts)  # registered writes
        self._alarms = [0] * len(mounts)
        self.temperatures = [_TEMPERATURE] * len(mounts)  # degrees Celsius; nothing here heats a motor but who writes this
        reading = plant.joints()
        for joint in range(len(mounts)):
            self._refresh(joint, reading)
            memory = self.memory[joint]
            memory[_GOAL : _GOAL + 2] = memory[_PRESENT : _PRESENT + 2]
            memory[_TORQUE] = 1

    def register(self, joint: int, address: int, size: int) -> int:
        """The unsigned number in a servo's memory."""
        return int.from_bytes(self.memory[joint][address : address + size], "little")

    def _take_packet(self, buffer: bytearray) -> bytes | None:
        while len(buffer) >= 6:
            start = buffer.find(b"\xff\xff")
            if start:
                del buffer[: start if start > 0 else len(buffer) - 1]
                continue
            length = buffer[3]
            if length < 2 or buffer[2] == 0xFF:
                del buffer[0]
                continue
            if len(buffer) < length + 4:
                return None
            packet = bytes(buffer[: length + 4])
            if _checksum(packet[2:-1]) == packet[-1]:
                del buffer[: length + 4]
                return packet
            del buffer[0]
        return None

    def _answer(self, packet: bytes) -> list[Reply]:
        number, instruction, arguments = packet[2], packet[4], packet[5:-1]
        match instruction:
            case _ if instruction == _SYNC_READ and len(arguments) > 2:
                self.commands.add("sync_read", address=arguments[0], size=arguments[1], ids=tuple(arguments[2:]))
                reading = self.plant.joints()
                joints = [joint for number in arguments[2:] for joint in self._addressed(number)]
                return [self._status(joint, self._read(joint, arguments[0], arguments[1], reading)) for joint in joints]
            case _ if instruction == _SYNC_WRITE and len(arguments) > 2:
                address, size = arguments[0], arguments[1]
                parts = [arguments[i : i + size + 1] for i in range(2, len(arguments), size + 1)]
                self.commands.add("sync_write", address=address, data={part[0]: bytes(part[1:]) for part in parts})
                written = [(joint, part[1:]) for part in parts for joint in self._addressed(part[0])]
                self._write(address, written)
                return []
            case _ if instruction == _ACTION:
                self.commands.add("action", id=number)
                for joint in self._addressed(number):
                    if waiting := self._waiting[joint]:
                        self._write(waiting[0], [(joint, waiting[1])])
                    self._waiting[joint] = None
                return []
        joints = self._addressed(number)
        if instruction == _PING:
            self.commands.add("ping", id=number)
            return [self._status(joint) for joint in joints]
        if instruction == _READ and len(arguments) == 2 and number != _BROADCAST:
            self.commands.add("read", id=number, address=arguments[0], size=arguments[1])
            reading = self.plant.joints()
            return [self._status(joint, self._read(joint, arguments[0], arguments[1], reading)) for joint in joints]
        if instruction in (_WRITE, _REG_WRITE) and len(arguments) > 1:
            name = "write" if instruction == _WRITE else "reg_write"
            self.commands.add(name, id=number, address=arguments[0], data=bytes(arguments[1:]))
            for joint in joints:
                if instruction == _REG_WRITE:
                    self._waiting[joint] = arguments[0], arguments[1:]
            if instruction == _WRITE:
                self._write(arguments[0], [(joint, arguments[1:]) for joint in joints])
            if number != _BROADCAST:
                return [self._status(joint) for joint in joints if self.memory[joint][8] == 1]
        return []

    def _lose_power(self) -> None:
        self.plant.set_torque(False)
        for joint, kept in enumerate(self._kept):
            self.memory[joint][:] = kept
            self._refresh(joint, self.plant.joints())
            self.memory[joint][_GOAL : _GOAL + 2] = self.memory[joint][_PRESENT : _PRESENT + 2]
            self._waiting[joint] = None

    def _addressed(self, number: int) -> list[int]:
        """The joints whose servos hear a packet for `number`."""
        return [joint for joint in range(len(self.mounts)) if number in (self.memory[joint][5], _BROADCAST) and self._hears(joint)]

    def _status(self, joint: int, data: bytes = b"") -> Reply:
        body = bytes([self.memory[joint][5], len(data) + 2, self._alarms[joint]]) + data
        return Reply(joint, b"\xff\xff" + body + bytes([_checksum(body)]))

    def _read(self, joint: int, address: int, size: int, reading: JointReading) -> bytes:
        self._refresh(joint, reading)
        return bytes(self.memory[joint][address : address + size]).ljust(size, b"\0")

    def _refresh(self, joint: int, reading: JointReading) -> None:
        """Brings the measured part of a servo's memory up to date."""
        memory, mount = self.memory[joint], self.mounts[joint]
        self._alarms[joint] = self._error_code(joint)
        is_gripper = joint == len(self.mounts) - 1
        value = reading.gripper if is_gripper else reading.pos[joint]
        speed = (reading.gripper_vel if is_gripper else reading.vel[joint]) * mount.scale
        effort = (reading.gripper_effort if is_gripper else reading.effort[joint]) * np.sign(mount.scale)
        load = round(np.clip(effort / _STALL_TORQUE, -1, 1) * 1000)
        present = (mount.ticks(value) - _signed(self.register(joint, _HOMING, 2), 11)) % TICKS
        memory[_PRESENT : _PRESENT + 2] = present.to_bytes(2, "little")
        memory[_PRESENT + 2 : _PRESENT + 4] = _magnitude(round(np.clip(speed, -32000, 32000)), 15)
        memory[_PRESENT + 4 : _PRESENT + 6] = _magnitude(load, 10)
        memory[62], memory[63] = _VOLTAGE, self.temperatures[joint]
        memory[_STATUS] = self._alarms[joint]
        memory[_MOVING] = int(abs(speed) > 2)
        memory[_CURRENT : _CURRENT + 2] = _magnitude(abs(load) // 3, 15)

    def _write(self, address: int, written: list[tuple[int, bytes]]) -> None:
        """Writes to the memories of some servos, then does at once what that means."""
        torque_changed = []
        for joint, data in written:
            memory = self.memory[joint]
            for place, byte in enumerate(data, address):
                if any(place in part for part in _WRITABLE):
                    memory[place] = byte
            touched = range(address, address + len(data))
            if memory[_LOCK] == 0:
                kept = bytearray(self._kept[joint])
                for place in [place for place in touched if place in _EEPROM or place >= 80]:
                    kept[place] = memory[place]
                self._kept[joint] = bytes(kept)
            if _GOAL in touched:
                low, high = self.register(joint, _LOW_LIMIT, 2), self.register(joint, _HIGH_LIMIT, 2)
                goal = _signed(self.register(joint, _GOAL, 2), 15)
                if high > low:
                    memory[_GOAL : _GOAL + 2] = _magnitude(int(np.clip(goal, low, high)), 15)
            if _TORQUE in touched:
                torque_changed.append(joint)
        for joint in torque_changed:
            self._switch_torque(joint)
        if written:
            self._aim()

    def _switch_torque(self, joint: int) -> None:
        memory = self.memory[joint]
        if memory[_TORQUE] == _SET_MIDDLE:
            self._refresh(joint, self.plant.joints())
            shift = self.register(joint, _PRESENT, 2) + _signed(self.register(joint, _HOMING, 2), 11) - TICKS // 2
            memory[_HOMING : _HOMING + 2] = _magnitude(shift, 11)
            memory[_TORQUE] = int(self.plant.torque[joint])
        self.plant.set_torque(memory[_TORQUE] == 1, joint)

    def _aim(self) -> None:
        """Sends the plant where the goal registers say; servos without torque stay where they are."""
        target, torque = self.plant.target, self.plant.torque
        speeds = np.full(len(self.mounts), np.inf)
        for joint, mount in enumerate(self.mounts):
            goal = _signed(self.register(joint, _GOAL, 2), 15) + _signed(self.register(joint, _HOMING, 2), 11)
            if torque[joint]:
                target[joint] = mount.value(goal)
            if ticks_per_second := self.register(joint, _GOAL_SPEED, 2) & 0x7FFF:
                speeds[joint] = ticks_per_second / abs(mount.scale)
        self.plant.set_target(target[:-1], float(target[-1]), speeds[:-1])


def _new_memory(number: int) -> bytearray:
    memory = bytearray(_SIZE)
    for address, values in _FACTORY.items():
        memory[address : address + len(values)] = bytes(values)
    memory[5], memory[_LOCK] = number, 1
    return memory


def _checksum(body: bytes) -> int:
    return ~sum(body) & 0xFF


def _magnitude(value: int, sign_bit: int) -> bytes:
    """Feetech's signed numbers: a magnitude and a sign bit."""
    return ((1 << sign_bit | -value) if value < 0 else value).to_bytes(2, "little")


def _signed(value: int, sign_bit: int) -> int:
    magnitude = value & ((1 << sign_bit) - 1)
    return -magnitude if value >> sign_bit & 1 else magnitude
