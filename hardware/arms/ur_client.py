"""The process in which `ur-rtde` runs: it holds the clients, does what it is asked, and tells every reading as it arrives.

ur-rtde (1.6.5) holds Python's lock while it connects, waits for lost replies without end, reconnects by itself and uploads its program
again, and can crash when a call meets a reconnection. Here it may: the driver's process ends this one and goes on.
"""

import json
import os
import socket
import struct
import sys
import threading
import time
from typing import Any

# arrival (monotonic s), controller's stamp (s), q, qd, robot mode, safety bits, status bits, connected
READING = struct.Struct("<dd12dIII?")
_VARIABLES = ["timestamp", "actual_q", "actual_qd", "robot_mode", "robot_status_bits", "safety_status_bits"]
_LOOK = 0.001  # s between looks for a new reading
_KICK = 0.02  # s between kicks of the watchdog while nothing is streamed
_PROGRAM_RUNS = 1 << 1  # robot status bit


class _Client:
    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()  # round sending
        self.receive: Any = None
        self.control: Any = None
        self.streaming = False

    def run(self) -> None:
        """Serves until the driver's end is closed, then stops the arm and ends the process without the client's farewells."""
        self._link.settimeout(_KICK)
        while True:
            try:
                data = self._link.recv(65536)
            except TimeoutError:
                self._keep_alive()
                continue
            except OSError:
                data = b""
            if not data:
                self._leave()
            asked = json.loads(data)
            try:
                answer = {"id": asked["id"], "result": getattr(self, f"do_{asked['call']}")(*asked["arguments"])}
            except Exception as error:
                answer = {"id": asked["id"], "error": f"{error}"}
            self._send(json.dumps(answer).encode())

    def do_receive(self, host: str, rate: float) -> None:
        import rtde_receive  # pyright: ignore[reportMissingImports]

        self.receive = rtde_receive.RTDEReceiveInterface(host, rate, _VARIABLES)
        threading.Thread(target=self._tell, daemon=True).start()

    def do_control(self, host: str, rate: float, watchdog: float) -> bool:
        import rtde_control  # pyright: ignore[reportMissingImports]

        self.control = rtde_control.RTDEControlInterface(host, rate)
        return self.control.setWatchdog(watchdog)

    def do_servo(self, target: list[float], duration: float, lookahead: float, gain: float) -> bool:
        self.streaming = True
        return self.control.servoJ(target, 0.0, 0.0, duration, lookahead, gain)

    def do_stop(self, deceleration: float) -> bool:
        done = self.control.servoStop(deceleration)
        self.streaming = False
        return done

    def do_end(self) -> None:
        control, self.control = self.control, None
        control.stopScript()

    def _keep_alive(self) -> None:
        """Feeds the watchdog until the first target and after a stop; in between only targets do."""
        if self.control is not None and not self.streaming and self.receive.getRobotStatus() & _PROGRAM_RUNS:
            self.control.kickWatchdog()

    def _tell(self) -> None:
        receive, last = self.receive, -1.0
        while True:
            stamp, connected = receive.getTimestamp(), receive.isConnected()
            if stamp == last and connected:
                time.sleep(_LOOK)
                continue
            arrival = time.monotonic()
            pos, vel = receive.getActualQ(), receive.getActualQd()
            if len(pos) == len(vel) == 6:
                bits = receive.getRobotMode() & 0xFFFFFFFF, receive.getSafetyStatusBits(), receive.getRobotStatus()
                if connected and stamp != receive.getTimestamp():
                    continue  # another package came meanwhile: parts of two
                last = stamp
                self._send(READING.pack(arrival, stamp, *pos, *vel, *bits, connected))
            if not connected:
                return

    def _send(self, data: bytes) -> None:
        with self._lock:
            try:
                self._link.send(data, socket.MSG_DONTWAIT if len(data) == READING.size else 0)
            except OSError:  # a driver that does not listen misses readings; one that is gone is noticed in `run`
                return

    def _leave(self) -> None:
        threading.Timer(1.0, lambda: os._exit(1)).start()  # whatever hangs
        if self.control is not None:
            if self.streaming:
                self.control.servoStop()
            self.control.stopScript()
        os._exit(0)  # its destructors would sleep and could crash


def main() -> None:
    """`python -m hardware.arms.ur_client FD`, as `hardware.arms.ur_process` starts it."""
    _Client(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
