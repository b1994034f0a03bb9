"""Each driver on its bench: the real driver and its vendor's packets, an emulated arm, MuJoCo behind it, all in one simulated time.

`ur` runs the driver and the emulated controller; ur-rtde itself, in C++ with a clock of its own, is stood in for (its unmodified client
runs in real time in `benchmarks/fault_campaign.py --real` and tests/integration/arms).
"""

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import numpy as np

from hardware.arms.dynamixel import DynamixelArm, DynamixelConfig
from hardware.arms.feetech import FeetechArm
from hardware.arms.lerobot_robot import LeRobotArm, LeRobotConfig, LeRobotJoint
from hardware.arms.line_arm import LineArm, LineArmConfig
from hardware.arms.so101 import RANGES, so101
from hardware.arms.ur import UrArm, UrConfig
from hardware.arms.xarm import XarmArm, XarmConfig
from robo_dream.embodiment import RobotArm
from sim.emulators import ur_dashboard
from sim.emulators.dynamixel_bus import DynamixelBus
from sim.emulators.faults import Fault, FaultInjector
from sim.emulators.feetech_bus import FeetechBus
from sim.emulators.line_server import LineServer
from sim.emulators.plant import Plant
from sim.emulators.plant_arm import PlantArm
from sim.emulators.servo_bus import ServoBus
from sim.emulators.so101 import MOUNTS
from sim.emulators.ur_controller import UrController
from sim.emulators.xarm_controller import XarmController
from sim.emulators.xarm_gripper import XarmGripper
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

from .lockstep import Lockstep
from .wires import LineSocket, Replies, UrClient, XarmPort, port_handler

_SOFT = 0.6  # s; the servos of the Jaco are softer than those of the others
SILENCES = ("lost", "unplug", "late")  # faults of a wire that, lasting, leave a driver without a word


@dataclass(frozen=True)
class Bench:
    """An arm that was never moved, its driver not yet entered. `max_speed` is the driver's own limit (rad/s)."""

    driver_name: str
    clock: Lockstep
    plant: Plant
    driver: RobotArm
    inject: Callable[[Fault], None]
    read_time: float  # s that the driver may take to give up on an answer
    max_speed: float = np.inf
    has_hand: bool = True
    settle: float = 0.35  # s that its servos take to come to rest once commands have


@dataclass(frozen=True)
class Kind:
    """How a bench is made, its arm's model, and the faults that its wire can have."""

    model: str
    wire: Callable[[ExitStack, Lockstep, Plant], Bench]
    faults: tuple[str, ...]
    extra: str = ""  # module of the vendor's client


@contextmanager
def bench(name: str) -> Iterator[Bench]:
    """A new one of `KINDS`."""
    kind = KINDS[name]
    world, parameters = _world(kind.model)
    for parameter, value in parameters.items():  # faults may have changed them
        getattr(world.model, parameter)[:] = value
    world.home()
    with ExitStack() as stack:
        clock = Lockstep()
        plant = Plant(world, clock=clock.now)
        clock.attach(plant)
        yield kind.wire(stack, clock, plant)


@lru_cache
def _world(model: str) -> tuple[World, dict[str, np.ndarray]]:
    """Compiled once, with what a run may change of its model."""
    world = World(SceneConfig(arm=model))
    changed = ("dof_damping", "actuator_gainprm", "actuator_biasprm", "body_gravcomp")
    return world, {name: getattr(world.model, name).copy() for name in changed}


def _mujoco(stack: ExitStack, clock: Lockstep, plant: Plant) -> Bench:
    return Bench("mujoco", clock, plant, PlantArm(plant), lambda fault: None, 0.0, settle=_SOFT)


def _line(stack: ExitStack, clock: Lockstep, plant: Plant) -> Bench:
    config, server, faults = LineArmConfig(1), LineServer(plant), FaultInjector(clock=clock.now)
    wire = {"create_connection": lambda address, timeout: LineSocket(Replies(clock, faults), server)}
    stack.enter_context(patch("hardware.arms.line_arm.socket", _module("socket", wire)))
    return Bench("line", clock, plant, LineArm(config, clock.now), faults.inject, config.timeout, settle=_SOFT)


def _feetech(stack: ExitStack, clock: Lockstep, plant: Plant) -> Bench:
    config = so101("emulated")
    bus = FeetechBus(plant, MOUNTS, clock=clock.now)
    return _servo_bench("feetech", "scservo_sdk", stack, bus, FeetechArm(config, clock.now), clock, config.reply_timeout)


def _dynamixel(stack: ExitStack, clock: Lockstep, plant: Plant) -> Bench:
    same = so101("")
    config = DynamixelConfig("emulated", same.joints, same.gripper, watchdog=0.2)
    bus = DynamixelBus(plant, MOUNTS, clock=clock.now)
    return _servo_bench("dynamixel", "dynamixel_sdk", stack, bus, DynamixelArm(config, clock.now), clock, config.reply_timeout)


def _servo_bench(name: str, sdk: str, stack: ExitStack, bus: ServoBus, driver: RobotArm, clock: Lockstep, reply_timeout: float) -> Bench:
    from importlib import import_module

    handler = port_handler(import_module(sdk).PortHandler, clock, bus)
    stack.enter_context(patch(f"{sdk}.PortHandler", handler))
    clock.lives.append(bus.look_at_faults)
    return Bench(name, clock, bus.plant, driver, bus.inject, 2 * reply_timeout)


def _lerobot(stack: ExitStack, clock: Lockstep, plant: Plant) -> Bench:
    config = LeRobotConfig(tuple(LeRobotJoint(name, low, high) for name, (low, high) in RANGES.items()))
    faults = FaultInjector(clock=clock.now)
    driver = LeRobotArm(FollowerRobot(clock, plant, faults), config, clock.now)
    return Bench("lerobot", clock, plant, driver, faults.inject, config.max_read_time)


class FollowerRobot:
    """What LeRobot calls a robot, on the plant itself: an exchange that fails raises, as its buses do."""

    is_calibrated = True

    def __init__(self, clock: Lockstep, plant: Plant, faults: FaultInjector) -> None:
        self._clock, self._plant, self._faults, self.is_connected = clock, plant, faults, False
        self._rng = np.random.default_rng(0)

    def connect(self, calibrate: bool = True) -> None:
        self.is_connected = True

    def disconnect(self) -> None:
        self.is_connected = False

    def get_observation(self) -> Mapping[str, Any]:
        self._exchange()
        now = self._plant.joints()
        degrees = np.rad2deg(now.pos)
        if self._faults.strike("corrupt"):
            degrees[self._rng.integers(len(degrees))] += self._rng.uniform(-90.0, 90.0)
        said = {f"{name}.pos": float(value) for name, value in zip(RANGES, degrees, strict=True)}
        return {**said, "gripper.pos": 100 * (1 - now.gripper)}

    def send_action(self, action: dict[str, float]) -> Mapping[str, Any]:
        self._exchange()
        self._plant.set_target(np.deg2rad([action[f"{name}.pos"] for name in RANGES]), 1 - action["gripper.pos"] / 100)
        return action

    def _exchange(self) -> None:
        late = self._faults.strike("late")
        self._clock.wait(late.delay if late else 0.002)
        if self._faults.strike("lost") or self._faults.lasts("unplug"):
            raise ConnectionError("There is no status packet!")


def _ur(stack: ExitStack, clock: Lockstep, plant: Plant) -> Bench:
    config, faults = UrConfig("127.0.0.1", rate=250.0), FaultInjector(clock=clock.now)
    controller = UrController(plant.joints().pos, faults, lambda *what, **more: None)

    def live() -> None:
        now = plant.joints()
        controller.measured, controller.measured_speed = now.pos, now.vel
        controller.step(clock.now())
        plant.set_target(controller.motion.pos)

    def ask(host: str, lines: list[str], timeout: float) -> list[str]:
        if faults.lasts("unplug") or faults.lasts("lost"):
            clock.wait(timeout)
            from robo_dream.errors import ArmError

            raise ArmError("the dashboard server does not answer")
        return [ur_dashboard.answer(line, controller, "UR5", "1", True) for line in lines]

    clock.lives.append(live)
    stack.enter_context(patch("hardware.arms.ur.UrProcess", lambda name: UrClient(clock, controller, Replies(clock, faults), 0.004)))
    stack.enter_context(patch("hardware.arms.ur.ask", ask))
    stack.enter_context(patch("hardware.arms.ur.time", _module("time", {"sleep": clock.wait})))
    return Bench("ur", clock, plant, UrArm(config, clock.now), faults.inject, 2 * config.max_age, config.max_speed, has_hand=False)


def _xarm(stack: ExitStack, clock: Lockstep, plant: Plant) -> Bench:
    from xarm.core.wrapper import UxbusCmdTcp
    from xarm.wrapper import XArmAPI

    config, faults = XarmConfig("127.0.0.1", gripper="none"), FaultInjector(clock=clock.now)
    controller = XarmController(plant.joints().pos, XarmGripper(0.0), faults, lambda *what, **more: None)

    def live() -> None:
        now = plant.joints()
        controller.measured, controller.measured_speed = now.pos, now.vel
        controller.step(clock.now())
        plant.set_target(controller.motion.pos)

    def connect(name: str, host: str, reply_timeout: float) -> Any:
        """The SDK as it is after connecting, but for its threads."""
        api = XArmAPI(host, is_radian=True, do_not_open=True)
        core = api._arm
        core._stream = XarmPort(Replies(clock, faults), controller)
        core.arm_cmd, core._stream_type = UxbusCmdTcp(core._stream), "socket"
        core.arm_cmd.set_protocol_identifier(2)
        core._enable_report = False
        api.set_timeout(reply_timeout)
        clock.lives.append(lambda: core.__dict__.update(_mode=controller.mode, _state=controller.state))  # as its reports would
        return api

    clock.lives.append(live)
    times = {"sleep": clock.wait, "monotonic": clock.now, "time": clock.now}
    stack.enter_context(patch("xarm.core.wrapper.uxbus_cmd_tcp.time", _module("time", times)))
    stack.enter_context(patch("hardware.arms.xarm.time", _module("time", {"sleep": clock.wait})))
    stack.enter_context(patch("hardware.arms.xarm.identify", lambda name, host: ""))
    stack.enter_context(patch("hardware.arms.xarm.connect", connect))
    driver = XarmArm(config, clock.now)
    return Bench("xarm", clock, plant, driver, faults.inject, 2 * config.reply_timeout, config.max_speed, has_hand=False)


def _module(name: str, replaced: Mapping[str, Any]) -> types.SimpleNamespace:
    """A standard module with some of its functions replaced."""
    from importlib import import_module

    return types.SimpleNamespace(**{**vars(import_module(name)), **replaced})


_BYTES = ("late", "lost", "corrupt", "truncated", "unplug")
KINDS = {
    "mujoco": Kind("jaco", _mujoco, ()),
    "line": Kind("jaco", _line, _BYTES),
    "feetech": Kind("so101", _feetech, (*_BYTES, "mute", "error"), "scservo_sdk"),
    "dynamixel": Kind("so101", _dynamixel, (*_BYTES, "mute", "error"), "dynamixel_sdk"),
    "lerobot": Kind("so101", _lerobot, ("late", "lost", "corrupt", "unplug")),
    "ur": Kind("ur5e_shapes", _ur, (*_BYTES, "mute", "stop"), "rtde_control"),
    "xarm": Kind("xarm6", _xarm, (*_BYTES, "mute", "error", "stop"), "xarm"),
}
