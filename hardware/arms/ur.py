"""Universal Robots e-Series arms through `ur-rtde`: a stream of servoJ targets under the controller's own watchdog.

The controller stops the arm by itself when the stream it was promised dries up, in a protective stop and in an emergency stop. All three
are seen here, latched, and nothing is sent again before the arm has been left and entered anew.
"""

import contextlib
import importlib.util
import math
import threading
import time
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.arms.arm_lock import address_identity
from hardware.arms.plausible import Plausible
from hardware.arms.robotiq import RobotiqGripper
from hardware.arms.stopped import StoppedOnLeaving
from hardware.arms.ur_dashboard import ask
from hardware.arms.ur_process import UrProcess, UrReading
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError, ConfigError, MissingExtraError
from robo_dream.schema import Unit, configuration

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
_RUNNING = 7  # robot mode
_PROGRAM_RUNS = 1 << 1  # robot status bit
_SAFETY = {  # safety status bits that stop the arm, worst first ("Real-Time Data Exchange Guide", Universal Robots)
    9: "fault", 8: "violation", 7: "emergency stop", 6: "emergency stop of the robot", 5: "emergency stop of the cell",
    4: "safeguard stop", 2: "protective stop", 3: "recovery mode", 10: "stop for safety",
}  # fmt: skip
_MAX_SPEED = 3.1416  # rad/s of an e-Series joint
_MAX_ACCELERATION = 40.0  # rad/s^2, the most that the controller's scripts accept
_TURN = 2 * math.pi
_CONNECT_TIMEOUT, _STOP_TIMEOUT, _CALL_TIMEOUT, _DASHBOARD_TIMEOUT = 15.0, 0.3, 0.15, 0.3  # s
_LONGEST_STEP = 0.1  # s; a caller that was away for longer gets no larger step than this


@configuration
class UrConfig:
    """Where the arm is and how it follows. `model` and `serial` are checked on connecting; an empty one is not.

    `watchdog` is how many commands a second the controller must get while it is being moved, else it stops the arm. `max_speed` bounds
    the step of each command. `lookahead` and `gain` are servoj's (0.03 to 0.2 s, 100 to 2000: script manual, "servoj").
    """

    host: str = ""  # its address
    kind: Literal["ur"] = "ur"
    model: str = "UR5"
    serial: str = ""
    gripper: Literal["none", "robotiq"] = "none"
    gripper_speed: Annotated[int, Field(ge=0, le=255)] = 255
    gripper_force: Annotated[int, Field(ge=0, le=255)] = 50
    activate_gripper: bool = False
    control_dt: Annotated[float, Field(gt=0, le=1), Unit("s")] = 0.02
    rate: Annotated[float, Field(ge=1, le=500), Unit("Hz")] = 500.0  # Hz at which the controller tells its joints; 125 on a slow computer
    max_speed: Annotated[float, Field(gt=0, le=_MAX_SPEED), Unit("rad/s")] = 1.0
    deceleration: Annotated[float, Field(gt=0, le=100), Unit("m/s^2")] = 4.0  # m/s^2 of the tool, in a stop
    lookahead: Annotated[float, Field(ge=0.03, le=0.2), Unit("s")] = 0.1
    gain: Annotated[float, Field(ge=100, le=2000)] = 300.0
    watchdog: Annotated[float, Field(ge=1, le=500), Unit("Hz")] = 10.0
    max_age: Annotated[float, Field(gt=0, le=1), Unit("s")] = 0.05  # s of the newest joint reading
    joint_low: tuple[float, ...] = (-_TURN, -_TURN, -math.pi, -_TURN, -_TURN, -_TURN)
    joint_high: tuple[float, ...] = (_TURN, _TURN, math.pi, _TURN, _TURN, _TURN)

    def __post_init__(self) -> None:
        if 2 * self.max_speed / self.lookahead > _MAX_ACCELERATION:
            raise ConfigError(
                f"max_speed {self.max_speed} rad/s with lookahead {self.lookahead} s may need "
                f"{2 * self.max_speed / self.lookahead:.0f} rad/s^2; the controller allows {_MAX_ACCELERATION}. "
                "Move slower or look further ahead"
            )
        if self.watchdog * self.control_dt > 0.5:
            raise ConfigError(
                f"watchdog is {self.watchdog} Hz with a command each {self.control_dt} s; allowed is 1 Hz to half of the commands a second"
            )
        if 2 / self.rate > self.max_age:
            raise ConfigError(
                f"rate {self.rate} Hz with max_age {self.max_age} s; the rate is 1 to 500 Hz and two readings must fit in the age"
            )
        low, high = np.array(self.joint_low), np.array(self.joint_high)
        if low.shape != (6,) or high.shape != (6,) or not (low < high).all() or max(-low.min(), high.max()) > _TURN:
            raise ConfigError(f"joint_low {self.joint_low} and joint_high {self.joint_high} must be six pairs within -2 pi to 2 pi")


class UrArm(StoppedOnLeaving):
    """A `RobotArm` that takes joint targets (rad, then the gripper's closure). Times are of this computer's monotonic clock."""

    def __init__(self, config: UrConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._name = f"UR {config.host}"
        self.action_spec = ActionSpec.joint_targets(JOINTS, config.joint_low, config.joint_high, config.control_dt)
        self._process: UrProcess | None = None
        self._gripper: RobotiqGripper | None = None
        self._lock = threading.Lock()  # round what follows; never held during a call
        self._latched = ""
        self._streaming = False
        self._target = np.zeros(6)
        self._target_closure = 0.0
        self._sent_at = 0.0

    def __enter__(self) -> "UrArm":
        config = self._config
        if importlib.util.find_spec("rtde_control") is None:
            raise MissingExtraError("Universal Robots arms need ur-rtde, which is not installed; run `pip install 'robo-dream[ur]'`")
        self._take(address_identity("UR", self._check_controller(), config.host))
        self._latched, self._streaming = "", False
        self._plausible = Plausible(self._name, JOINTS, low=-_TURN - 0.05, high=_TURN + 0.05, max_speed=1.1 * _MAX_SPEED)
        process: UrProcess | None = None
        try:
            process = UrProcess(self._name)
            process.call("connecting", "receive", config.host, config.rate, timeout=_CONNECT_TIMEOUT)
            if not process.call("uploading the program", "control", config.host, config.rate, config.watchdog, timeout=_CONNECT_TIMEOUT):
                raise ArmError(f"{self._name}: the controller refused its watchdog; without one the arm is not moved")
            self._process = process
            if config.gripper == "robotiq":
                gripper = RobotiqGripper(config.host, config.activate_gripper, config.gripper_speed, config.gripper_force, _CALL_TIMEOUT)
                gripper.open()
                self._gripper = gripper
            self._rest(self._clock() + 1.0)
        except BaseException:
            self._process = process
            self._disconnect()
            self._release()
            raise
        return self

    def state(self) -> ArmState:
        """The newest joints. Raises `ArmError` when none has come for `max_age`, or what came cannot be; tool fields are NaN."""
        reading = self._joints(self._clock() + 2 * self._config.max_age)
        closure = self._gripper.polled.closure() if self._gripper else 0.0
        with self._lock:
            target = np.append(self._target, self._target_closure)
        return ArmState.of_joints(reading.time, reading.pos, reading.vel, closure, target)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Streams a target, no further from the last one than `max_speed` allows; returns what is on the wire.

        The first one after a stop opens the stream: from then on the controller stops the arm unless another one comes within
        1 / `watchdog` seconds, until `stop`. Raises `ContractError`, and `ArmError` once anything has gone wrong.
        """
        action = self.action_spec.numbers(action)
        process = self._connected()
        self._refuse_latched()
        config, now = self._config, self._clock()
        with self._lock:
            desired = np.clip(action[:6], config.joint_low, config.joint_high)
            elapsed = min(max(now - self._sent_at, config.control_dt), _LONGEST_STEP) if self._streaming else config.control_dt
            target = self._target + np.clip(desired - self._target, -config.max_speed * elapsed, config.max_speed * elapsed)
            self._streaming = True
        try:
            done = process.call(
                "a target", "servo", target.tolist(), config.control_dt, config.lookahead, config.gain, timeout=_CALL_TIMEOUT
            )
        except ArmError as error:
            self._latch(str(error))
            raise
        if not done:
            end = self._clock() + 0.03  # s; the reason comes by another connection
            while not self._controller_fault() and self._clock() < end:
                time.sleep(0.001)
            self._latch(self._controller_fault() or "the controller did not take a target")
            self._refuse_latched()
        closure = self._gripper.polled.move(float(np.clip(action[6], 0.0, 1.0))) if self._gripper else 0.0
        with self._lock:
            self._target, self._target_closure, self._sent_at = target, closure, now
        return np.append(target, closure)

    def stop(self) -> None:
        """Decelerates to rest, from any thread. Through the program while that answers, else by ending it on the dashboard.

        The command is on the wire at once; this returns when the arm rests, within 0.6 s. Raises `ArmError` when neither way confirmed
        the stop; the controller's watchdog then stops the arm 1 / `watchdog` seconds after the last target.
        """
        process = self._process
        if process is None:
            return
        with self._lock:
            was_streaming, self._streaming = self._streaming, False
        if self._gripper:
            self._gripper.polled.hold()
        if not was_streaming:
            return
        stopped = False
        if process.alive:
            with contextlib.suppress(ArmError):
                stopped = process.call("a stop", "stop", self._config.deceleration, timeout=_STOP_TIMEOUT)
        if not stopped and (not process.alive or not self._controller_fault()):
            self._latch("a stop was not confirmed by the control program")
            ask(self._config.host, ["stop"], _DASHBOARD_TIMEOUT)
        try:
            self._rest(self._clock() + 2 * self._config.max_age)
        except ArmError as error:
            self._latch(str(error))

    def last_resort(self) -> str:
        """By the dashboard, which ends the program that moves the arm. The controller's watchdog has stopped it by then, if it can."""
        dog = f"its own watchdog stops it {1 / self._config.watchdog:.2f} s after the last target"
        try:
            stopped, state = ask(self._config.host, ["stop", "programState"], _DASHBOARD_TIMEOUT)
        except ArmError as error:
            raise ArmError(f"{error}; {dog}") from error
        if not state.startswith("STOPPED"):
            raise ArmError(f"{self._name} says {stopped!r} and {state!r} to a stop on its dashboard; {dog}")
        return f"the dashboard of {self._name} ended its program, and confirmed; {dog}"

    def _check_controller(self) -> str:
        """Asks the dashboard who is there and whether it can move; a controller that is latched is not connected to. Its serial number."""
        config = self._config
        model, serial, mode, safety, remote = ask(
            config.host, ["get robot model", "get serial number", "robotmode", "safetystatus", "is in remote control"], _DASHBOARD_TIMEOUT
        )
        if config.model and model != config.model:
            raise ArmError(f"{self._name} is a {model}; the configuration says {config.model}. Is it the right address?")
        if config.serial and serial != config.serial:
            raise ArmError(f"{self._name} has the serial number {serial}; the configuration says {config.serial}. Is it the right arm?")
        safety = safety.partition(": ")[2]
        if safety not in ("NORMAL", "REDUCED"):
            raise ArmError(f"{self._name} is in {safety}; find out why, clear it on the teach pendant, then connect again")
        if mode.partition(": ")[2] != "RUNNING":
            raise ArmError(f"{self._name} says {mode!r}; switch it on and release its brakes on the teach pendant")
        if remote == "false":
            raise ArmError(f"{self._name} is under local control; switch it to remote control on the teach pendant")
        return serial

    def _joints(self, until: float) -> UrReading:
        """The newest reading that is fresh and plausible; waits for one until `until`."""
        process = self._connected()
        while True:
            reading = process.reading()
            problem = "it has not told its joints yet"
            if reading is not None:
                age = self._clock() - reading.time
                problem = f"its newest joints are {age:.3f} s old" if age > self._config.max_age else ""
                if not problem:
                    with self._lock:
                        problem = self._plausible.problem(reading.time, reading.pos, reading.vel)
                if not problem:
                    return reading
            if not process.alive or self._clock() > until:
                problem = problem if process.alive else "its client has ended"
                raise ArmError(f"{self._name}: {problem}; check the cable and the controller, then connect again")
            time.sleep(0.001)

    def _controller_fault(self) -> str:
        """What the controller says is wrong, empty when all is well."""
        reading = self._process.reading() if self._process else None
        if reading is None or not reading.connected:
            return "the connection is lost"
        for bit, name in _SAFETY.items():
            if reading.safety_bits >> bit & 1:
                return f"the controller is in {name}"
        if reading.robot_mode != _RUNNING:
            return f"the controller is in robot mode {reading.robot_mode}, not running"
        if not reading.status_bits & _PROGRAM_RUNS:
            return "the control program has ended, as it does when no command comes in time or somebody stops it"
        return ""

    def _refuse_latched(self) -> None:
        fault = self._latched or self._controller_fault()
        if not fault:
            try:
                self._joints(self._clock() + 2 * self._config.max_age)
                return
            except ArmError as error:
                self._latch(str(error))
                raise
        self._latch(fault)
        raise ArmError(f"{self._name}: {self._latched}; nothing is sent. Find out why, clear it on the pendant, then connect again")

    def _latch(self, fault: str) -> None:
        with self._lock:
            self._latched = self._latched or fault.removeprefix(f"{self._name}: ")

    def _rest(self, until: float) -> None:
        """The target is where the arm is."""
        reading = self._joints(until)
        with self._lock:
            self._target = reading.pos
            self._target_closure = self._gripper.polled.closure() if self._gripper else 0.0

    def _connected(self) -> UrProcess:
        if self._process is None:
            raise ArmError(f"{self._name} is not connected; use it within `with`")
        return self._process

    def _disconnect(self) -> None:
        process, gripper = self._process, self._gripper
        self._process = self._gripper = None
        if gripper:
            gripper.close()
        if process is None:
            return
        if process.alive and not self._latched:
            process.close()
        else:
            process.kill()
