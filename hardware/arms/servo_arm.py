"""An arm of position servos on one bus: ticks to radians, limits, checks of every reading, and stops that wait for nobody."""

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from hardware.arms.arm_lock import port_identity
from hardware.arms.stopped import StoppedOnLeaving
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError, ConfigError
from robo_dream.safety.limits import rest_reasons
from robo_dream.schema import Name, Unit, Words, configuration

TICKS = 4096  # a turn of the servos that are driven here
_TICKS_PER_RADIAN = TICKS / (2 * math.pi)
_SLACK = 0.1  # rad (closure) by which an arm may stand out of its range when it is taken hold of
_JUMP = 0.1, 8.0  # rad, and rad/s from the reading before: nothing on such a bus moves faster
_ASTRAY = 0.5  # rad beside the way to its goal, where no joint comes by itself however long nobody looked
_ARRIVED = 0.1  # s by which a servo comes later than its speed says
_FAR_STOP = 0.15  # rad; a stop sends no joint further than this from where it was last told to be, whatever it says


@configuration
class JointServo:
    """A joint's servo: its number on the bus, its position in ticks at 0 rad, its sense, and the joint's range in radians."""

    name: Name
    id: Annotated[int, Field(ge=0, le=252)]
    low: Annotated[float, Field(ge=-100, le=100), Unit("rad")]
    high: Annotated[float, Field(ge=-100, le=100), Unit("rad")]
    zero: int = TICKS // 2
    sign: Literal[-1, 1] = 1

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"joint {self.name}: low is {self.low} rad and high {self.high} rad; low must be the smaller one")
        _check_range(self)

    @property
    def scale(self) -> float:
        """Ticks a radian."""
        return self.sign * _TICKS_PER_RADIAN


@configuration
class GripperServo:
    """The gripper's servo: its number on the bus and its positions in ticks when open and when closed."""

    id: Annotated[int, Field(ge=0, le=252)]
    opened: int
    closed: int
    name: Name = "gripper"

    def __post_init__(self) -> None:
        if self.opened == self.closed:
            raise ConfigError(f"{self.name}: opened and closed are both {self.opened} ticks; measure them at the two ends")
        _check_range(self)

    @property
    def zero(self) -> int:
        return self.opened

    @property
    def scale(self) -> float:
        """Ticks a closure."""
        return self.closed - self.opened

    @property
    def low(self) -> float:
        return 0.0

    @property
    def high(self) -> float:
        return 1.0


@configuration
class ServoArmConfig:
    """An arm on a bus. `port` is the bus adapter's device, `joints` go from base to tool.

    A reading that has not come whole after `reply_timeout` seconds is asked for once more; then it is an `ArmError`. The servos
    themselves move no faster than `max_speed`. Leaving holds the pose; within `rest_tolerance` of `rest_pose` (rad) it lets go.
    """

    port: str
    joints: Annotated[tuple[JointServo, ...], Field(min_length=1), Words("the servos from base to tool, at least one")]
    gripper: GripperServo
    baud: Annotated[int, Field(ge=9600, le=10_000_000)] = 1_000_000
    control_dt: Annotated[float, Field(gt=0, le=1), Unit("s")] = 0.02
    reply_timeout: Annotated[float, Field(gt=0, le=0.5), Unit("s")] = 0.008  # s; twice it is less than a period
    max_speed: Annotated[float, Field(gt=0, le=10), Unit("rad/s")] = 3.0
    rest_pose: tuple[float, ...] | None = None
    rest_tolerance: Annotated[float, Field(ge=0, le=0.5), Unit("rad")] = 0.05

    def __post_init__(self) -> None:
        ids = [servo.id for servo in (*self.joints, self.gripper)]
        if len(set(ids)) != len(ids):
            raise ConfigError(f"servo numbers are {ids}; each servo needs its own, from 0 to 252")
        if 2 * self.reply_timeout > self.control_dt:
            raise ConfigError(
                f"reply_timeout is {self.reply_timeout} s with control_dt {self.control_dt} s; a reading and its repetition must fit"
            )
        if self.rest_pose is not None and len(self.rest_pose) != len(self.joints):
            raise ConfigError(f"rest_pose has {len(self.rest_pose)} angles; this arm has {len(self.joints)} joints")


@dataclass(frozen=True)
class BusReading:
    """What every servo said in one exchange, in the order of the joints, the gripper last. Ticks, and ticks a second."""

    time: float  # monotonic seconds at which the last reply had arrived
    pos: Int[np.ndarray, " servo"]
    speed: Float[np.ndarray, " servo"]
    goal: Int[np.ndarray, " servo"]
    has_torque: np.ndarray  # bool (servo,)
    alarm: tuple[str, ...]  # of each servo, empty when all is well
    temperature: Float[np.ndarray, " servo"] | None = None  # degrees Celsius; None where asking would take longer than there is


class BusError(Exception):
    """An exchange that failed: what was wrong, in words. The arm turns it into an `ArmError` when it happens twice."""


class ServoLine(ABC):
    """The servos as their protocol sees them; every call is one exchange on the bus. All but `close` may raise `BusError`."""

    @abstractmethod
    def open(self) -> None:
        """Connects and checks that every servo is there and of the right kind; raises `ArmError`, or `MissingExtraError`."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def read(self) -> BusReading: ...

    @abstractmethod
    def write(self, goal: Int[np.ndarray, " servo"]) -> None:
        """Sends every servo there. Nothing comes back: what was heard is seen in the next reading's `goal`."""

    @abstractmethod
    def set_torque(self, on: bool) -> None: ...


class ServoArm(StoppedOnLeaving):
    """A `RobotArm` that takes joint targets (radians, then the closure), over a `ServoLine`.

    Entering connects, reads the joints and takes hold where they are. `state` raises `ArmError` when a servo is silent, late,
    garbled, in alarm, without torque, or does not hold the goal that was sent; no reading is ever guessed or repeated. Any thread
    may `stop` at any time: it waits for one exchange at most.
    """

    kind = "servo arm"

    def __init__(self, name: str, config: ServoArmConfig, line: ServoLine, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._config = config
        self._line = line
        self._clock = clock
        self._bus, self._gate = threading.Lock(), threading.Lock()
        self._servos = (*config.joints, config.gripper)
        self._zero = np.array([servo.zero for servo in self._servos], np.float64)
        self._scale = np.array([servo.scale for servo in self._servos])
        low, high = np.array([servo.low for servo in self._servos]), np.array([servo.high for servo in self._servos])
        self._ends = self._zero + self._scale * np.stack([low, high])  # ticks
        units = ("rad",) * len(config.joints) + ("1",)
        self.action_spec = ActionSpec("joint_target", tuple(servo.name for servo in self._servos), units, low, high, config.control_dt)
        self._entered = False
        self._last: BusReading | None = None
        self._goal: np.ndarray | None = None  # ticks that were sent last
        self._goal_unheard = 0  # readings in a row in which a servo had another goal
        self._stopped = False  # since the last `send`

    def __enter__(self) -> "ServoArm":
        self._last = self._goal = None
        self._take(port_identity(self.kind, self._config.port))
        try:
            self._line.open()
            self._entered = True
            self._take_hold()
        except BaseException:
            self._entered = False
            self._line.close()
            self._release()
            raise
        return self

    def state(self) -> ArmState:
        """One exchange with every servo. Tool and tool target are NaN: `robo_dream.control.cartesian.with_tool` knows them."""
        reading, goal = self._read()
        self._check(reading, goal)
        pos, target = self._values(reading.pos), self._values(reading.goal if goal is None else goal)
        vel = (reading.speed / self._scale)[:-1]
        return ArmState.of_joints(reading.time, pos[:-1], vel, float(pos[-1]), target, reading.temperature)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Starts towards `action`, clipped to the limits; returns what is on the wire. Raises `ContractError`, `ArmError`."""
        spec = self.action_spec
        action = spec.numbers(action)
        goal = self._ticks(action)
        self._twice(lambda: self._write(goal))
        self._stopped = False
        return self._values(goal)

    def stop(self) -> None:
        """Sends every servo to where it is now; told again, it stays there. Raises `ArmError` when the arm cannot be told."""
        with self._gate, self._bus:  # whoever comes now waits at the gate, so that at most one exchange is under way
            if not self._entered:
                return
            goal = self._goal
            if not self._stopped or goal is None:
                goal = self._here()
            self._twice_now(lambda: self._write(goal))
            self._stopped = True

    def last_resort(self) -> str:
        """By opening the bus anew, which a process that was killed no longer holds: every servo is told to hold where it stands."""
        with self._line_alone():
            return f"the bus on {self._config.port} was opened anew and every servo told to hold where it stood; they confirmed it"

    @contextmanager
    def _line_alone(self) -> Iterator[None]:
        """Entered, and left without another word to the servos: they hold."""
        self.__enter__()
        try:
            yield
        finally:
            self._disconnect()
            self._release()

    def _rests(self) -> bool:
        """Whether it stands where it may be let go of."""
        rest = self._config.rest_pose
        return rest is not None and not rest_reasons(self.state(), np.asarray(rest), self._config.rest_tolerance)

    def _here(self) -> np.ndarray:
        """Where to stop: what the servos say, else where they were last seen (by now behind the arm, but near), or have long arrived."""
        try:
            reading = self._line.read()
            if not self._implausible(reading):
                self._last = reading
        except BusError:
            pass
        if self._last is None:
            raise ArmError(f"{self._name}: cannot stop, no servo has answered yet; switch the arm's power off")
        here = self._values(self._last.pos)
        if self._goal is not None:
            told = self._values(self._goal)
            way = float(np.abs(told - here)[:-1].max())
            if self._clock() - self._last.time > _ARRIVED + way / self._config.max_speed:
                return self._goal
            here[:-1] = np.clip(here, told - _FAR_STOP, told + _FAR_STOP)[:-1]
        return self._ticks(here)

    def _take_hold(self) -> None:
        reading, _ = self._read()
        for servo, value in zip(self._servos, self._values(reading.pos), strict=True):
            if not servo.low - _SLACK <= value <= servo.high + _SLACK:
                raise ArmError(
                    f"{self._name}: {servo.name} stands at {value:.3f}, far out of its range {servo.low:.3f} to {servo.high:.3f}; "
                    "its zero or sign is wrong, or the arm was forced there: calibrate, or move it by hand"
                )
        self._check_alarms(reading)
        goal, unheard = self._ticks(self._values(reading.pos)), np.ones(len(self._servos), bool)
        for _ in range(2):
            if unheard.any():  # a write to all servos is not answered
                self._twice(lambda: self._write(goal))
                unheard = self._read()[0].goal != goal
        if unheard.any():
            servo = self._servos[int(np.argmax(unheard))]
            raise ArmError(f"{self._name}: {servo.name} (servo {servo.id}) does not take its goal, told twice; check its cable")
        self._twice(lambda: self._line.set_torque(True))
        self._stopped, self._goal_unheard = True, 0
        self._check(*self._read())

    def _read(self) -> tuple[BusReading, np.ndarray | None]:
        """A reading that is whole and can follow the one before, asked for twice at most; and the goal that was sent before it."""
        problem = ""
        for _ in range(2):
            with self._turn():
                try:
                    reading = self._line.read()
                except BusError as error:
                    problem = str(error)
                    continue
                problem = self._implausible(reading)
                if not problem:
                    self._last = reading
                    return reading, self._goal
        raise ArmError(f"{self._name}: {problem}; asked twice. Check the cable, the power and the servo, then connect again")

    def _implausible(self, reading: BusReading) -> str:
        """Why the reading cannot follow the last one, empty when it can."""
        if self._last is None:
            return ""
        now, last = self._values(reading.pos)[:-1], self._values(self._last.pos)[:-1]
        goal = last if self._goal is None else self._values(self._goal)[:-1]
        moved, limit = np.abs(now - last), _JUMP[0] + _JUMP[1] * (reading.time - self._last.time)
        astray = np.maximum(np.minimum(last, goal) - now, now - np.maximum(last, goal))
        if (moved <= limit).all() and (astray <= _ASTRAY).all():
            return ""
        joint = int(np.argmax(moved))
        return f"{self._servos[joint].name} (servo {self._servos[joint].id}) says it jumped by {moved[joint]:.2f} rad"

    def _check(self, reading: BusReading, goal: np.ndarray | None) -> None:
        self._check_alarms(reading)
        for servo, has_torque in zip(self._servos, reading.has_torque, strict=True):
            if not has_torque:
                raise ArmError(
                    f"{self._name}: {servo.name} (servo {servo.id}) has lost its torque, as after a dip of its supply; "
                    "support the arm, check the supply, then connect again"
                )
        if goal is None or np.array_equal(reading.goal, goal):
            self._goal_unheard = 0
            return
        self._goal_unheard += 1
        servo = self._servos[int(np.argmax(reading.goal != goal))]
        if self._goal_unheard > 1:
            raise ArmError(f"{self._name}: {servo.name} (servo {servo.id}) does not take its goal, told twice; check its cable")
        self._twice(self._write_again)  # lost on the wire; the next reading tells

    def _check_alarms(self, reading: BusReading) -> None:
        for servo, alarm in zip(self._servos, reading.alarm, strict=True):
            if alarm:
                raise ArmError(
                    f"{self._name}: {servo.name} (servo {servo.id}) reports {alarm}; relieve it, let it cool, then connect again"
                )

    def _write(self, goal: np.ndarray) -> None:
        self._line.write(goal)
        self._goal = goal

    def _write_again(self) -> None:
        if self._goal is not None:
            self._line.write(self._goal)

    def _twice(self, exchange: Callable[[], None]) -> None:
        """Does one exchange, once more where it fails, letting a stop in between."""
        self._twice_now(exchange, self._turn)

    def _twice_now(self, exchange: Callable[[], None], turn: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        for attempt in range(2):
            with turn():
                try:
                    return exchange()
                except BusError as error:
                    if attempt:
                        raise ArmError(f"{self._name}: {error}; tried twice. Check the cable and the power, then connect again") from error

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The bus for one exchange, after a stop that waits for it."""
        with self._gate:
            self._bus.acquire()
        try:
            if not self._entered:
                raise ArmError(f"{self._name} is not connected; use it within `with`")
            yield
        finally:
            self._bus.release()

    def _let_go(self) -> None:
        if self._rests():
            self._twice(lambda: self._line.set_torque(False))

    def _disconnect(self) -> None:
        self._entered = False
        self._line.close()

    def _ticks(self, values: Float[np.ndarray, " servo"]) -> Int[np.ndarray, " servo"]:
        """Within the limits, whole ticks included."""
        ticks = np.rint(self._zero + self._scale * values)
        return np.clip(ticks, np.ceil(self._ends.min(axis=0)), np.floor(self._ends.max(axis=0))).astype(np.int64)

    def _values(self, ticks: np.ndarray) -> Float[np.ndarray, " servo"]:
        return (ticks - self._zero) / self._scale


def _check_range(servo: JointServo | GripperServo) -> None:
    for end in (servo.low, servo.high):
        ticks = servo.zero + servo.scale * end
        if not 0 <= ticks <= TICKS - 1:
            raise ConfigError(
                f"{servo.name}: {end:.3f} is {ticks:.0f} ticks; a servo turns from 0 to {TICKS - 1}. Narrow the range or turn its horn"
            )
