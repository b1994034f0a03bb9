"""An emulated arm whose controller speaks its protocol from a process of its own, and whose body is a `Plant` in this one."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any

from robo_dream.errors import ConfigError, DataError
from sim.emulators.commands import CommandLog
from sim.emulators.faults import Fault, Faults
from sim.emulators.link import Link
from sim.emulators.plant import Plant

_PERIOD = 0.002  # s between looks at the joints, as often as a controller runs
_START_TIMEOUT = 20.0  # s


class ControllerProcess:
    """Runs `module` as the controller of `plant`; `commands` is what clients told it, `inject` breaks it.

    The ports of these protocols are fixed in the vendors' clients; `address` keeps several arms of one computer apart and must be a
    loopback address, 127.x.x.x.
    """

    module = ""

    def __init__(
        self, plant: Plant, address: str = "127.0.0.1", faults: Faults | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        if not address.startswith("127."):
            raise ConfigError(f"emulator address {address!r} is not of this computer; use a loopback address such as 127.0.0.2")
        self.address = address
        self.plant = plant
        self._stamp = 0.0
        self.commands = CommandLog(lambda: self._stamp)
        self._faults = faults or Faults()
        self._options = dict(options or {})
        self._leave = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> "ControllerProcess":
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (mine, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        here = self.plant.joints()
        start = {
            "address": self.address, "joint_pos": [float(x) for x in here.pos], "gripper": here.gripper,
            "faults": [asdict(fault) for fault in self._faults.schedule], **self._options,
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, str(theirs.fileno()), json.dumps(start)],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        self._link = Link(mine)
        self._ready, self._failure = threading.Event(), ""
        self._leave.clear()
        self._thread = threading.Thread(target=self._run, name=f"emulator {self.address}", daemon=True)
        self._thread.start()
        self._ready.wait(_START_TIMEOUT)
        if self._failure or not self._ready.is_set():
            self._close()
            raise DataError(
                f"the emulated controller at {self.address} did not start: {self._failure or 'no answer'}. Another one at this address? "
                "Take another of 127.x.x.x. Ports below 1024 are for root, or after `sysctl net.ipv4.ip_unprivileged_port_start=500`"
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def inject(self, fault: Fault) -> None:
        """From now on; any thread."""
        with self._lock:
            self._link.fault(fault)

    def clear(self) -> None:
        """Ends every fault. What the controller has latched stays latched until a client or `press` resets it."""
        with self._lock:
            self._link.say("clear")

    def _run(self) -> None:
        while not self._leave.wait(_PERIOD):
            here = self.plant.joints()
            with self._lock:
                self._link.flush()
                self._link.reading(here.time, here.pos, here.vel, here.effort, here.gripper)
                try:
                    heard = self._link.hear()
                except EOFError:
                    heard = [("failed", {"reason": f"it ended with exit status {self._process.wait()}"})]
                    self._leave.set()
            target: Any = None
            for word, said in heard:
                if word == "target":
                    target = said
                else:
                    self._hear(word, said)
            if target is not None:
                self.plant.set_target(target[:-1], float(target[-1]))

    def _hear(self, word: str, said: dict[str, Any]) -> None:
        if word == "command":
            self._stamp = said["time"]
            self.commands.add(said["name"], **said["arguments"])
        elif word == "torque":
            self.plant.set_torque(said["on"])
        elif word == "failed":
            self._failure = said["reason"]
            self._ready.set()
        elif word == "ready":
            self._ready.set()

    def _close(self) -> None:
        self._leave.set()
        self._thread.join()
        self._link.close()
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
