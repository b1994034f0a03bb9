"""Franka (Panda, FR3) through `franky-control`. EXPERIMENTAL: this file was never run, neither with an arm nor with an emulated one.

It is written against franky 2.0's documented interface: each target is an asynchronous `JointMotion`, which takes over from the one
before; franky's own trajectory generator keeps the arm's limits. Its control loop (1 kHz, in a thread of this process) needs a
real-time kernel; the arm stops by itself when 20 of its packets are lost.
"""

import importlib.util
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.arms.plausible import Plausible
from hardware.arms.polled_gripper import PolledGripper
from hardware.arms.stopped import StoppedOnLeaving
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError, ConfigError, MissingExtraError
from robo_dream.schema import Unit, configuration

JOINTS = tuple(f"joint{i}" for i in range(1, 8))
_PORT = 1337  # of the Franka control interface
_CONNECT_TIMEOUT = 2.0  # s
_LOW = (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159)  # rad, FR3; inside the Panda's ("Robot limits", Franka)
_HIGH = (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159)
_MAX_SPEED = 2.62  # rad/s, the slowest of its joints
_WIDTH = 0.08  # m of the open hand


@configuration
class FrankaConfig:
    """Where the arm is and how it follows. `dynamics` is the part of its speed, acceleration and jerk limits that is used."""

    host: str = ""  # its address
    kind: Literal["franka"] = "franka"
    gripper: Literal["none", "franka"] = "franka"
    control_dt: Annotated[float, Field(gt=0, le=1), Unit("s")] = 0.02
    max_speed: Annotated[float, Field(gt=0, le=_MAX_SPEED), Unit("rad/s")] = 1.0
    dynamics: Annotated[float, Field(gt=0, le=1), Unit("1")] = 0.2
    max_age: Annotated[float, Field(gt=0, le=1), Unit("s")] = 0.05
    joint_low: tuple[float, ...] = _LOW
    joint_high: tuple[float, ...] = _HIGH

    def __post_init__(self) -> None:
        low, high = np.array(self.joint_low), np.array(self.joint_high)
        if low.shape != (7,) or high.shape != (7,) or not (low < high).all():
            raise ConfigError(f"joint_low {self.joint_low} and joint_high {self.joint_high} must be seven pairs")


class FrankaArm(StoppedOnLeaving):
    """A `RobotArm` that takes joint targets (rad, then the gripper's closure). Experimental, never run."""

    def __init__(self, config: FrankaConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._name = f"Franka {config.host}"
        self.action_spec = ActionSpec.joint_targets(JOINTS, config.joint_low, config.joint_high, config.control_dt)
        self._franky: Any = None
        self._robot: Any = None
        self._gripper: PolledGripper | None = None
        self._lock = threading.Lock()
        self._latched = ""
        self._streaming = False
        self._target = np.zeros(7)
        self._target_closure = 0.0

    def __enter__(self) -> "FrankaArm":
        config = self._config
        if importlib.util.find_spec("franky") is None:
            raise MissingExtraError("Franka arms need franky-control, which is not installed; run `pip install 'robo-dream[franka]'`")
        self._take(f"Franka {config.host}")
        try:
            socket.create_connection((config.host, _PORT), _CONNECT_TIMEOUT).close()
        except OSError as error:
            self._release()
            raise ArmError(
                f"{self._name}: port {_PORT} does not answer ({error}); unlock the joints and activate FCI in Desk, check the address"
            ) from error
        import franky  # pyright: ignore[reportMissingImports]

        self._franky, self._latched, self._streaming = franky, "", False
        self._plausible = Plausible(self._name, JOINTS, low=-2 * math.pi, high=2 * math.pi, max_speed=2 * _MAX_SPEED)
        try:
            robot = franky.Robot(config.host, relative_dynamics_factor=config.dynamics)
            if robot.has_errors:
                raise ArmError(f"{self._name} reports {robot.state.current_errors}; find out why, clear it in Desk, then connect again")
            self._robot = robot
            if config.gripper == "franka":
                hand = franky.Gripper(config.host)
                self._gripper = PolledGripper(
                    f"{self._name} hand", lambda: float(np.clip(1 - hand.width / _WIDTH, 0.0, 1.0)),
                    lambda closure: hand.move_async(_WIDTH * (1 - closure), 0.1), period=0.1, max_age=1.0, clock=self._clock,
                )  # fmt: skip
                self._gripper.start()
            self._rest()
        except franky.Exception as error:
            self._disconnect()
            self._release()
            raise ArmError(f"{self._name}: {error}; look at Desk") from error
        except ArmError:
            self._disconnect()
            self._release()
            raise
        return self

    def state(self) -> ArmState:
        """The newest joints; tool fields are NaN. Raises `ArmError` when they cannot be."""
        stamp, pos, vel = self._joints()
        closure = self._gripper.closure() if self._gripper else 0.0
        return ArmState.of_joints(stamp, pos, vel, closure, np.append(self._target, self._target_closure))

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Starts towards a target, no further from the last one than `max_speed` allows. Raises `ContractError`, `ArmError`."""
        action = self.action_spec.numbers(action)
        config = self._config
        if self._robot is None:
            raise ArmError(f"{self._name} is not connected; use it within `with`")
        with self._lock:
            if self._latched:
                raise ArmError(f"{self._name}: {self._latched}; nothing is sent. Find out why, clear it in Desk, then connect again")
            step = config.max_speed * config.control_dt
            target = self._target + np.clip(np.clip(action[:7], config.joint_low, config.joint_high) - self._target, -step, step)
            self._streaming = True
            self._move(self._franky.JointMotion(target.tolist()))
            self._target = target
            if self._gripper:
                self._target_closure = self._gripper.move(float(action[7]))
        return np.append(target, self._target_closure)

    def stop(self) -> None:
        """Decelerates to rest, from any thread."""
        if self._robot is None:
            return
        if self._gripper:
            self._gripper.hold()
        with self._lock:
            if self._streaming:
                self._streaming = False
                self._move(self._franky.JointStopMotion())
                self._rest()

    def last_resort(self) -> str:
        """There is none: a second connection is refused while the controller has the first. Its own watchdog is what acts."""
        return (
            f"nobody can tell {self._name} to stop but the process that is gone: it takes no second connection. Its controller stops it "
            "by itself when 20 packets (20 ms) are lost, which nobody here has confirmed: see that it stands, or cut its power"
        )

    def _move(self, motion: Any) -> None:
        try:
            self._robot.poll_motion()  # raises what has stopped the motion before
            self._robot.move(motion, asynchronous=True)
        except self._franky.Exception as error:
            self._latched = str(error)
            raise ArmError(f"{self._name}: {error}; find out why, clear it in Desk, then connect again") from error

    def _joints(self) -> tuple[float, np.ndarray, np.ndarray]:
        if self._robot is None:
            raise ArmError(f"{self._name} is not connected; use it within `with`")
        asked = self._clock()
        try:
            state = self._robot.state
        except self._franky.Exception as error:
            raise ArmError(f"{self._name}: joints: {error}; check the cable and the controller, then connect again") from error
        stamp, pos, vel = self._clock(), np.array(state.q, float), np.array(state.dq, float)
        if stamp - asked > self._config.max_age:
            raise ArmError(f"{self._name}: its joints took {stamp - asked:.3f} s; allowed {self._config.max_age} s")
        problem = self._plausible.problem(stamp, pos, vel)
        if problem:
            raise ArmError(f"{self._name}: {problem}; check the cable and the controller, then connect again")
        return stamp, pos, vel

    def _rest(self) -> None:
        """The target is where the arm is."""
        _, self._target, _ = self._joints()
        self._target_closure = self._gripper.closure() if self._gripper else 0.0

    def _disconnect(self) -> None:
        if self._gripper:
            self._gripper.close()
        self._robot = self._gripper = None
