"""The frames of a uFactory controller's private TCP protocol (port 502) and of its reports (ports 30001 to 30003).

A request is, big-endian, a transaction number, the protocol (2 or 3), the length of what follows, a function code and its data; the reply
repeats them with a state byte before its data. Numbers within the data are little-endian floats. Sources: uFactory, "xArm developer
manual", chapter "communication protocol", and what `xarm-python-sdk` 1.18 sends and takes.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HEADER = struct.Struct(">HHHB")
PRIVATE = (2, 3)  # the second is the first with heartbeats
NOT_VALID, NOT_READY, WARNING, ERROR = 0x08, 0x10, 0x20, 0x40  # bits of the state byte
_MAX_LENGTH = 1024

GET_VERSION, GET_SERIAL, MOTION_ENABLE, SET_STATE, GET_STATE, GET_QUEUED, GET_ERROR = 1, 2, 11, 12, 13, 14, 15
CLEAN_ERROR, CLEAN_WARNING, SET_MODE, MOVE_JOINT, SERVO_JOINT = 16, 17, 19, 23, 29
GET_JOINTS, IS_JOINT_LIMIT, TOOL_MODBUS, TOOL_READ = 42, 45, 124, 128


@dataclass(frozen=True)
class Request:
    number: int
    protocol: int
    function: int
    data: bytes


def requests(buffer: bytearray) -> Iterator[Request]:
    """Takes the whole requests out of `buffer`, heartbeats left out. Raises `ValueError` where there cannot be one."""
    while len(buffer) >= HEADER.size:
        number, protocol, length, function = HEADER.unpack_from(buffer)
        if not 1 <= length <= _MAX_LENGTH:
            raise ValueError(f"request of {length} bytes")
        if len(buffer) < length + 6:
            return
        data = bytes(buffer[HEADER.size : length + 6])
        del buffer[: length + 6]
        if protocol in PRIVATE and function:  # 0 is a heartbeat
            yield Request(number, protocol, function, data)


def reply(request: Request, state: int, data: bytes = b"") -> bytes:
    return HEADER.pack(request.number, request.protocol, len(data) + 2, request.function) + bytes([state]) + data


def floats(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def read_floats(data: bytes, count: int) -> tuple[float, ...]:
    """Raises `struct.error` when there are fewer."""
    return struct.unpack_from(f"<{count}f", data)


def report(
    port: int, state: int, mode: int, joints: Sequence[float], efforts: Sequence[float], enabled: bool, error: int, warning: int
) -> bytes:
    """One report: of 87 bytes on 30003, 145 on 30001, 245 on 30002. The tool's pose is not told (zeros)."""
    body = bytes([mode << 4 | state]) + struct.pack(">H", 0) + floats([*joints, *([0.0] * (7 - len(joints)))]) + floats([0.0] * 6)
    body += floats([*efforts, *([0.0] * (7 - len(efforts)))])
    if port != 30003:
        body += bytes([0xFF if enabled else 0, 0xFF if enabled else 0, error, warning]) + floats([0.0] * 10) + bytes([3, 3])
        body += floats([0.0, 0.0, -1.0])
    if port == 30002:
        body += bytes([6, 6, 0xAA, 0x55, 0, 0]) + b"v1.13.30".ljust(30, b"\0") + floats([0.0] * 12) + bytes(16)
    return struct.pack(">I", len(body) + 4) + body
