"""A MuJoCo arm that moves in real time in a thread of its own: the physics behind every emulated wire."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import mujoco
import numpy as np
from jaxtyping import Bool, Float

from robo_dream.errors import ContractError
from sim.tabletop.world import World

GRIPPER_SPEED = 2.5  # closures a second
_TICK = 0.002  # s of sleep between looks at the clock
_MAX_BEHIND = 0.1  # s; a computer that falls further behind slows the world instead of making it jump


@dataclass(frozen=True)
class JointReading:
    """Where the arm is: rad, rad/s and N m (N) for each joint; the hand's closure (0 open, 1 closed), its speed and effort."""

    time: float  # monotonic seconds of this computer
    pos: Float[np.ndarray, " joint"]
    vel: Float[np.ndarray, " joint"]
    effort: Float[np.ndarray, " joint"]
    gripper: float
    gripper_vel: float  # closures a second
    gripper_effort: float


@dataclass(frozen=True)
class Contact:
    """Two bodies that touch, by name, and the force with which they do."""

    first: str
    second: str
    force: float  # N, along the normal


@dataclass(frozen=True)
class _Order:
    target: Float[np.ndarray, " joint_and_gripper"]
    max_speed: Float[np.ndarray, " joint_and_gripper"]


class Plant:
    """The arm of `world`, under torque and holding where it stands when entered; `speed` seconds of physics pass in one real second.

    Every method may be called from any thread. `lock` is held while physics moves: hold it to look at `world`, but not for long (a wire
    waits for nothing, so draw pictures from a `state` in a world of their own). Without entering, nothing moves but by `advance`.
    """

    def __init__(self, world: World, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.world = world
        self.lock = threading.RLock()
        self.time_lost = 0.0  # s of physics that this computer was too slow for
        self._speed = speed
        self._clock = clock
        self._timestep = float(world.model.opt.timestep)
        self._servos = [*([int(servo)] for servo in world.scene.servos), [int(servo) for servo in world.scene.finger_servos]]
        self._gains = world.model.actuator_gainprm.copy(), world.model.actuator_biasprm.copy()
        self._gravcomp = world.model.body_gravcomp.copy()
        self._torque = np.ones(len(self._servos), bool)
        self._order = _Order(world.joint_target, np.full(len(self._servos), np.inf))
        self._order_lock = threading.Lock()
        self._watchers: list[Callable[[JointReading], None]] = []
        self._failure: Exception | None = None
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None
        self._latest = self._reading()

    def __enter__(self) -> "Plant":
        self._leave.clear()
        self._thread = threading.Thread(target=self._run, name="plant", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._leave.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def joints(self) -> JointReading:
        """After the last step of physics; waits for nothing. Raises what stopped the physics, if anything did."""
        if self._failure is not None:
            raise self._failure
        return self._latest

    @property
    def target(self) -> Float[np.ndarray, " joint_and_gripper"]:
        """Where the arm was last told to be, the closure last."""
        return self._order.target.copy()

    def state(self) -> Float[np.ndarray, " state"]:
        """The world's state now, for `set_state` of another world of the same scene."""
        with self.lock:
            return self.world.state

    def set_target(
        self,
        joint_pos: Float[np.ndarray, " joint"],
        gripper: float | None = None,
        max_speed: Float[np.ndarray, " joint"] | float = np.inf,
    ) -> None:
        """Sends the servos there, no faster than `max_speed` (rad/s of each joint). Raises `ContractError` for what is not finite."""
        joint_pos = np.asarray(joint_pos, np.float64)
        if joint_pos.shape != (len(self._servos) - 1,) or not np.isfinite(joint_pos).all():
            raise ContractError(f"joint target {joint_pos} must be {len(self._servos) - 1} finite angles (rad)")
        with self._order_lock:
            closure = self._order.target[-1] if gripper is None else np.clip(gripper, 0.0, 1.0)
            self._order = _Order(np.append(joint_pos, closure), np.append(np.broadcast_to(max_speed, joint_pos.shape), GRIPPER_SPEED))

    def set_torque(self, on: bool, joint: int | None = None) -> None:
        """Switches all servos, or one (the gripper is the last). An arm without any torque carries its weight no longer."""
        with self.lock, self._order_lock:
            which = range(len(self._servos)) if joint is None else [joint]
            model = self.world.model
            for i in which:
                if on and not self._torque[i]:  # it takes hold where it is
                    servos, target = self.world.joint_target, self._order.target.copy()
                    servos[i] = target[i] = self.world.measured[i]
                    self._order = _Order(target, self._order.max_speed)
                    self.world.set_servos(servos)
                self._torque[i] = on
                for actuator in self._servos[i]:
                    model.actuator_gainprm[actuator] = self._gains[0][actuator] if on else 0.0
                    model.actuator_biasprm[actuator] = self._gains[1][actuator] if on else 0.0
            model.body_gravcomp[:] = self._gravcomp if self._torque.any() else 0.0

    @property
    def torque(self) -> Bool[np.ndarray, " joint_and_gripper"]:
        with self.lock:
            return self._torque.copy()

    def contacts(self) -> tuple[Contact, ...]:
        """Everything that touches something now."""
        with self.lock:
            model, data = self.world.model, self.world.data
            found, force = [], np.zeros(6)
            for i in range(data.ncon):
                mujoco.mj_contactForce(model, data, i, force)
                first, second = (model.body(int(model.geom_bodyid[geom])).name for geom in data.contact[i].geom)
                found.append(Contact(first, second, float(force[0])))
            return tuple(found)

    def watch(self, watcher: Callable[[JointReading], None]) -> None:
        """Calls `watcher` after every step of physics, in the plant's thread: what a test measures unsafe motion by."""
        with self.lock:
            self._watchers.append(watcher)

    def advance(self, duration: float) -> None:
        """Moves physics by about `duration` seconds at once; what the thread does all the time."""
        with self.lock:
            for _ in range(round(duration / self._timestep)):
                self._step()

    def _step(self) -> None:
        world, order = self.world, self._order
        servos = world.joint_target
        reach = order.max_speed * self._timestep
        world.set_servos(servos + np.clip(order.target - servos, -reach, reach))
        mujoco.mj_step(world.model, world.data)
        if world.data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number:
            raise ContractError(f"the physics of the arm became unstable at {world.time:.3f} s, on its way to {order.target}")
        self._latest = self._reading()
        for watcher in self._watchers:
            watcher(self._latest)

    def _run(self) -> None:
        last = self._clock()
        owed = 0.0  # s of physics
        try:
            while not self._leave.wait(_TICK):
                now = self._clock()
                owed += (now - last) * self._speed
                last = now
                if owed > _MAX_BEHIND:
                    self.time_lost += owed - _MAX_BEHIND
                    owed = _MAX_BEHIND
                while owed >= self._timestep:
                    owed -= self._timestep
                    with self.lock:
                        self._step()
        except Exception as error:  # told to whoever asks next
            self._failure = error

    def _reading(self) -> JointReading:
        measured, moving, scene = self.world.measured, self.world.measured_speed, self.world.scene
        force = self.world.data.actuator_force
        grip = float(force[scene.finger_servos].mean()) if len(scene.finger_servos) else 0.0
        return JointReading(self._clock(), measured[:-1], moving[:-1], force[scene.servos], float(measured[-1]), float(moving[-1]), grip)
