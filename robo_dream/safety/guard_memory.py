"""What a guard's process shows of itself: one block of shared memory, written at each tick, read without waiting."""

import json
import struct
import time
import zlib
from collections.abc import Mapping
from multiprocessing.shared_memory import SharedMemory
from typing import Any

SIZE = 16384  # bytes: some 40 numbers and a few sentences
_HEAD = struct.Struct("<IId")  # size and checksum of what follows; monotonic s of the newest tick


def write(memory: SharedMemory, data: Mapping[str, Any]) -> None:
    content = json.dumps(data).encode()
    buffer = memory.buf
    assert buffer is not None
    buffer[_HEAD.size : _HEAD.size + len(content)] = content
    buffer[: _HEAD.size] = _HEAD.pack(len(content), zlib.crc32(content), time.monotonic())  # `pack_into` would write zeros first


def read(memory: SharedMemory) -> dict[str, Any] | None:
    """None before the first tick, and for one that is being written just now: the checksum tells."""
    buffer = memory.buf
    assert buffer is not None
    size, checksum, _ = _HEAD.unpack_from(buffer)
    content = bytes(buffer[_HEAD.size : _HEAD.size + size]) if 0 < size <= SIZE - _HEAD.size else b""
    return json.loads(content) if content and zlib.crc32(content) == checksum else None


def silence(memory: SharedMemory) -> float:
    """Seconds since the newest tick. Read several times: one that is being written just now may look like none."""
    beats = [_HEAD.unpack_from(memory.buf or b"")[2] for _ in range(5)]
    return time.monotonic() - max(beats)
