"""The xArm Gripper (G1) on the tool's RS-485 line: Modbus registers behind the controller.

Positions are pulses, 850 open and 0 closed, as in uFactory's "xArm gripper manual"; 0x0700 is the target, 0x0702 the position (both
signed 32 bits), 0x0100 enables, 0x0303 is the speed, 0x000F the error.
"""

import struct

OPENED = 850  # pulses
_HOST, _UNIT = 9, 8
_ENABLE, _MODE, _SPEED, _TARGET, _POSITION, _ERROR, _STATUS = 0x0100, 0x0101, 0x0303, 0x0700, 0x0702, 0x000F, 0x0000
_VERSION = {0x0801: 3, 0x0802: 4, 0x0803: 3}


class XarmGripper:
    """`goal` is the closure it goes to (0 open, 1 closed); its body tells `closure`."""

    def __init__(self, closure: float) -> None:
        self.goal = self.closure = closure
        self.error = 0
        self._registers = {_ENABLE: 0, _MODE: 0, _SPEED: 1500, **_VERSION}

    def answer(self, data: bytes) -> bytes | None:
        """The reply to a Modbus request behind its host number; None for one that no gripper understands."""
        host, unit, function, address, count = struct.unpack_from(">BBBHH", data)
        if (host, unit) != (_HOST, _UNIT) or not 1 <= count <= 32:
            return None
        if function == 0x03:
            words = self._read(address, count)
            return bytes([host, unit, function, 2 * count]) + words
        if function == 0x10:
            values = struct.unpack_from(f">{count}H", data, 8)
            self._registers.update({address + i: value for i, value in enumerate(values)})
            if address == _TARGET and count == 2 and self._registers[_ENABLE]:
                pulses = struct.unpack(">i", struct.pack(">HH", *values))[0]
                self.goal = min(max(1 - pulses / OPENED, 0.0), 1.0)
            return bytes([host, unit, function]) + struct.pack(">HH", address, count)
        return None

    def _read(self, address: int, count: int) -> bytes:
        if address == _POSITION and count == 2:
            return struct.pack(">i", round((1 - self.closure) * OPENED))
        own = {_ERROR: self.error, _STATUS: 0 if abs(self.closure - self.goal) < 0.01 else 1}
        return struct.pack(f">{count}H", *(own.get(address + i, self._registers.get(address + i, 0)) for i in range(count)))
