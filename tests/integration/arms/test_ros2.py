"""An arm of ROS 2's topics: the real driver, real DDS on the loopback, an emulated controller, and a plant that the test moves."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cyclonedds")

from hardware.arms.ros2 import Ros2Arm, Ros2Config, Ros2GripperConfig
from robo_dream.config import dump, parse
from robo_dream.embodiment import RobotArm
from robo_dream.errors import ArmError, ConfigError, ContractError
from robo_dream.ros2 import Header, JointState, JointTrajectory, Node, sockets
from sim.emulators.plant import Plant
from sim.emulators.ros2_controller import Ros2Controller
from sim.tabletop.world import World

DOMAIN = 42
NAMESPACE = f"/robo_dream_test_{os.getpid()}"
GRIPPER = Ros2GripperConfig("finger", open=0.04, closed=0.0)


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    with World() as world:
        yield Plant(world)


@pytest.fixture
def config(plant: Plant) -> Ros2Config:
    names = plant.world.scene.joint_names
    low, high = (-2 * np.pi,) * len(names), (2 * np.pi,) * len(names)
    return Ros2Config(tuple(names), low, high, gripper=GRIPPER, namespace=NAMESPACE, domain=DOMAIN, timeout=1.0)


@pytest.fixture
def controller(plant: Plant, config: Ros2Config) -> Iterator[Ros2Controller]:
    with plant.lock:
        plant.world.home()
    plant.set_target(plant.world.measured[:-1], 0.0)
    plant.advance(0.1)
    with serving(plant, config) as controller:
        yield controller


def serving(plant: Plant, config: Ros2Config) -> Ros2Controller:
    names = (*config.joints, GRIPPER.joint)
    return Ros2Controller(plant, names, GRIPPER.open, GRIPPER.closed, NAMESPACE + config.states, NAMESPACE + config.commands, DOMAIN)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5.0
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_it_goes_where_it_is_told_and_says_where_it_is(plant: Plant, config: Ros2Config, controller: Ros2Controller) -> None:
    with Ros2Arm(config) as arm:
        assert isinstance(arm, RobotArm) and arm.action_spec.kind == "joint_target"
        before = arm.state()
        np.testing.assert_allclose(before.joint_pos, plant.joints().pos, atol=1e-6)
        assert before.gripper == pytest.approx(0.0, abs=0.02) and np.isnan(before.tool_pos).all() and before.joint_target is None
        target = np.append(before.joint_pos + 0.05, 0.5)
        np.testing.assert_allclose(arm.send(target), target)
        until(lambda: np.allclose(plant.target, target, atol=1e-9))
        for _ in range(40):  # in steps, as an arm moves
            plant.advance(0.05)
            time.sleep(0.012)
        until(lambda: np.allclose(arm.state().joint_pos, target[:-1], atol=0.01))
        np.testing.assert_allclose(arm.state().joint_target, target[:-1])
        assert arm.state().gripper == pytest.approx(0.5, abs=0.05) and controller.refused == []


def test_stop_holds_where_it_is_and_leaving_stops(plant: Plant, config: Ros2Config, controller: Ros2Controller) -> None:
    with Ros2Arm(config) as arm:
        there = arm.state().joint_pos
        for end in (arm.stop, lambda: None):
            arm.send(np.append(there + 0.3, 0.0))
            until(lambda: np.allclose(plant.target[:-1], there + 0.3))
            end()
            if end is arm.stop:
                until(lambda: np.allclose(plant.target[:-1], plant.joints().pos, atol=1e-6))
    until(lambda: np.allclose(plant.target[:-1], plant.joints().pos, atol=1e-6))


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.zeros(6), np.full(7, np.inf)])
def test_what_is_no_target_is_refused(plant: Plant, config: Ros2Config, controller: Ros2Controller, bad: np.ndarray) -> None:
    with Ros2Arm(config) as arm:
        before = plant.target
        with pytest.raises(ContractError):
            arm.send(bad)
        np.testing.assert_array_equal(plant.target, before)


def test_the_stop_of_an_arm_that_fell_silent_tells_nothing(plant: Plant, config: Ros2Config, controller: Ros2Controller) -> None:
    arm = Ros2Arm(replace(config, timeout=0.2))
    with pytest.raises(ArmError, match=r"the last joint state came 0\.\d+ s ago; allowed 0.2 s"), arm:
        arm.state()
        controller.is_mute, before = True, plant.target
        time.sleep(0.3)
        with pytest.raises(ArmError, match="the last joint state came"):
            arm.stop()  # an old pose is no place to go to
        np.testing.assert_array_equal(plant.target, before)
        controller.is_mute = False
        until(lambda: arm.state() is not None if not silent(arm) else False)
        controller.is_mute = True
        time.sleep(0.3)
        arm.state()


def silent(arm: Ros2Arm) -> bool:
    try:
        arm.state()
    except ArmError:
        return True
    return False


def test_joint_states_that_cannot_be_true_are_named_and_never_believed(config: Ros2Config) -> None:
    names, num = [*config.names], len(config.names)
    told = {"names": names, "pos": [0.0] * num, "vel": [0.0] * num}
    leave, lock = threading.Event(), threading.Lock()
    node = Node(DOMAIN)
    writer, heeds = node.writer(NAMESPACE + config.states, JointState), node.reader(NAMESPACE + config.commands, JointTrajectory)

    def tell() -> None:
        while not leave.wait(0.01):
            with lock:
                writer.write(JointState(Header(), list(told["names"]), list(told["pos"]), list(told["vel"]), []))

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        with Ros2Arm(config) as arm:
            assert heeds.get_matched_publications()
            for changes, said in (
                ({"names": [*names[:-2], "other", names[-1]]}, f"without '{names[-2]}'"),
                ({"pos": [0.0] * (num - 1)}, "names, 6 positions"),
                ({"vel": [0.0] * 2}, "positions and 2 speeds"),
                ({"pos": [np.nan, *[0.0] * (num - 1)]}, f"{names[0]} is not finite"),
                ({"pos": [*[0.0] * (num - 1), np.inf]}, "the gripper's position is not finite"),
                ({"pos": [0.0, 99.0, *[0.0] * (num - 2)]}, f"{names[1]} says 99 rad, out of its range"),
                ({"pos": [0.0, 1.0, *[0.0] * (num - 2)]}, f"{names[1]} says it jumped by 1.00 rad"),
                ({"vel": [0.0, 9.0, *[0.0] * (num - 2)]}, f"{names[1]} says 9 rad/s"),
            ):
                good = dict(told)
                with lock:
                    told.update(changes)
                until(lambda: silent(arm))
                with pytest.raises(ArmError, match=said):
                    arm.state()
                with lock:
                    told.update(good)
                until(lambda: not silent(arm))
            with lock:  # another broadcaster's: neither believed nor a fault, but silence of ours is noticed
                told.update(names=["wheel"], pos=[7.0], vel=[])
            time.sleep(0.2)
            arm.state()
            until(lambda: silent(arm))
            with pytest.raises(ArmError, match="the last joint state came"):
                arm.state()
            with lock:  # in another order, among others, without speeds: as a broadcaster may have it
                told.update(names=["wheel", *reversed(names)], pos=[7.0, *[0.01] * num], vel=[])
            until(lambda: not silent(arm) and np.allclose(arm.state().joint_pos, 0.01))
    finally:
        leave.set()
        thread.join()
        node.close()


def test_who_is_not_there_and_who_is_told_by_others_is_named(config: Ros2Config, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware.arms.ros2._START", 0.5)
    with pytest.raises(ArmError, match=r"is not there: no joint states on /robo_dream_test_\d+/joint_states, on lo, in 0.5 s; see"):
        Ros2Arm(config).__enter__()
    with serving(plant, config):
        deaf = replace(config, commands="/nobody")
        with pytest.raises(ArmError, match=r"is not there: no controller takes /robo_dream_test_.*/nobody"):
            Ros2Arm(deaf).__enter__()
        other = Node(DOMAIN)
        writer = other.writer(NAMESPACE + config.commands, JointTrajectory)
        try:
            until(lambda: bool(writer.get_matched_subscriptions()))
            time.sleep(0.2)
            with pytest.raises(ArmError, match="has 1 other publishers; end them first"):
                Ros2Arm(config).__enter__()
        finally:
            other.close()
        apart = replace(config, gripper=replace(GRIPPER, commands="/gripper"))
        ours, other = Node(DOMAIN), Node(DOMAIN)
        heeds, writer = ours.reader(NAMESPACE + "/gripper", JointTrajectory), other.writer(NAMESPACE + "/gripper", JointTrajectory)
        try:
            until(lambda: bool(heeds.get_matched_publications()) and bool(writer.get_matched_subscriptions()))
            with pytest.raises(ArmError, match=r"/gripper has 1 other publishers"):
                Ros2Arm(apart).__enter__()
        finally:
            ours.close()
            other.close()
        with Ros2Arm(config), pytest.raises(ArmError, match="is driven already"):
            Ros2Arm(config).__enter__()


def test_on_the_loopback_no_socket_hears_another_device() -> None:
    node = Node(DOMAIN)
    try:
        assert node.writer(NAMESPACE + "/x", JointState) is not None
        devices = [device for _, device in sockets(DOMAIN)]
        assert len(devices) >= 2 and set(devices) == {"lo"}
    finally:
        node.close()


def test_an_interface_is_a_name_of_one_that_is_there(config: Ros2Config) -> None:
    with pytest.raises(ConfigError, match="interface"):
        parse(Ros2Config, {**dump(config), "interface": 'lo"/><x'}, "the test")
    with pytest.raises(ArmError, match=r"domain 43 cannot be entered on nowhere0 \(.*\); name an interface that is up"):
        Ros2Arm(replace(config, domain=43, interface="nowhere0")).__enter__()


def test_an_arm_whose_driver_is_killed_is_held_by_another(plant: Plant, config: Ros2Config, controller: Ros2Controller) -> None:
    there = plant.joints().pos
    program = (
        "import json, sys, time, numpy as np\n"
        "from hardware.arms.ros2 import Ros2Arm, Ros2Config\n"
        "from robo_dream.config import parse\n"
        "config = parse(Ros2Config, json.loads(sys.argv[1]), 'the test')\n"
        "with Ros2Arm(config) as arm:\n"
        "    arm.send(np.array(json.loads(sys.argv[2])))\n"
        "    print('sent', flush=True)\n"
        "    time.sleep(60)\n"
    )
    given = json.dumps(dump(config))
    target = [*(there + 0.3).tolist(), 0.0]
    command = [sys.executable, "-c", program, given, json.dumps(target)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout is not None and child.stdout.readline() == "sent\n", child.stdout.read()
    until(lambda: np.allclose(plant.target[:-1], there + 0.3))
    child.kill()
    child.wait()
    time.sleep(0.1)
    assert "was told to hold where it is, and its joint states say that it rests" in Ros2Arm(config).last_resort()
    np.testing.assert_allclose(plant.target[:-1], plant.joints().pos, atol=0.02)


def test_a_controller_refuses_what_it_cannot_follow(plant: Plant, config: Ros2Config, controller: Ros2Controller) -> None:
    names = [*config.names]
    for trajectory, said in (
        (JointTrajectory.to(names[:-1], [0.0] * (len(names) - 1), 0.1), "the joints are"),
        (JointTrajectory.to(names, [0.0], 0.1), "at least one point of"),
        (JointTrajectory.to(names, [np.nan] * len(names), 0.1), "are not finite"),
    ):
        with pytest.raises(ContractError, match=said):
            controller.take(trajectory)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"joint_low": (0.0,)}, "give one for each"),
        ({"joints": ("a",) * 6}, "different names"),
        ({"joint_low": (9.0,) * 6}, "must lie below"),
        ({"namespace": "left"}, "'left' is no ROS name"),
        ({"states": "/states/"}, "'/states/' is no ROS name"),
        ({"gripper": replace(GRIPPER, commands="grip")}, "'grip' is no ROS name"),
    ],
)
def test_a_bad_configuration_is_refused(config: Ros2Config, changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(config, **changes)
    with pytest.raises(ConfigError, match="two different positions"):
        Ros2GripperConfig("finger", 0.1, 0.1)
