"""An arm behind lines of JSON: the real driver against the real server and a plant whose physics the test moves."""

import json
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from hardware.arms.line_arm import LineArm, LineArmConfig
from robo_dream.embodiment import RobotArm
from robo_dream.errors import ArmError, ConfigError, ContractError
from sim.emulators.line_server import LineServer
from sim.emulators.plant import Plant
from sim.tabletop.world import World

PATIENT = 2.0  # s; a busy machine


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    with World() as world:
        yield Plant(world)


@pytest.fixture
def server(plant: Plant) -> Iterator[LineServer]:
    with plant.lock:
        plant.world.home()
    plant.set_target(plant.world.measured[:-1], 0.0)
    plant.advance(0.1)
    with LineServer(plant) as server:
        yield server


def test_arm_says_who_it_is_and_where_and_goes_where_it_is_sent(plant: Plant, server: LineServer) -> None:
    with LineArm(LineArmConfig(server.port, "jaco", timeout=PATIENT)) as arm:
        assert isinstance(arm, RobotArm) and arm.action_spec.size == 7 and arm.action_spec.kind == "joint_target"
        before = arm.state()
        np.testing.assert_allclose(before.joint_pos, plant.world.measured[:-1])
        assert before.joint_target is None and np.isnan(before.tool_pos).all()
        target = np.append(before.joint_pos + 0.05, 0.5)
        np.testing.assert_allclose(arm.send(target), target)
        plant.advance(2.0)
        np.testing.assert_allclose(arm.state().joint_pos, target[:-1], atol=0.01)
        np.testing.assert_allclose(arm.state().joint_target, target[:-1])


def test_stop_holds_where_it_is_and_leaving_stops(plant: Plant, server: LineServer) -> None:
    with LineArm(LineArmConfig(server.port, timeout=PATIENT)) as arm:
        there = arm.state().joint_pos
        arm.send(np.append(there + 0.3, 0.0))
        plant.advance(0.1)
        arm.stop()
        arm.stop()
        np.testing.assert_allclose(plant.target[:-1], plant.joints().pos)
        arm.send(np.append(there + 0.3, 0.0))
    np.testing.assert_allclose(plant.target[:-1], plant.joints().pos)


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.zeros(6), np.full(7, np.inf)])
def test_what_is_no_target_is_refused_and_never_sent(plant: Plant, server: LineServer, bad: np.ndarray) -> None:
    with LineArm(LineArmConfig(server.port, timeout=PATIENT)) as arm:
        before = plant.target
        with pytest.raises(ContractError):
            arm.send(bad)
        np.testing.assert_array_equal(plant.target, before)


def test_another_arm_than_the_configured_one_is_an_error(server: LineServer) -> None:
    with pytest.raises(ArmError, match="says it is 'jaco'; the configuration names 'ur5e'"):
        LineArm(LineArmConfig(server.port, "ur5e", timeout=PATIENT)).__enter__()


def test_nobody_there_is_an_error_that_names_the_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ArmError, match=str(port)):
        LineArm(LineArmConfig(port)).__enter__()


@pytest.mark.parametrize("port", [0, -1, 70000])
def test_port_that_is_none_is_an_error(port: int) -> None:
    with pytest.raises(ConfigError, match="port"):
        LineArmConfig(port)


HELLO = {"arm": "x", "names": ["a"], "low": [-1.0], "high": [1.0]}
GOOD = {"pos": [0.5], "vel": [0.0], "gripper": 0.0}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "did not answer read"),
        (b"not json\n", "nonsense"),
        (json.dumps({"id": 3}).encode() + b"\n", "has no joints"),
        (json.dumps({"id": 3, **GOOD, "pos": [0.5, 0.5]}).encode() + b"\n", "expected 1 finite numbers"),
        (json.dumps({"id": 3, **GOOD, "pos": [float("nan")]}).encode() + b"\n", "expected 1 finite numbers"),
        (json.dumps({"id": 3, "error": "motor is hot"}).encode() + b"\n", "motor is hot"),
        (json.dumps({"id": 2, **GOOD, "pos": [9.0]}).encode() + b"\n", "did not answer read"),  # an answer to an earlier question
    ],
)
def test_lost_late_and_corrupt_answers_are_errors_and_never_a_stale_position(answer: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            peer, _ = server.accept()
            with peer, peer.makefile("rb") as lines:
                for number, each in ((1, HELLO), (2, GOOD)):
                    lines.readline()
                    peer.sendall(json.dumps({"id": number, **each}).encode() + b"\n")
                lines.readline()
                peer.sendall(answer)
                done.wait(PATIENT)

        threading.Thread(target=serve, daemon=True).start()
        arm = LineArm(LineArmConfig(server.getsockname()[1], timeout=0.2))
        arm.__enter__()
        with pytest.raises(ArmError, match=words):
            arm.state()
        done.set()
