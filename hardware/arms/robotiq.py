"""A Robotiq 2F gripper on a Universal Robots arm, through the text server of its URCap on port 63352.

Source: Robotiq, "2F-85 & 2F-140 instruction manual": POS 0 open to 255 closed, STA 3 activated, FLT the fault.
"""

import socket
import time
from collections.abc import Callable

from hardware.arms.polled_gripper import PolledGripper
from robo_dream.errors import ArmError

PORT = 63352
_PERIOD = 0.04  # s between questions; the URCap answers at about 100 Hz
_ACTIVATION = 10.0  # s that activation may take, in which the fingers open and close


class RobotiqGripper:
    """Use `closure`, `move` and `hold` of its `polled` once it is open."""

    def __init__(
        self, host: str, activate: bool, speed: int, force: int, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = f"Robotiq gripper at {host}"
        self._host = host
        self._activate = activate
        self._speed, self._force = speed, force
        self._timeout = timeout
        self._clock = clock
        self._socket: socket.socket | None = None
        self.polled = PolledGripper(self._name, self._read, self._write, _PERIOD, 5 * timeout, clock)

    def open(self) -> None:
        """Connects and reads where the fingers are. Raises `ArmError` for one that does not answer or is not activated."""
        try:
            self._socket = socket.create_connection((self._host, PORT), self._timeout)
            self._socket.settimeout(self._timeout)
            if self._get("STA") != 3:
                if not self._activate:
                    raise ArmError(
                        f"{self._name} is not activated; activate it on the teach pendant, or let `activate_gripper: true` do it "
                        "(its fingers then open and close once)"
                    )
                self._wake()
            self.polled.start()
        except OSError as error:
            self.close()
            raise ArmError(f"{self._name} does not answer on port {PORT} ({error}); is its URCap installed and running?") from error
        except ArmError:
            self.close()
            raise

    def close(self) -> None:
        self.polled.close(2 * self._timeout)
        if self._socket is not None:
            self._socket.close()

    def _write(self, closure: float) -> None:
        self._tell(f"SET POS {round(closure * 255)} SPE {self._speed} FOR {self._force} GTO 1")

    def _read(self) -> float:
        fault = self._get("FLT")
        if fault not in (0, 5, 7):  # 5 and 7 are of activation and end by themselves
            raise ArmError(f"{self._name} reports fault {fault}; see its manual, clear it on the pendant and connect anew")
        position = self._get("POS")
        if not 0 <= position <= 255:
            raise ArmError(f"{self._name} says that it is at {position}; allowed 0 to 255")
        return position / 255

    def _wake(self) -> None:
        self._tell("SET ACT 0")
        self._tell("SET ACT 1")
        end = self._clock() + _ACTIVATION
        while self._get("STA") != 3:
            if self._clock() > end:
                raise ArmError(f"{self._name} did not activate within {_ACTIVATION} s; look at its light and its cable")
            time.sleep(_PERIOD)

    def _get(self, name: str) -> int:
        words = self._ask(f"GET {name}").split()
        if len(words) != 2 or words[0] != name or not words[1].isdecimal():
            raise ArmError(f"{self._name} answered {words} to GET {name}")
        return int(words[1])

    def _tell(self, line: str) -> None:
        answer = self._ask(line)
        if not answer.startswith("ack"):
            raise ArmError(f"{self._name} refused {line!r}: {answer!r}")

    def _ask(self, line: str) -> str:
        assert self._socket is not None, "open comes first"
        self._socket.sendall(f"{line}\n".encode("ascii"))
        data = self._socket.recv(256)
        if not data:
            raise ConnectionError("the connection was closed")
        return data.decode("ascii", "replace").strip()
