"""The process of an xArm controller: its command port and its reports."""

import json
import socket
import struct
import sys
import time
from typing import Any

import numpy as np

from sim.emulators import xarm_frames as frames
from sim.emulators.faults import Fault, FaultInjector, Faults
from sim.emulators.link import Link
from sim.emulators.wire import Connection, Wire
from sim.emulators.xarm_controller import XarmController
from sim.emulators.xarm_gripper import XarmGripper

COMMANDS = 502
REPORTS = {30001: 0.2, 30002: 0.2, 30003: 0.01}  # s between reports
_CYCLE = 0.002  # s


class _Server:
    def __init__(self, link: Link, start: dict[str, Any]) -> None:
        self._link = link
        self._address = start["address"]
        self._faults = FaultInjector(Faults(tuple(Fault(**fault) for fault in start["faults"])))
        self._gripper = XarmGripper(start["gripper"])
        self._controller = XarmController(np.array(start["joint_pos"]), self._gripper, self._faults, self._record)
        self._wire = Wire(self._address, self._faults)
        self._running = True

    def run(self) -> None:
        try:
            self._wire.serve(COMMANDS, self._commands)
            for port in REPORTS:
                self._wire.serve(port, lambda client, data: None)
        except OSError as error:
            self._link.say("failed", reason=f"cannot serve at {self._address}: {error}")
            return
        self._wire.watch(self._link, self._hear)
        self._link.say("ready")
        due = time.monotonic()
        try:
            while self._running:
                self._wire.step(due - time.monotonic())
                now = time.monotonic()
                if now >= due:
                    due = max(due + _CYCLE, now)
                    self._cycle(now)
        finally:
            self._wire.close()

    def _cycle(self, now: float) -> None:
        controller = self._controller
        controller.step(now)
        self._link.target(controller.motion.pos, self._gripper.goal)
        for client in self._wire.connections:
            period = REPORTS.get(client.port)
            if period and now >= (client.tag if isinstance(client.tag, float) else 0.0):
                client.tag = now + period
                client.send(
                    frames.report(
                        client.port, controller.state, controller.mode, list(controller.measured), list(controller.effort),
                        controller.enabled, controller.error, controller.warning,
                    )
                )  # fmt: skip

    def _hear(self) -> None:
        try:
            heard = self._link.hear()
        except EOFError:
            self._running = False
            return
        for word, said in heard:
            if word == "reading":
                pos, vel, effort = said[1:-1].reshape(3, -1)
                self._controller.measured, self._controller.measured_speed, self._controller.effort = pos, vel, effort
                self._gripper.closure = float(said[-1])
            elif word == "fault":
                self._faults.inject(Fault(**said))
            elif word == "clear":
                self._faults.clear()

    def _record(self, name: str, **arguments: Any) -> None:
        self._link.say("command", time=time.monotonic(), name=name, arguments=arguments)

    def _commands(self, client: Connection, data: bytes) -> None:
        buffer = client.tag if isinstance(client.tag, bytearray) else bytearray()
        client.tag = buffer
        buffer += data
        try:
            for request in frames.requests(buffer):
                client.send(self._controller.answer(request))
        except (ValueError, IndexError, struct.error) as error:
            self._record("bad request", reason=str(error))
            client.close()


def main() -> None:
    """`python -m sim.emulators.xarm_server FD JSON`, as `ControllerProcess` starts it."""
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    _Server(link, json.loads(sys.argv[2])).run()


if __name__ == "__main__":
    main()
