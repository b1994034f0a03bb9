"""The driver's side of the process in which `ur-rtde` runs: calls with a time limit, and the newest reading."""

import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from hardware.arms.ur_client import READING
from robo_dream.errors import ArmError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UrReading:
    """What the controller said. rad, rad/s."""

    time: float  # monotonic seconds of its arrival
    pos: Float[np.ndarray, "6"]
    vel: Float[np.ndarray, "6"]
    robot_mode: int
    safety_bits: int
    status_bits: int
    connected: bool


class UrProcess:
    """One process with its clients. After `kill`, or when it dies, every call is refused; a new one must be started."""

    def __init__(self, arm: str) -> None:
        self._arm = arm
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (mine, theirs):
            end.settimeout(None)  # whatever default another SDK has set
        self._link = mine
        self._lock = threading.Lock()
        self._answers: dict[int, dict[str, Any]] = {}
        self._answered = threading.Condition(self._lock)
        self._reading: UrReading | None = None
        self._asked = 0
        self._alive = True
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hardware.arms.ur_client", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        threading.Thread(target=self._listen, name=f"{arm} readings", daemon=True).start()
        threading.Thread(target=self._log, name=f"{arm} words", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._alive

    def reading(self) -> UrReading | None:
        """The newest one; None before the first."""
        return self._reading

    def call(self, doing: str, name: str, *arguments: Any, timeout: float) -> Any:
        """What the client returned. Raises `ArmError` for its errors; without an answer in `timeout` seconds the process is ended."""
        with self._lock:
            self._asked += 1
            number = self._asked
            if self._alive:
                with contextlib.suppress(OSError):  # seen below
                    self._link.send(json.dumps({"id": number, "call": name, "arguments": arguments}).encode())
            self._answered.wait_for(lambda: number in self._answers or not self._alive, timeout)
            answer = self._answers.pop(number, None)
        if answer is None:
            died = not self._alive
            self.kill()
            how = "ended meanwhile" if died else f"was not answered within {timeout * 1000:.0f} ms"
            raise ArmError(f"{self._arm}: {doing} {how}; check the cable and the controller, then connect again")
        if "error" in answer:
            raise ArmError(f"{self._arm}: {doing} failed: {answer['error'].strip()}; look at its teach pendant")
        return answer["result"]

    def close(self, timeout: float = 2.0) -> None:
        """Lets it stop the arm and end; ends it when it does not within `timeout` seconds."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """At once, whatever its client is doing; its connections close, and the controller's watchdog has the arm."""
        self._process.kill()
        self._process.wait()
        with self._lock:
            self._alive = False
            self._answered.notify_all()

    def _listen(self) -> None:
        while True:
            try:
                data = self._link.recv(65536)
            except OSError:
                data = b""
            if not data:
                break
            if len(data) == READING.size:
                arrival, _, *numbers, mode, safety, status, connected = READING.unpack(data)
                self._reading = UrReading(arrival, np.array(numbers[:6]), np.array(numbers[6:]), mode, safety, status, connected)
            else:
                with self._lock:
                    answer = json.loads(data)
                    self._answers[answer["id"]] = answer
                    self._answered.notify_all()
        with self._lock:
            self._alive = False
            self._answered.notify_all()

    def _log(self) -> None:
        for line in self._process.stdout or ():
            _logger.info("%s: ur-rtde says: %s", self._arm, line.strip())
