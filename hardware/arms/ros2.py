"""An arm under ros2_control, by topics: joint states in, joint trajectories out. Needs no ROS on this computer, only DDS (extra `ros2`).

Every target is a trajectory of one point, due `time_from_start` from now, for a `joint_trajectory_controller`, which goes on to its last
point and holds: a stream that dries up leaves the arm there. Topics confirm nothing. What the arm does is known from `joint_states` alone,
which are stamped here as they arrive, since another computer's clock is another.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.arms.plausible import Plausible
from hardware.arms.stopped import StoppedOnLeaving
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ArmError, ConfigError, MissingExtraError
from robo_dream.schema import Unit, configuration

if TYPE_CHECKING:
    from robo_dream.ros2 import Node

_START = 5.0  # s for programs to find each other
_REST, _AT_REST = 0.05, 1.5  # rad/s; s until a stopped arm must be at rest
_SLACK = 0.1  # rad beyond its range that a joint may be


@configuration
class Ros2GripperConfig:
    """A gripper that is a joint: its positions (rad or m) when open and when closed, and its controller's topic, the arm's where empty."""

    joint: str
    open: float
    closed: float
    commands: str = ""

    def __post_init__(self) -> None:
        if self.open == self.closed or not (math.isfinite(self.open) and math.isfinite(self.closed)):
            raise ConfigError(f"the gripper is open at {self.open} and closed at {self.closed}; give two different positions")


@configuration
class Ros2Config:
    """Which joints, in the order of `world.arm`, and where they are heard and told. Topics are within `namespace`."""

    joints: tuple[str, ...]
    joint_low: tuple[float, ...]  # rad
    joint_high: tuple[float, ...]
    kind: Literal["ros2"] = "ros2"
    gripper: Ros2GripperConfig | None = None
    namespace: str = ""  # such as /left; a twin brings its own
    states: str = "/joint_states"
    commands: str = "/joint_trajectory_controller/joint_trajectory"
    domain: Annotated[int, Field(ge=0, le=101)] = 0  # ROS_DOMAIN_ID
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@-]{1,15}$")] = "lo"  # this computer alone; else such as eth0
    control_dt: Annotated[float, Field(ge=0.004, le=0.1), Unit("s")] = 0.02
    time_from_start: Annotated[float, Field(ge=0.004, le=1), Unit("s")] = 0.04
    timeout: Annotated[float, Field(gt=0, le=5), Unit("s")] = 0.1  # without a joint state
    max_speed: Annotated[float, Field(gt=0, le=100), Unit("rad/s")] = math.pi  # that a true reading can have

    def __post_init__(self) -> None:
        if not self.joints or len(self.names) != len(set(self.names)):
            raise ConfigError(f"joints {list(self.joints)} and the gripper's must be different names, at least one")
        if not len(self.joints) == len(self.joint_low) == len(self.joint_high):
            raise ConfigError(
                f"there are {len(self.joints)} joints, {len(self.joint_low)} joint_low and {len(self.joint_high)} joint_high; give one for "
                "each"
            )
        if any(low >= high for low, high in zip(self.joint_low, self.joint_high, strict=True)):
            raise ConfigError(f"joint_low {self.joint_low} must lie below joint_high {self.joint_high}")
        for name in (self.namespace, self.states, self.commands, "" if self.gripper is None else self.gripper.commands):
            if name and (not name.startswith("/") or name.endswith("/")):
                raise ConfigError(f"{name!r} is no ROS name; it begins with a / and does not end with one, such as /joint_states")

    @property
    def names(self) -> tuple[str, ...]:
        return self.joints if self.gripper is None else (*self.joints, self.gripper.joint)


@dataclass(frozen=True)
class _Heard:
    time: float
    pos: Float[np.ndarray, " joint"]
    vel: Float[np.ndarray, " joint"]
    closure: float


class Ros2Arm(StoppedOnLeaving):
    """A `RobotArm` that takes joint targets (rad, then the gripper's closure). Times are of this computer's monotonic clock."""

    def __init__(self, config: Ros2Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock = config, clock
        self._states, self._commands = config.namespace + config.states, config.namespace + config.commands
        self._name = f"arm of {self._commands} in domain {config.domain}"
        self.action_spec = ActionSpec.joint_targets(config.joints, config.joint_low, config.joint_high, config.control_dt)
        self._node: Node | None = None
        self._writers: list[tuple[list[str], Any]] = []
        self._lock, self._leave = threading.Lock(), threading.Event()
        self._heard: _Heard | None = None
        self._whole: tuple[float, np.ndarray] | None = None  # when, and the positions of all names
        self._problem = ""
        self._last: Float[np.ndarray, " joint_and_gripper"] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Ros2Arm":
        self._take(f"ROS 2 {self._name}")
        try:
            self._connect()
            self._require_alone()
        except BaseException:
            self._disconnect()
            self._release()
            raise
        return self

    def state(self) -> ArmState:
        """As last heard. Raises `ArmError` when nothing was heard for `timeout`, and when what was heard is not whole or cannot be true."""
        heard = self._fresh()
        return ArmState.of_joints(heard.time, heard.pos, heard.vel, heard.closure, self._last)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Publishes a target within the limits and returns it; raises `ContractError` for what is none, and `ArmError`."""
        action = self.action_spec.clip(self.action_spec.numbers(action))
        self._publish(action[:-1], float(action[-1]))
        self._last = action
        return action

    def stop(self) -> None:
        """Holds where it is. Where that is not known nothing is told, as the arm would go there: it ends at its last target."""
        if self._node is not None:
            heard = self._fresh()
            self._publish(heard.pos, heard.closure)
            self._last = None

    def last_resort(self) -> str:
        try:
            self._connect()
            self.stop()
            until = self._clock() + _AT_REST
            while self._clock() < until:
                if np.abs(self._fresh().vel).max() < _REST:
                    return f"the {self._name} was told to hold where it is, and its joint states say that it rests"
                time.sleep(0.02)
            raise ArmError(f"the {self._name} was told to hold where it is, and still moves")
        finally:
            self._disconnect()

    def _connect(self) -> None:
        config = self._config
        try:
            from robo_dream.ros2 import JointState, JointTrajectory, Node
        except ImportError as error:
            raise MissingExtraError(f"arms of ROS 2 need cyclonedds ({error}); run `pip install 'robo-dream[ros2]'`") from error
        self._leave.clear()
        self._heard, self._whole, self._problem, self._last = None, None, "", None
        low, high = np.subtract(config.joint_low, _SLACK), np.add(config.joint_high, _SLACK)
        self._plausible = Plausible(self._name, config.joints, low, high, 1.3 * config.max_speed)
        try:
            self._node = Node(config.domain, config.interface)
            reader = self._node.reader(self._states, JointState)
            self._writers = [
                (names, self._node.writer(config.namespace + topic, JointTrajectory)) for topic, names in self._controllers().items()
            ]
        except Exception as error:  # the library's own, of many kinds
            raise ArmError(
                f"domain {config.domain} cannot be entered on {config.interface} ({error}); name an interface that is up"
            ) from error
        self._thread = threading.Thread(target=self._listen, args=(reader,), name="joint states", daemon=True)
        self._thread.start()
        self._await_controllers()

    def _controllers(self) -> dict[str, list[str]]:
        """The joints that each topic tells."""
        config = self._config
        told = {config.commands: list(config.joints)}
        if config.gripper is not None:
            told.setdefault(config.gripper.commands or config.commands, []).append(config.gripper.joint)
        return told

    def _await_controllers(self) -> None:
        """Raises `ArmError` where nobody tells joint states, or nobody takes commands."""
        assert self._node is not None
        config, until = self._config, self._clock() + _START
        while True:
            deaf = [
                topic
                for topic, (_, writer) in zip(self._controllers(), self._writers, strict=True)
                if not writer.get_matched_subscriptions()
            ]
            if self._heard is not None and not deaf:
                break
            if self._clock() > until:
                unheard = self._problem or f"no joint states on {self._states}"
                what = unheard if self._heard is None else f"no controller takes {config.namespace}{deaf[0]}"
                raise ArmError(
                    f"the {self._name} is not there: {what}, on {config.interface}, in {_START:g} s; see `ros2 topic list`, ROS_DOMAIN_ID "
                    "and arm.interface"
                )
            time.sleep(0.01)

    def _require_alone(self) -> None:
        """Raises `ArmError` where another program may command the arm."""
        assert self._node is not None
        for topic in self._controllers():
            if num := self._node.others_publish(self._config.namespace + topic):
                raise ArmError(
                    f"{self._config.namespace}{topic} has {num} other publishers; end them first, or wait ten seconds for those that were "
                    "killed to be forgotten: two commanders on one arm fight"
                )

    def _listen(self, reader: Any) -> None:
        from robo_dream.ros2 import messages

        while not self._leave.is_set():
            for state in messages(reader, 0.05):
                self._hear(state)
                if self._leave.is_set():
                    return

    def _hear(self, state: Any) -> None:
        config, now = self._config, self._clock()
        missing = [name for name in config.names if name not in state.name]
        if len(missing) == len(config.names):  # another broadcaster's
            return
        problem = ""
        if missing:
            problem = f"joint states are of {list(state.name)[:20]}, without {missing[0]!r}"
        elif len(state.position) != len(state.name) or len(state.velocity) not in (0, len(state.name)):
            problem = f"joint states have {len(state.name)} names, {len(state.position)} positions and {len(state.velocity)} speeds"
        if problem:
            with self._lock:
                self._problem = problem
            return
        at = [list(state.name).index(name) for name in config.names]
        pos = np.array([state.position[i] for i in at])
        vel = np.array([state.velocity[i] for i in at]) if state.velocity else self._differences(now, pos)
        num, closure = len(config.joints), 0.0
        if config.gripper is not None:
            closure = (pos[num] - config.gripper.open) / (config.gripper.closed - config.gripper.open)
        problem = self._plausible.problem(now, pos[:num], vel[:num]) if math.isfinite(closure) else "the gripper's position is not finite"
        with self._lock:
            self._problem = problem
            if not problem:
                self._heard = _Heard(now, pos[:num], vel[:num], min(max(closure, 0.0), 1.0))
                self._whole = now, pos

    def _differences(self, now: float, pos: np.ndarray) -> np.ndarray:
        """Speeds, where joint states tell none."""
        before = self._whole
        return np.zeros(len(pos)) if before is None or now <= before[0] else (pos - before[1]) / (now - before[0])

    def _fresh(self) -> _Heard:
        if self._node is None:
            raise ArmError(f"the {self._name} is not connected; enter it (`with arm:`) first")
        with self._lock:
            heard, problem = self._heard, self._problem
        if problem:
            raise ArmError(f"the {self._name}: {problem}")
        assert heard is not None  # since entering
        if (age := self._clock() - heard.time) > self._config.timeout:
            raise ArmError(f"the {self._name}: the last joint state came {age:.3f} s ago; allowed {self._config.timeout} s")
        return heard

    def _publish(self, pos: Float[np.ndarray, " joint"], closure: float) -> None:
        from robo_dream.ros2 import JointTrajectory

        if self._node is None:
            raise ArmError(f"the {self._name} is not connected; enter it (`with arm:`) first")
        config = self._config
        told = dict(zip(config.joints, pos.tolist(), strict=True))
        if config.gripper is not None:
            told[config.gripper.joint] = config.gripper.open + closure * (config.gripper.closed - config.gripper.open)
        try:
            for names, writer in self._writers:
                writer.write(JointTrajectory.to(names, [float(told[name]) for name in names], config.time_from_start))
        except Exception as error:  # the library's own
            raise ArmError(f"the {self._name} cannot be told ({error})") from error

    def _disconnect(self) -> None:
        self._leave.set()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None
        if self._node is not None:
            self._node.close()
        self._node, self._writers = None, []
