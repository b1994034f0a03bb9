"""What stops an arm whose driver's process is gone, and a stop that waits for no answer."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import numpy as np
import pytest

from hardware.arms.feetech import FeetechArm
from hardware.arms.franka import FrankaArm, FrankaConfig
from hardware.arms.lerobot_robot import LeRobotArm, LeRobotConfig, LeRobotJoint
from hardware.arms.line_arm import LineArm, LineArmConfig
from hardware.arms.so101 import so101
from hardware.arms.ur import UrArm, UrConfig
from hardware.arms.xarm import XarmArm, XarmConfig
from robo_dream.embodiment import LastResort
from robo_dream.errors import ArmError
from sim.emulators.line_server import LineServer
from sim.emulators.plant import Plant
from sim.emulators.so101 import so101_bus
from sim.emulators.ur_rtde import UrEmulator
from sim.emulators.xarm import XarmEmulator
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

# A process that drives one joint on and on, and is killed: `sys.argv` names the driver and where its arm is.
_DRIVE = """
import sys, time
import numpy as np
from {module} import *
from hardware.arms.so101 import so101
with {arm} as arm:
    at = arm.state().joint_pos
    target = np.append(at, arm.state().gripper)
    while True:
        target[0] += {step}
        arm.send(target)
        print("sent", flush=True)
        time.sleep(arm.action_spec.control_dt)
"""


@dataclass
class Case:
    """An emulated arm, what its process runs, and a driver for the last resort."""

    plant: Plant
    module: str
    arm: str
    anew: LastResort
    says: str
    step: float = 0.005
    moved: list[float] = field(default_factory=list)


def line(plant: Plant, stack: ExitStack) -> Case:
    server = stack.enter_context(LineServer(plant))
    config = f"LineArm(LineArmConfig({server.port}, timeout=2.0))"
    return Case(plant, "hardware.arms.line_arm", config, LineArm(LineArmConfig(server.port)), "second connection", step=0.01)


def feetech(plant: Plant, stack: ExitStack) -> Case:
    pytest.importorskip("scservo_sdk", reason="pip install 'robo-dream[so101]'")
    bus = stack.enter_context(so101_bus(plant))
    arm = f"FeetechArm(so101({bus.port!r}, reply_timeout=0.2, control_dt=0.4))"
    return Case(
        plant, "hardware.arms.feetech", arm, FeetechArm(so101(bus.port, reply_timeout=0.2, control_dt=0.4)), "opened anew", step=0.2
    )


def ur(plant: Plant, stack: ExitStack) -> Case:
    pytest.importorskip("rtde_control", reason="pip install 'robo-dream[ur]'")
    stack.enter_context(UrEmulator(plant, "127.0.8.1"))
    arm = "UrArm(UrConfig('127.0.8.1', max_age=0.3, watchdog=2.0))"
    return Case(plant, "hardware.arms.ur", arm, UrArm(UrConfig("127.0.8.1", watchdog=2.0)), "dashboard")


def xarm(plant: Plant, stack: ExitStack) -> Case:
    pytest.importorskip("xarm", reason="pip install 'robo-dream[xarm]'")
    stack.enter_context(XarmEmulator(plant, "127.0.8.2"))
    arm = "XarmArm(XarmConfig('127.0.8.2', gripper='none', reply_timeout=0.3))"
    return Case(plant, "hardware.arms.xarm", arm, XarmArm(XarmConfig("127.0.8.2")), "second connection")


CASES: dict[str, tuple[str, Callable[[Plant, ExitStack], Case]]] = {
    "line": ("jaco", line), "feetech": ("so101", feetech), "ur": ("ur5e_shapes", ur), "xarm": ("xarm6", xarm),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    model, make = CASES[request.param]
    with ExitStack() as stack:
        yield make(stack.enter_context(Plant(stack.enter_context(World(SceneConfig(arm=model))))), stack)


def test_after_its_driver_was_killed_the_arm_is_stopped_over_another_connection_that_says_so(case: Case) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVE.format(module=case.module, arm=case.arm, step=case.step)], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    for _ in range(15 if case.step < 0.1 else 4):
        assert driver.stdout.readline() == "sent\n"
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert case.says in case.anew.last_resort()
    time.sleep(0.5)
    there = case.plant.joints().pos
    time.sleep(0.5)
    np.testing.assert_allclose(case.plant.joints().pos, there, atol=0.01)
    assert np.abs(case.plant.joints().vel).max() < 0.05
    driver.stdout.close()


def test_a_last_resort_that_reaches_nobody_does_not_claim_to_have_acted() -> None:
    for arm in (LineArm(LineArmConfig(1)), UrArm(UrConfig("127.0.8.9")), XarmArm(XarmConfig("127.0.8.9"))):
        with pytest.raises(ArmError, match="does not answer"):
            arm.last_resort()


class Follower:
    """A LeRobot robot that nobody connected."""

    is_connected, is_calibrated = False, True

    def connect(self, calibrate: bool = True) -> None:
        raise AssertionError("connecting anew takes the torque away")

    def disconnect(self) -> None: ...

    def get_observation(self) -> dict[str, float]:
        raise AssertionError("it is not connected")

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        raise AssertionError("it is not connected")

    def __str__(self) -> str:
        return "follower"


def test_an_arm_that_nobody_else_can_tell_to_stop_says_so_and_what_its_controller_does() -> None:
    lerobot = LeRobotArm(Follower(), LeRobotConfig((LeRobotJoint("a", -1.0, 1.0),)))
    for arm, name, does in (
        (FrankaArm(FrankaConfig("127.0.8.9")), "Franka 127.0.8.9", "when 20 packets"),
        (lerobot, "follower", "hold there"),
    ):
        said = arm.last_resort()
        assert f"nobody can tell {name} to stop" in said and does in said
        assert "nobody here has confirmed" in said and "cut its power" in said


def test_a_stop_is_on_the_wire_of_a_line_arm_while_a_question_waits_for_its_answer() -> None:
    heard: list[tuple[float, str]] = []
    hello, reading = {"arm": "x", "names": ["a"], "low": [-1.0], "high": [1.0]}, {"pos": [0.5], "vel": [0.0], "gripper": 0.0}
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, peer.makefile("rb") as lines, suppress(OSError):
                for raw in lines:
                    question = json.loads(raw)
                    heard.append((time.monotonic(), question["do"]))
                    answers = {"hello": hello, "stop": {}} | ({"read": reading} if len(heard) < 3 else {})
                    if question["do"] in answers:
                        peer.sendall(json.dumps({"id": question["id"], **answers[question["do"]]}).encode() + b"\n")

        threading.Thread(target=serve, daemon=True).start()
        arm = LineArm(LineArmConfig(server.getsockname()[1], timeout=3.0))
        arm.__enter__()

        def look() -> None:
            with suppress(ArmError):
                arm.state()

        threading.Thread(target=look, daemon=True).start()
        time.sleep(0.3)
        moment = time.monotonic()
        with suppress(ArmError):
            arm.stop()
        assert next(at for at, what in heard if what == "stop") - moment < 1.0, "the read that was never answered took 3 s"
        arm._disconnect()


def test_a_line_arms_program_takes_targets_from_one_connection_and_a_stop_from_any() -> None:
    with World() as world:
        plant = Plant(world)
        server, first, second = LineServer(plant), object(), object()
        target = json.dumps({"id": 1, "do": "target", "pos": plant.joints().pos.tolist(), "gripper": 0.0}).encode()
        assert b"error" not in server.reply(target, first)
        assert b"another connection commands" in server.reply(target, second)
        assert b"error" not in server.reply(b'{"id": 2, "do": "stop"}', second)
        server.gone(first)
        assert b"error" not in server.reply(target, second)
