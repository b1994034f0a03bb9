"""Any LeRobot `Robot` object as an arm: what it calls `<joint>.pos` becomes radians, and its errors an `ArmError`."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.arms.stopped import StoppedOnLeaving
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError, ConfigError
from robo_dream.schema import Name, Unit, Words, configuration

_JUMP = 0.1, 8.0  # rad, and rad/s from the observation before: no such arm moves faster
_ASTRAY = 0.5  # rad beside the way to its target, where no joint comes by itself however long nobody looked
_ARRIVED, _SLOWEST = 0.1, 1.0  # s, and rad/s with which a joint comes to its target at least
_FAR_STOP = 0.15  # rad; a stop sends no joint further than this from where it was last told to be, whatever it says


@runtime_checkable
class LeRobotRobot(Protocol):
    """What of `lerobot.robots.Robot` is used here."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def is_calibrated(self) -> bool: ...

    def connect(self, calibrate: bool = True) -> None: ...

    def disconnect(self) -> None: ...

    def get_observation(self) -> Mapping[str, Any]: ...

    def send_action(self, action: dict[str, float]) -> Mapping[str, Any]: ...


Angle = Annotated[float, Field(ge=-100, le=100), Unit("rad")]


@configuration
class LeRobotJoint:
    """A joint as LeRobot names it, its range in radians, what the robot says at 0 rad (in its own unit) and its sense."""

    name: Name
    low: Angle
    high: Angle
    zero: float = 0.0
    sign: Literal[-1, 1] = 1

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"joint {self.name}: low is {self.low} rad and high {self.high} rad; low must be the smaller one")


@configuration
class LeRobotConfig:
    """How the numbers of a LeRobot robot are meant.

    `unit` is "degrees" (SO-101 with `use_degrees`) or "percent": -100 to 100 over each joint's range, `low` to `high`. The gripper says
    `opened` and `closed` at its ends. LeRobot lets go of an arm when it disconnects; `torque_off_on_exit` declares that pose one of rest.
    """

    joints: Annotated[tuple[LeRobotJoint, ...], Field(min_length=1), Words("the joints from base to tool, at least one")]
    gripper: str = "gripper"
    opened: float = 100.0
    closed: float = 0.0
    unit: Literal["degrees", "percent"] = "degrees"
    control_dt: Annotated[float, Field(gt=0, le=1), Unit("s")] = 0.02
    max_read_time: Annotated[float, Field(gt=0, le=10), Unit("s")] = 0.2  # s for an observation, pictures included
    torque_off_on_exit: bool = False

    def __post_init__(self) -> None:
        if self.opened == self.closed:
            raise ConfigError(f"opened and closed are both {self.opened}; give what the gripper says at its two ends")


class LeRobotArm(StoppedOnLeaving):
    """A `RobotArm` that takes joint targets (radians, then the closure) and drives `robot`.

    Entering connects the robot unless it is connected already, and never starts a calibration (that asks at the keyboard). LeRobot
    gives no velocities; they are differences of observations. An observation that jumps is asked for again, then refused.
    """

    def __init__(self, robot: LeRobotRobot, config: LeRobotConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._robot = robot
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._names = (*(joint.name for joint in config.joints), config.gripper)
        low, high = np.array([joint.low for joint in config.joints]), np.array([joint.high for joint in config.joints])
        sign, zero = np.array([joint.sign for joint in config.joints]), np.array([joint.zero for joint in config.joints])
        if config.unit == "degrees":
            scale = sign * 180 / np.pi
        else:
            scale = sign * 200 / (high - low)
            zero = zero - scale * (high + low) / 2
        self._zero, self._scale = np.append(zero, config.opened), np.append(scale, config.closed - config.opened)
        self.action_spec = ActionSpec.joint_targets(self._names[:-1], low, high, config.control_dt)
        self._entered = False
        self._seen: tuple[float, np.ndarray] | None = None  # when, and radians and closure
        self._target: np.ndarray | None = None
        self._stopped = False

    def __enter__(self) -> "LeRobotArm":
        lets_go = bool(getattr(getattr(self._robot, "config", None), "disable_torque_on_disconnect", False))  # not every robot has it
        if lets_go and not self._config.torque_off_on_exit:
            raise ConfigError(
                f"{self._robot} drops the arm when it disconnects; set disable_torque_on_disconnect=False in its configuration, "
                "or torque_off_on_exit=True here if it will end in a pose of rest"
            )
        if not self._robot.is_connected:
            self._call("connect", lambda: self._robot.connect(calibrate=False))
        if not self._robot.is_calibrated:
            self._robot.disconnect()
            raise ArmError(f"{self._robot} is not calibrated; run lerobot-calibrate for it first")
        self._entered, self._seen, self._target, self._stopped = True, None, None, False
        try:
            self._observe()
        except BaseException:
            self._entered = False
            self._robot.disconnect()
            raise
        return self

    def state(self) -> ArmState:
        """One observation. Tool and tool target are NaN: `robo_dream.control.cartesian.with_tool` knows them."""
        with self._lock:
            before = self._seen
            at, pos = self._observe()
            target = pos if self._target is None else self._target
        vel = np.zeros(len(pos)) if before is None else (pos - before[1]) / max(at - before[0], 1e-6)
        return ArmState.of_joints(at, pos[:-1], vel[:-1], float(pos[-1]), target)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Starts towards `action`, clipped to the limits; returns what the robot says that it sent. Raises `ContractError`, `ArmError`."""
        spec = self.action_spec
        action = spec.numbers(action)
        with self._lock:
            self._target = self._send(np.clip(action, spec.low, spec.high))
            self._stopped = False
            return self._target

    def stop(self) -> None:
        """Sends every joint to where it is now; told again, it stays there. Raises `ArmError` when the robot cannot be told."""
        with self._lock:
            if not self._entered:
                return
            if not self._stopped or self._target is None:
                try:
                    _, here = self._observe()
                except ArmError:
                    if self._seen is None:
                        raise
                    here = self._seen[1]
                if self._target is not None and self._seen is not None:
                    way = float(np.abs(self._target - here)[:-1].max())
                    if self._clock() - self._seen[0] > _ARRIVED + way / _SLOWEST:
                        here = self._target  # nobody saw it arrive, but it has
                    here = np.append(np.clip(here, self._target - _FAR_STOP, self._target + _FAR_STOP)[:-1], here[-1])
                self._target = np.clip(here, self.action_spec.low, self.action_spec.high)
            self._send(self._target)
            self._stopped = True

    def last_resort(self) -> str:
        """There is none: connecting a LeRobot robot anew configures its motors, for which it takes their torque away."""
        return (
            f"nobody can tell {self._robot} to stop but the process that is gone: to connect it anew would take its torque away. "
            "Its servos go no further than the last target and hold there, which nobody here has confirmed: see that it stands, "
            "or cut its power"
        )

    def _observe(self) -> tuple[float, np.ndarray]:
        """When, and where; asked twice at most. The lock is held."""
        self._assert_entered()
        problem = ""
        for _ in range(2):
            began = self._clock()
            observation = self._call("get_observation", self._robot.get_observation)
            at = self._clock()
            pos = self._values(observation, "get_observation")
            if at - began > self._config.max_read_time:
                problem = f"an observation took {at - began:.3f} s; allowed are {self._config.max_read_time:.3f} s"
                continue
            if self._seen is not None:
                last = self._seen[1]
                goal = last if self._target is None else self._target
                jump = np.abs(pos - last)[:-1]
                astray = np.maximum(np.minimum(last, goal) - pos, pos - np.maximum(last, goal))[:-1]
                joint = int(np.argmax(jump))
                if jump[joint] > _JUMP[0] + _JUMP[1] * (at - self._seen[0]) or astray[joint] > _ASTRAY:
                    problem = f"{self._names[joint]} says it jumped by {jump[joint]:.2f} rad"
                    continue
            self._seen = at, pos
            return at, pos
        raise ArmError(f"{self._robot}: {problem}; asked twice. Check its cable and power, then connect again")

    def _send(self, target: np.ndarray) -> np.ndarray:
        self._assert_entered()
        desired = {f"{name}.pos": float(value) for name, value in zip(self._names, self._zero + self._scale * target, strict=True)}
        return self._values(self._call("send_action", lambda: self._robot.send_action(desired)), "send_action")

    def _disconnect(self) -> None:
        self._entered = False
        self._call("disconnect", self._robot.disconnect)

    def _assert_entered(self) -> None:
        if not self._entered:
            raise ArmError(f"{self._robot} is not connected; use it within `with`")

    def _values(self, said: Mapping[str, Any], call: str) -> Float[np.ndarray, " joint_and_gripper"]:
        missing = [f"{name}.pos" for name in self._names if f"{name}.pos" not in said]
        if missing:
            raise ArmError(f"{self._robot}: {call} says nothing of {', '.join(missing)}; it has {', '.join(sorted(said))}")
        values = np.array([float(said[f"{name}.pos"]) for name in self._names])
        if not np.isfinite(values).all():
            raise ArmError(f"{self._robot}: {call} says {dict(zip(self._names, values, strict=True))}; expected finite numbers")
        return (values - self._zero) / self._scale

    def _call(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # each robot raises its own
            raise ArmError(
                f"{self._robot}: {name} failed ({type(error).__name__}: {error}); check its cable and power, then connect again"
            ) from error
