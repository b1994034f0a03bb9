"""An arm behind a program that speaks lines of JSON over loopback TCP: for twins, and for any arm whose own program can be taught this.

    {"id": 1, "do": "hello"}                                       {"id": 1, "arm": "jaco", "names": [...], "low": [...], "high": [...]}
    {"id": 2, "do": "read"}                                        {"id": 2, "pos": [...], "vel": [...], "gripper": 0.0}
    {"id": 3, "do": "target", "pos": [...], "gripper": 0.2}        {"id": 3}
    {"id": 4, "do": "stop"}                                        {"id": 4}

Radians, rad/s, closure 0 (open) to 1. An answer bears the number of its question, and an "error" (a sentence) where something is wrong.
A program takes targets from one connection, and "read" and "stop" from any.
"""

import json
import math
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.arms.stopped import StoppedOnLeaving
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError
from robo_dream.schema import Unit, Words, configuration


@configuration
class LineArmConfig:
    """Where the program listens, on this computer, and which arm it must say it is (empty: any). Seconds."""

    port: Annotated[int, Field(ge=1, le=65535), Words("the TCP port on which the arm's program listens, 1 to 65535")]
    arm: str = ""
    timeout: Annotated[float, Field(gt=0, le=5), Unit("s")] = 0.05
    control_dt: Annotated[float, Field(gt=0, le=5), Unit("s")] = 0.02


class LineArm(StoppedOnLeaving):
    """A `RobotArm` of joint targets. Entering connects and asks who is there; leaving stops the arm where it is and disconnects."""

    def __init__(self, config: LineArmConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock = config, clock
        self._name = f"arm on 127.0.0.1:{config.port}"
        self._socket: socket.socket | None = None
        self._bus, self._writing = threading.Lock(), threading.Lock()  # one exchange at a time; one line at a time
        self._number = 0
        self._unread = b""
        self.action_spec = ActionSpec("joint_target", (), (), np.zeros(0), np.zeros(0), config.control_dt)  # told on entering
        self._last: Float[np.ndarray, " joint_and_gripper"] | None = None

    def __enter__(self) -> "LineArm":
        self._take(self._name)
        try:
            self._socket = socket.create_connection(("127.0.0.1", self._config.port), timeout=1.0)
        except OSError as error:
            self._release()
            raise ArmError(f"{self._name} does not answer ({error}); start its program, or correct the port") from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            hello = self._ask("hello")
            desired = self._config.arm
            if desired and hello.get("arm") != desired:
                raise ArmError(f"{self._name} says it is {hello.get('arm')!r}; the configuration names {desired!r}")
            names = [str(name) for name in hello["names"]]
            self.action_spec = ActionSpec.joint_targets(names, hello["low"], hello["high"], self._config.control_dt)
            self.state()
        except (KeyError, TypeError, ValueError) as error:
            self._disconnect()
            self._release()
            raise ArmError(f"{self._name} did not introduce itself as expected ({error!r}); see hardware/arms/line_arm.py") from error
        except BaseException:
            self._disconnect()
            self._release()
            raise
        return self

    def state(self) -> ArmState:
        """Raises `ArmError` when the answer is late, lost or not what was asked for."""
        answer = self._ask("read")
        num_joints = self.action_spec.size - 1
        try:
            pos, vel = (np.asarray(answer[name], np.float64) for name in ("pos", "vel"))
            gripper = float(answer["gripper"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArmError(f"{self._name} answered {str(answer)[:200]}, which has no joints ({error!r})") from error
        if pos.shape != (num_joints,) or vel.shape != (num_joints,) or not (np.isfinite(pos).all() and np.isfinite(vel).all()):
            raise ArmError(f"{self._name} answered positions {pos} and speeds {vel}; expected {num_joints} finite numbers each")
        if not math.isfinite(gripper):
            raise ArmError(f"{self._name} answered a gripper closure of {gripper}")
        return ArmState.of_joints(self._clock(), pos, vel, gripper, self._last)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        spec = self.action_spec
        action = spec.numbers(action)
        action = spec.clip(action)
        self._ask("target", pos=action[:-1].tolist(), gripper=float(action[-1]))
        self._last = action
        return action

    def stop(self) -> None:
        """On the wire at once, beside a question that is not answered yet; returns when the program confirmed it."""
        if self._socket is not None:
            with suppress(OSError):  # told below
                self._write("stop")
            self._ask("stop")
            self._last = None

    def last_resort(self) -> str:
        """By a second connection, which any such program listens to for a stop."""
        try:
            with socket.create_connection(("127.0.0.1", self._config.port), timeout=1.0) as second, second.makefile("rb") as answers:
                second.settimeout(1.0)
                second.sendall(json.dumps({"id": 1, "do": "stop"}).encode() + b"\n")
                answer = json.loads(answers.readline())
        except (OSError, ValueError) as error:
            raise ArmError(f"{self._name} does not answer a second connection ({error})") from error
        if answer.get("id") != 1 or "error" in answer:
            raise ArmError(f"{self._name} answered {str(answer)[:200]} to a stop over a second connection")
        return f"a second connection told the {self._name} to stop, and it confirmed"

    def _ask(self, do: str, **content: Any) -> dict[str, Any]:
        """One question and its answer; answers to earlier questions, which came too late, are passed over."""
        with self._bus:
            if self._socket is None:
                raise ArmError(f"{self._name} is not connected; enter it (`with arm:`) first")
            end = self._clock() + (1.0 if do == "hello" else self._config.timeout)
            try:
                number = self._write(do, **content)
                while True:
                    answer = json.loads(self._line(end))
                    if not isinstance(answer, dict) or answer.get("id", 0) > self._number:
                        raise ArmError(f"{self._name} answered {str(answer)[:200]} to question {number} ({do})")
                    if "error" in answer and answer.get("id", number) in (0, number):
                        raise ArmError(f"{self._name} refuses {do}: {answer['error']}")
                    if answer.get("id") == number:
                        return answer
            except TimeoutError:
                raise ArmError(f"{self._name} did not answer {do} within {self._config.timeout} s; see whether its program runs") from None
            except (OSError, ValueError) as error:
                raise ArmError(f"{self._name} is gone or talks nonsense ({error}); see whether its program runs") from error

    def _write(self, do: str, **content: Any) -> int:
        """Puts a question on the wire; its number."""
        with self._writing:
            if self._socket is None:
                raise ArmError(f"{self._name} is not connected; enter it (`with arm:`) first")
            self._number += 1
            self._socket.settimeout(self._config.timeout)
            self._socket.sendall(json.dumps({"id": self._number, "do": do, **content}).encode() + b"\n")
            return self._number

    def _line(self, end: float) -> bytes:
        assert self._socket is not None
        while b"\n" not in self._unread:
            left = end - self._clock()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError("the connection was closed")
            self._unread += part
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._unread = None, b""
