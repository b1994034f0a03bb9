"""A plant behind lines of JSON over loopback TCP, the wire that `hardware/arms/line_arm.py` describes."""

import json
import socketserver
import threading
from types import TracebackType
from typing import Any

import numpy as np

from robo_dream.errors import ContractError
from sim.emulators.plant import Plant

_TURNS = 2 * np.pi  # limit of joints that have none


class LineServer:
    """Serves one plant while entered, on 127.0.0.1 at `port`, which the system chooses where none is given."""

    def __init__(self, plant: Plant, port: int = 0) -> None:
        self._plant = plant
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", port), self._handler(), bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.allow_reuse_address = True
        self.port = port
        self._commander: object | None = None  # the connection that gives targets

    def __enter__(self) -> "LineServer":
        self._server.server_bind()
        self._server.server_activate()
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="line server", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """What the arm says to one question."""
        plant = self._plant
        match question.get("do"):
            case "hello":
                scene, kinematics = plant.world.scene, plant.world.kinematics
                low, high = np.maximum(kinematics.low, -_TURNS), np.minimum(kinematics.high, _TURNS)
                return {"arm": scene.arm.name, "names": list(scene.joint_names), "low": low.tolist(), "high": high.tolist()}
            case "read":
                now = plant.joints()
                return {"pos": now.pos.tolist(), "vel": now.vel.tolist(), "gripper": now.gripper}
            case "target":
                plant.set_target(np.asarray(question["pos"], float), float(question["gripper"]))
                return {}
            case "stop":
                now = plant.joints()
                plant.set_target(now.pos, now.gripper)
                return {}
        return {"error": f"nothing known to do as {question.get('do')!r}"}

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        server = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                try:
                    for line in self.rfile:
                        self.wfile.write(server.reply(line, self))
                except (TimeoutError, ConnectionError):
                    return
                finally:
                    server.gone(self)

        return Handler

    def gone(self, client: object) -> None:
        if self._commander is client:
            self._commander = None

    def reply(self, line: bytes, client: object = None) -> bytes:
        """The line that answers a line of `client`. Targets are taken from one at a time."""
        number = 0
        try:
            question = json.loads(line)
            number = int(question["id"])
            if question.get("do") == "target":
                if self._commander not in (None, client):
                    raise ContractError("another connection commands this arm")
                self._commander = client
            answer = self.answer(question)
        except (ValueError, KeyError, TypeError, ContractError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        return json.dumps({"id": number, **answer}).encode() + b"\n"
