"""What can go wrong between an xArm and its driver, through the unmodified SDK, measured in the physics behind it."""

import socket
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from hardware.arms.xarm import XarmArm, XarmConfig
from robo_dream.errors import ArmError, ConfigError, ContractError, MissingExtraError
from sim.emulators.faults import Fault
from sim.emulators.xarm import XarmEmulator

pytest.importorskip("xarm", reason="pip install 'robo-dream[xarm]'")

HOST = "127.0.5.2"
CONFIG = XarmConfig(HOST, reply_timeout=0.15)  # a shared computer may pause an emulated controller for longer than a real one would
STATED = 2 * CONFIG.reply_timeout + 0.3  # s until `ArmError`; the last 0.3 for the test's own computer


@pytest.fixture
def bench(make_bench):
    return make_bench("xarm6", lambda plant: XarmEmulator(plant, HOST), XarmArm(CONFIG))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("lost"),
        Fault("late", delay=1.0),
        Fault("truncated", count=1),
        Fault("unplug"),
        Fault("unplug", duration=0.8),
        Fault("corrupt"),
    ],
    ids=["lost", "late", "truncated", "unplugged", "unplugged a while", "corrupt"],
)
def test_a_wire_that_fails_is_an_error_in_time_and_a_still_arm(bench, fault):
    with suppress(ArmError), bench.arm:
        took, error = bench.swing_until_error(fault, 5.0)
        assert error is not None and HOST in str(error)
        assert took < (3.0 if fault.kind == "corrupt" else STATED), "of corrupt bytes some change nothing that matters"
        bench.refuses()
    bench.assert_safe()


@pytest.mark.parametrize("fault", [Fault("corrupt", count=8), Fault("lost", count=1), Fault("late", delay=0.02, duration=0.5)])
def test_a_short_disturbance_is_got_over_or_an_error_but_never_a_wrong_position(bench, fault):
    with suppress(ArmError), bench.arm:
        bench.swing_until_error(fault, 1.5)
    bench.assert_safe()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("stop", duration=0.2), "controller error 2, 'The Emergency IO"),
        (Fault("mute", joint=2, duration=0.2), "controller error 13, 'Servo motor 3 error'"),
        (Fault("error", code=23, duration=0.2), "controller error 23, 'Joints Angle Exceed Limit'"),
        (Fault("error", code=31, duration=0.2), "controller error 31, 'Collision Caused Abnormal Current'"),
    ],
    ids=["emergency stop", "mute servo", "joint limit", "collision"],
)
def test_an_error_of_the_controller_is_named_latched_and_never_cleaned(bench, fault, words):
    with bench.arm:
        took, error = bench.swing_until_error(fault, 3.0)
        assert words in str(error) and took < STATED
        assert np.isfinite(bench.arm.state().joint_pos).all(), "its joints can still be read"
        bench.refuses()
    with pytest.raises(ArmError, match="clear it in uFactory Studio"), bench.arm:
        pass
    assert bench.emulator.commands.all("clean_error") == []
    bench.assert_safe()


def test_a_stop_by_another_client_is_seen(bench):
    with bench.arm:
        for _ in range(10):
            bench.swing()
        with socket.create_connection((HOST, 502)) as other:
            other.sendall(bytes([0, 1, 0, 2, 0, 2, 12, 4]))  # set_state(4)
            other.recv(64)
        with pytest.raises(ArmError, match="stopped"):
            for _ in range(20):
                bench.swing()
        bench.refuses()
    bench.assert_safe()


def test_a_stream_that_dries_up_leaves_it_at_rest(bench):
    with bench.arm:
        for _ in range(15):
            bench.swing()
        time.sleep(0.4)
        assert bench.speed() < 0.02


def test_a_stop_from_another_thread_ends_the_stream_within_a_transaction(bench):
    with bench.arm:
        sent: list[float] = []

        def stream() -> None:
            with suppress(ArmError):
                while len(sent) < 400:
                    bench.swing()
                    sent.append(time.monotonic())

        thread = threading.Thread(target=stream, daemon=True)
        thread.start()
        time.sleep(0.3)
        began = time.monotonic()
        bench.arm.stop()
        while not (stopped := [told for told in bench.emulator.commands.all("set_state") if told.arguments["state"] == 4]):
            assert time.monotonic() - began < 10.0, "the controller was never told to stop"
            time.sleep(0.01)  # what its process was told comes over a pipe
        assert stopped[-1].time - began < STATED
        sent.extend([0.0] * 400)
        thread.join()


def test_after_a_stop_the_arm_takes_targets_again(bench):
    with bench.arm:
        for _ in range(10):
            bench.swing()
        bench.arm.stop()
        bench.start, bench.steps = bench.plant.joints().pos, 0
        for _ in range(10):
            bench.swing()


def test_a_jump_becomes_small_steps(bench):
    with bench.arm:
        goal = bench.start + [1.0, -0.5, -0.5, 1.0, 0.5, 1.0]
        applied = bench.arm.send(np.append(goal, 0.0))
        np.testing.assert_allclose(np.abs(applied[:6] - bench.start), 0.01, atol=1e-3)
        for _ in range(30):
            time.sleep(0.01)
            bench.arm.send(np.append(goal, 0.0))
    assert bench.peak_speed < 1.3


def test_what_is_not_finite_or_mis_shaped_reaches_no_wire(bench):
    with bench.arm:
        for bad in (np.full(7, np.inf), np.zeros(8)):
            with pytest.raises(ContractError):
                bench.arm.send(bad)
        time.sleep(0.05)
        assert bench.emulator.commands.all("servo_j") == []


def test_the_gripper_follows(bench):
    with bench.arm:
        for _ in range(100):
            bench.arm.send(np.append(bench.start, 0.6))
            time.sleep(0.01)
        assert bench.plant.joints().gripper == pytest.approx(0.6, abs=0.03)
        assert bench.arm.state().gripper == pytest.approx(0.6, abs=0.03)


def test_another_serial_number_is_refused_and_nothing_is_switched_on(bench):
    with pytest.raises(ArmError, match="Is it the right arm"), XarmArm(XarmConfig(HOST, serial="XI130499999999")):
        pass
    assert bench.emulator.commands.all() == []


def test_an_arm_that_is_not_there_is_named_in_time():
    began = time.monotonic()
    absent = XarmArm(XarmConfig("127.0.5.98"))
    with pytest.raises(ArmError, match=r"xArm 127\.0\.5\.98: the controller \(port 502\) does not answer"), absent:
        pass
    assert time.monotonic() - began < 3.0


def test_connecting_leaves_the_process_default_timeout_alone(bench):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(None)
    try:
        with bench.arm:
            after = socket.getdefaulttimeout()
    finally:
        socket.setdefaulttimeout(before)
    assert after is None


def test_without_the_sdk_entering_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'robo-dream\[xarm\]'"), XarmArm(CONFIG):
        pass


@pytest.mark.parametrize("wrong", [{"max_speed": 5.0}, {"control_dt": 0.05}, {"control_dt": 0.001}, {"reply_timeout": 0.0}])
def test_a_configuration_that_the_controller_would_refuse_is_refused(wrong):
    with pytest.raises(ConfigError):
        XarmConfig(HOST, **wrong)
