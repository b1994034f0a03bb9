"""What an emulated arm and its controller, which live in two processes, tell each other.

Vendor clients hold Python's lock while they connect (ur-rtde's constructors do), so a controller that shares their process could never
answer them. Packets: joint readings go one way and targets the other as numbers, everything else as JSON.
"""

import json
import socket
import struct
from collections import deque
from dataclasses import asdict
from typing import Any

import numpy as np

from sim.emulators.faults import Fault

_READING, _TARGET = b"R", b"T"
_LARGEST = 65536  # bytes


class Link:
    """One end. It never waits: readings and targets that find no room are dropped (newer ones follow), words are kept for the next try."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setblocking(False)
        self._unsaid: deque[bytes] = deque()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def reading(self, time: float, pos: np.ndarray, vel: np.ndarray, effort: np.ndarray, gripper: float) -> None:
        self._send(_numbers(_READING, [time, *pos, *vel, *effort, gripper]))

    def target(self, joint_pos: np.ndarray, gripper: float) -> None:
        self._send(_numbers(_TARGET, [*joint_pos, gripper]))

    def say(self, word: str, **arguments: Any) -> None:
        self._unsaid.append(json.dumps({"word": word, **arguments}).encode())
        self.flush()

    def fault(self, fault: Fault) -> None:
        self.say("fault", **asdict(fault))

    def flush(self) -> None:
        while self._unsaid and self._send(self._unsaid[0]):
            self._unsaid.popleft()

    def hear(self) -> list[tuple[str, Any]]:
        """Everything that has come: ("reading", numbers), ("target", numbers) or (word, its arguments). Raises `EOFError` at the end."""
        heard: list[tuple[str, Any]] = []
        while True:
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return heard
            except OSError as error:
                raise EOFError("the other end of the link is gone") from error
            if not data:
                raise EOFError("the other end of the link is gone")
            if data[:1] in (_READING, _TARGET):
                numbers = np.array(struct.unpack(f"<{(len(data) - 1) // 8}d", data[1:]))
                heard.append(("reading" if data[:1] == _READING else "target", numbers))
            else:
                said = json.loads(data)
                heard.append((said.pop("word"), said))

    def _send(self, data: bytes) -> bool:
        try:
            self._socket.send(data)
        except OSError:  # full, or the other end is gone, which `hear` tells
            return False
        return True


def _numbers(kind: bytes, values: list[float]) -> bytes:
    return kind + struct.pack(f"<{len(values)}d", *values)
