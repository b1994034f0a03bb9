"""uFactory xArm 6 through `xarm-python-sdk`: a stream of servo_j targets, errors named and latched.

In servo mode the arm follows each target and goes no further than the last one: a stream that dries up leaves it at rest. The
controller latches its errors; here nothing is sent again before the arm has been left and entered anew, and an error is never cleaned
for anyone: find out why first.
"""

import importlib.util
import math
import struct
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.arms.arm_lock import address_identity
from hardware.arms.plausible import Plausible
from hardware.arms.polled_gripper import PolledGripper
from hardware.arms.stopped import StoppedOnLeaving
from hardware.arms.xarm_client import connect, halt, identify
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError, ConfigError, MissingExtraError
from robo_dream.schema import Unit, configuration

JOINTS = tuple(f"joint{i}" for i in range(1, 7))
_TURN = 2 * math.pi
_MAX_SPEED = math.pi  # rad/s of every joint (data sheet)
_REACH = 0.9  # m; a joint that turns by r moves the tool by at most this times r
_MAX_STEP = 0.01  # m of the tool that the controller takes in one servo step (xArm user manual, "servo motion mode")
_SERVO_MODE, _STOPPED = 1, 4
_OK, _HAS_ERROR, _NO_ANSWER, _NOT_READY = 0, 1, 3, 9  # codes of the SDK's calls
_UNHEARD = (_NO_ANSWER, 4, 5, 6, 7)  # no answer, or one that does not belong to the question
_GARBLED = (struct.error, TypeError, IndexError, ValueError)  # what the SDK raises when an answer is too short
_OPENED = 850  # pulses of the gripper; closed is 0
_MODE_TIMEOUT = 2.0  # s


@configuration
class XarmConfig:
    """Where the arm is and how it follows. `serial` is checked on connecting; an empty one is not.

    A reading or command that is not answered within `reply_timeout` seconds is repeated once, then it is an `ArmError`. Joint ranges
    are those of the series from 2020 on (serial numbers XI1305 and up).
    """

    host: str = ""  # its address
    kind: Literal["xarm"] = "xarm"
    serial: str = ""
    gripper: Literal["none", "xarm"] = "xarm"
    gripper_speed: Annotated[int, Field(ge=1, le=5_000)] = 3000  # pulses a second
    control_dt: Annotated[float, Field(ge=0.004, le=0.1), Unit("s")] = 0.01
    max_speed: Annotated[float, Field(gt=0, le=_MAX_SPEED), Unit("rad/s")] = 1.0
    reply_timeout: Annotated[float, Field(ge=0.005, le=2), Unit("s")] = 0.05
    joint_low: tuple[float, ...] = (-_TURN, -2.042, -3.822, -_TURN, -1.692, -_TURN)
    joint_high: tuple[float, ...] = (_TURN, 2.0245, 0.1745, _TURN, math.pi, _TURN)

    def __post_init__(self) -> None:
        if self.max_speed * self.control_dt * _REACH > _MAX_STEP:
            raise ConfigError(
                f"max_speed {self.max_speed} rad/s with control_dt {self.control_dt} s moves the tool by up to "
                f"{1000 * self.max_speed * self.control_dt * _REACH:.0f} mm a step; the controller takes 10 mm. "
                "Move slower or send more often"
            )
        low, high = np.array(self.joint_low), np.array(self.joint_high)
        if low.shape != (6,) or high.shape != (6,) or not (low < high).all() or max(-low.min(), high.max()) > _TURN:
            raise ConfigError(f"joint_low {self.joint_low} and joint_high {self.joint_high} must be six pairs within -2 pi to 2 pi")


class XarmArm(StoppedOnLeaving):
    """A `RobotArm` that takes joint targets (rad, then the gripper's closure). Times are of this computer's monotonic clock."""

    def __init__(self, config: XarmConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._name = f"xArm {config.host}"
        self.action_spec = ActionSpec.joint_targets(JOINTS, config.joint_low, config.joint_high, config.control_dt)
        self._api: Any = None
        self._gripper: PolledGripper | None = None
        self._lock = threading.RLock()  # one transaction with the controller at a time
        self._stopping = threading.Event()
        self._latched = ""
        self._streaming = False
        self._target = np.zeros(6)
        self._target_closure = 0.0
        self._sent_at = 0.0

    def __enter__(self) -> "XarmArm":
        config = self._config
        if importlib.util.find_spec("xarm") is None:
            raise MissingExtraError("xArms need xarm-python-sdk, which is not installed; run `pip install 'robo-dream[xarm]'`")
        serial = identify(self._name, config.host)
        if config.serial and serial != config.serial:
            raise ArmError(f"{self._name} has the serial number {serial}; the configuration says {config.serial}. Is it the right arm?")
        self._take(address_identity("xArm", serial, config.host))
        self._latched, self._streaming = "", False
        self._stopping.clear()  # of the last leave-taking
        self._plausible = Plausible(self._name, JOINTS, low=-_TURN - 0.05, high=_TURN + 0.05, max_speed=1.3 * _MAX_SPEED)
        try:
            self._api = connect(self._name, config.host, config.reply_timeout)
            self._refuse_error()
            self._do("switching the motors on", lambda: self._api.motion_enable(True))
            self._do("choosing the servo mode", lambda: self._api.set_mode(_SERVO_MODE))
            self._do("making it ready", lambda: self._api.set_state(0))
            self._refuse_error()
            self._await_mode()
            if config.gripper == "xarm":
                self._gripper = self._open_gripper()
            self._rest()
        except BaseException:
            self._disconnect()
            self._release()
            raise
        return self

    def state(self) -> ArmState:
        """Asks for the joints, twice at most. Raises `ArmError` when no answer is whole, in time and possible; tool fields are NaN."""
        stamp, pos, vel = self._joints()
        closure = self._gripper.closure() if self._gripper else 0.0
        return ArmState.of_joints(stamp, pos, vel, closure, np.append(self._target, self._target_closure))

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Streams a target, no further from the last one than `max_speed` allows; returns what is on the wire.

        Raises `ContractError`, and `ArmError` once anything has gone wrong.
        """
        action = self.action_spec.numbers(action)
        config, api = self._config, self._connected()
        with self._lock:
            if self._latched:
                raise ArmError(f"{self._name}: {self._latched}; nothing is sent. Find out why, clear it, then connect again")
            self._stopping.clear()
            if not self._streaming:
                self._do("making it ready", lambda: api.set_state(0))
            step = config.max_speed * config.control_dt
            target = self._target + np.clip(np.clip(action[:6], config.joint_low, config.joint_high) - self._target, -step, step)
            self._streaming = True
            self._do("a target", lambda: api.set_servo_angle_j(target.tolist(), is_radian=True))
            self._target, self._sent_at = target, self._clock()
            if self._gripper:
                self._target_closure = self._gripper.move(float(action[6]))
        return np.append(target, self._target_closure)

    def stop(self) -> None:
        """Decelerates to rest, from any thread: it waits for the transaction under way, no longer.

        Raises `ArmError` when the controller did not confirm it; the arm then goes no further than its last target.
        """
        api = self._api
        if api is None:
            return
        self._stopping.set()
        if self._gripper:
            self._gripper.hold()
        with self._lock:
            if not self._streaming:
                return
            self._streaming = False
            self._do("a stop", lambda: api.set_state(_STOPPED), stop=True)
            try:
                self._rest()
            except ArmError as error:
                self._latch(str(error))

    def last_resort(self) -> str:
        """By a second connection, without the SDK. In servo mode the arm goes no further than its last target, whoever is gone."""
        halt(self._name, self._config.host)
        return f"a second connection set {self._name} to its stopped state, and it confirmed"

    def _await_mode(self) -> None:
        """Until the controller reports the servo mode, as it does five times a second."""
        end = self._clock() + _MODE_TIMEOUT
        while self._api.mode != _SERVO_MODE:
            if self._clock() > end:
                raise ArmError(
                    f"{self._name} reports mode {self._api.mode} after it was set to {_SERVO_MODE}; is another client driving it?"
                )
            time.sleep(0.01)

    def _open_gripper(self) -> PolledGripper:
        api, name = self._api, f"{self._name} gripper"

        def read() -> float:
            with self._lock:
                code, pulses = api.get_gripper_position()
            if code != _OK or pulses is None:
                raise ArmError(f"{name} does not tell its position (code {code}); is it plugged in? `gripper: none` drives without it")
            if not -50 <= pulses <= 900:
                raise ArmError(f"{name} says that it is at {pulses} pulses; allowed -50 to 900")
            return float(np.clip(1 - pulses / _OPENED, 0.0, 1.0))

        def write(closure: float) -> None:
            with self._lock:
                code = api.set_gripper_position(round((1 - closure) * _OPENED), wait=False, wait_motion=False)
            if code != _OK:
                raise ArmError(f"{name} does not take its target (code {code})")

        for doing, call in (
            ("enabling", lambda: api.set_gripper_enable(True)),
            ("choosing its mode", lambda: api.set_gripper_mode(0)),
            ("setting its speed", lambda: api.set_gripper_speed(self._config.gripper_speed)),
        ):
            code = call()
            if code != _OK:
                raise ArmError(f"{name}: {doing} failed (code {code}); is it plugged in? `gripper: none` drives without it")
        gripper = PolledGripper(name, read, write, period=0.1, max_age=1.0, clock=self._clock)
        gripper.start()
        return gripper

    def _do(self, doing: str, call: Callable[[], int], stop: bool = False) -> None:
        """One command, repeated once when its answer is lost: all of them may be given twice."""
        code = _NO_ANSWER
        with self._lock:
            for _ in range(2):
                if self._stopping.is_set() and not stop:
                    raise ArmError(f"{self._name}: {doing} was overtaken by a stop")
                try:
                    code = call()
                except _GARBLED as error:
                    raise ArmError(
                        f"{self._name}: {doing}: its answer was not whole ({error}); check the cable, then connect again"
                    ) from error
                if code not in _UNHEARD:
                    break
        if code == _OK:
            return
        problem = self._problem(code)
        self._latch(f"{doing} failed: {problem}")
        raise ArmError(f"{self._name}: {doing} failed: {problem}; find out why, clear it, then connect again")

    def _problem(self, code: int) -> str:
        """A code of the SDK in words, with the controller's own error where it tells one."""
        if code in _UNHEARD:
            return f"no true answer within {self._config.reply_timeout * 1000:.0f} ms, asked twice"
        if code in (_HAS_ERROR, _NOT_READY):
            named = self._error()
            stopped = f"the controller has stopped (state {self._api.get_state()[1]}), as after its stop button or another client's stop"
            return named or stopped
        return f"the SDK says code {code}" if code > 0 else f"the connection is lost or the SDK refused it (code {code})"

    def _error(self) -> str:
        """The controller's error in its own words, empty when there is none."""
        try:
            code, found = self._api.get_err_warn_code()
        except _GARBLED as error:
            return f"the controller does not tell its error ({error})"
        if code != _OK:
            return f"the controller does not tell its error (code {code})"
        if not found[0]:
            return ""
        from xarm.core.config.x_code import ControllerError  # pyright: ignore[reportMissingImports]

        return f"controller error {found[0]}, {ControllerError(found[0]).title['en']!r}"

    def _refuse_error(self) -> None:
        error = self._error()
        if error:
            raise ArmError(f"{self._name}: {error}; find out why, clear it in uFactory Studio, then connect again")

    def _joints(self) -> tuple[float, np.ndarray, np.ndarray]:
        api, problem = self._connected(), ""
        with self._lock:
            for attempt in range(2):
                if attempt and self._stopping.is_set():
                    break  # somebody waits to stop the arm
                try:
                    code, joints = api.get_joint_states(is_radian=True, num=2)
                    stamp = self._clock()
                    pos, vel = np.array(joints[0][:6]), np.array(joints[1][:6])
                except _GARBLED as error:
                    problem = f"its answer was not whole ({error})"
                    continue
                if code != _OK:
                    problem = self._problem(code)
                    continue
                problem = self._plausible.problem(stamp, pos, vel)
                if not problem:
                    return stamp, pos, vel
        self._latch(problem)
        raise ArmError(f"{self._name}: joints: {problem}; check the cable and the controller, then connect again")

    def _rest(self) -> None:
        """The target is where the arm is."""
        _, self._target, _ = self._joints()
        self._target_closure = self._gripper.closure() if self._gripper else 0.0

    def _latch(self, fault: str) -> None:
        self._latched = self._latched or fault

    def _connected(self) -> Any:
        if self._api is None:
            raise ArmError(f"{self._name} is not connected; use it within `with`")
        return self._api

    def _disconnect(self) -> None:
        api, gripper = self._api, self._gripper
        self._api = self._gripper = None
        if gripper:
            gripper.close()
        if api is not None:
            api.disconnect()
