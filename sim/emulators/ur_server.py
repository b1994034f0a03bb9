"""The process of a Universal Robots e-Series controller: its ports, and what its clients have set up.

Ports: 29999 dashboard, 30001 to 30003 scripts, 30004 RTDE, 63352 the Robotiq URCap. The state stream of 30001 to 30003 is not sent.
"""

import json
import socket
import struct
import sys
import time
from typing import Any

import numpy as np

from sim.emulators import rtde_packets as rtde
from sim.emulators import ur_dashboard
from sim.emulators.faults import Fault, FaultInjector, Faults
from sim.emulators.link import Link
from sim.emulators.robotiq import RobotiqGripper
from sim.emulators.ur_controller import CYCLE, UrController
from sim.emulators.wire import Connection, Wire

DASHBOARD, SCRIPTS, RTDE, ROBOTIQ = 29999, (30001, 30002, 30003), 30004, 63352


class _Server:
    """The controller's side, in the process of its own."""

    def __init__(self, link: Link, start: dict[str, Any]) -> None:
        self._link = link
        self._start = start
        faults = Faults(tuple(Fault(**fault) for fault in start["faults"]))
        self._faults = FaultInjector(faults)
        self._controller = UrController(np.array(start["joint_pos"]), self._faults, self._record, start["unlock_delay"])
        self._gripper = RobotiqGripper(start["gripper"])
        self._wire = Wire(start["address"], self._faults)
        self._running = True

    def run(self) -> None:
        try:
            self._wire.serve(DASHBOARD, self._dashboard, lambda client: client.send(f"{ur_dashboard.WELCOME}\n".encode()))
            for port in SCRIPTS:
                self._wire.serve(port, self._script)
            self._wire.serve(RTDE, self._rtde)
            if self._start["robotiq"]:
                self._wire.serve(ROBOTIQ, self._robotiq)
        except OSError as error:
            self._link.say("failed", reason=f"cannot serve at {self._start['address']}: {error}")
            return
        self._wire.watch(self._link, self._hear)
        self._link.say("ready")
        due = time.monotonic()
        try:
            while self._running:
                self._wire.step(due - time.monotonic())
                now = time.monotonic()
                if now >= due:
                    due = max(due + CYCLE, now)
                    self._cycle(now)
        finally:
            self._wire.close()

    def _cycle(self, now: float) -> None:
        self._controller.step(now)
        error = self._faults.lasts("error")
        self._gripper.fault = error.code if error else 0
        self._link.target(self._controller.motion.pos, self._gripper.goal if self._start["robotiq"] else self._gripper.closure)
        variables = None
        for client in self._wire.connections:
            stream = client.tag
            if isinstance(stream, _Stream) and stream.started and stream.output and now >= stream.due:
                stream.due = max(stream.due + stream.period, now - stream.period)
                variables = variables or self._controller.variables()
                client.send(stream.output.pack(variables))

    def _hear(self) -> None:
        try:
            heard = self._link.hear()
        except EOFError:
            self._running = False
            return
        for word, said in heard:
            if word == "reading":
                count = (len(said) - 2) // 3
                self._controller.measured, self._controller.measured_speed = said[1 : 1 + count], said[1 + count : 1 + 2 * count]
                self._gripper.step(float(said[-1]), CYCLE)
            elif word == "fault":
                self._faults.inject(Fault(**said))
            elif word == "clear":
                self._faults.clear()

    def _record(self, name: str, **arguments: Any) -> None:
        self._link.say("command", time=time.monotonic(), name=name, arguments=arguments)

    def _dashboard(self, client: Connection, data: bytes) -> None:
        start = self._start
        for line in data.decode("ascii", "replace").splitlines():
            self._record("dashboard", line=line)
            client.send(f"{ur_dashboard.answer(line, self._controller, start['model'], start['serial'], start['remote'])}\n".encode())

    def _script(self, client: Connection, data: bytes) -> None:
        text = (client.tag if isinstance(client.tag, str) else "") + data.decode("utf-8", "replace")
        whole = text.rstrip().endswith("\nend") or (text.endswith("\n") and not text.lstrip().startswith(("def ", "sec ")))
        client.tag = "" if whole else text
        if whole:
            self._controller.load(text, time.monotonic())

    def _robotiq(self, client: Connection, data: bytes) -> None:
        for line in data.decode("ascii", "replace").splitlines():
            self._record("robotiq", line=line)
            said = self._gripper.answer(line)
            if said is not None:
                client.send(said.encode())

    def _rtde(self, client: Connection, data: bytes) -> None:
        if not isinstance(client.tag, _Stream):
            client.tag = _Stream()
        stream = client.tag
        stream.buffer += data
        try:
            for letter, body in rtde.frames(stream.buffer):
                reply = stream.answer(letter, body, self._controller)
                if reply is not None:
                    client.send(rtde.frame(letter, reply))
        except (ValueError, struct.error) as error:
            self._record("bad frame", reason=str(error))
            client.close()


class _Stream:
    """What one RTDE client has set up."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.output: rtde.Recipe | None = None
        self.inputs: dict[int, rtde.Recipe] = {}
        self.period = CYCLE
        self.due = 0.0
        self.started = False

    def answer(self, letter: int, body: bytes, controller: UrController) -> bytes | None:
        """The body of the reply, None where there is none. Raises `ValueError` and `struct.error` for what is malformed."""
        if letter == rtde.VERSION:
            return bytes([struct.unpack(">H", body)[0] == 2])
        if letter == rtde.CONTROLLER_VERSION:
            return struct.pack(">4I", *(int(part) for part in ur_dashboard.VERSION.split(".")))
        if letter == rtde.SETUP_OUTPUTS:
            frequency = struct.unpack_from(">d", body)[0]
            if not 1 <= frequency <= 1 / CYCLE:
                raise ValueError(f"output frequency {frequency} Hz")
            self.period = 1 / frequency
            recipe = rtde.Recipe(1, _names(body[8:]), rtde.OUTPUT_TYPES)
            self.output = recipe if recipe.usable else None
            return bytes([recipe.number if recipe.usable else 0]) + ",".join(recipe.types).encode()
        if letter == rtde.SETUP_INPUTS:
            recipe = rtde.Recipe(len(self.inputs) + 1, _names(body), rtde.INPUT_TYPES)
            if recipe.usable:
                self.inputs[recipe.number] = recipe
            return bytes([recipe.number if recipe.usable else 0]) + ",".join(recipe.types).encode()
        if letter in (rtde.START, rtde.PAUSE):
            self.started = letter == rtde.START
            return b"\x01"
        if letter == rtde.DATA:
            recipe = self.inputs.get(body[0] if body else 0)
            if recipe is None:
                raise ValueError(f"no input recipe {body[:1]!r}")
            values = recipe.unpack(body)
            controller.write({name: value for name, value in values.items() if isinstance(value, int | float)}, time.monotonic())
            return None
        raise ValueError(f"unknown letter {letter}")


def _names(body: bytes) -> list[str]:
    return [name for name in body.decode("ascii").split(",") if name]


def main() -> None:
    """`python -m sim.emulators.ur_server FD JSON`, as `ControllerProcess` starts it."""
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    _Server(link, json.loads(sys.argv[2])).run()


if __name__ == "__main__":
    main()
