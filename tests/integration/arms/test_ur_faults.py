"""What can go wrong between a Universal Robots arm and its driver, through the unmodified ur-rtde, measured in the physics behind it."""

import socket
import time
from contextlib import suppress

import numpy as np
import pytest

from hardware.arms.ur import UrArm, UrConfig
from hardware.arms.ur_dashboard import ask
from robo_dream.errors import ArmError, ConfigError, ContractError, MissingExtraError
from sim.emulators.faults import Fault
from sim.emulators.ur_rtde import UrEmulator

pytest.importorskip("rtde_control", reason="pip install 'robo-dream[ur]'")

HOST = "127.0.5.1"
CONFIG = UrConfig(HOST, max_age=0.15, watchdog=2.0)  # a shared computer may pause driver and controller for longer than a real one would
STATED = 3 * CONFIG.max_age + 0.3  # s until `ArmError`; the last 0.3 for the test's own computer


@pytest.fixture
def bench(make_bench):
    return make_bench("ur5e_shapes", lambda plant: UrEmulator(plant, HOST, unlock_delay=0.3), UrArm(CONFIG))


@pytest.mark.parametrize(
    "fault",
    [Fault("lost"), Fault("late", delay=1.0), Fault("truncated", count=1), Fault("unplug"), Fault("unplug", duration=0.8), Fault("mute")],
    ids=["lost", "late", "truncated", "unplugged", "unplugged a while", "mute joint"],
)
def test_a_wire_that_fails_is_an_error_in_time_and_a_still_arm(bench, fault):
    with suppress(ArmError), bench.arm:
        took, error = bench.swing_until_error(fault, 5.0)
        assert error is not None and HOST in str(error)
        assert took < STATED
        bench.refuses()
    bench.assert_safe()


@pytest.mark.parametrize("fault", [Fault("corrupt", count=15), Fault("lost", duration=0.03), Fault("late", delay=0.02, duration=0.5)])
def test_a_short_disturbance_is_got_over_or_an_error_but_never_a_wrong_position(bench, fault):
    with suppress(ArmError), bench.arm:
        bench.swing_until_error(fault, 1.5)
    bench.assert_safe()


@pytest.mark.parametrize(("code", "words"), [(0, "protective stop"), (1, "emergency stop")])
def test_a_stop_of_the_controller_is_seen_named_latched_and_not_reconnected_to(bench, code, words):
    with bench.arm:
        took, error = bench.swing_until_error(Fault("stop", code=code, duration=0.2), 3.0)
        assert words in str(error) and took < STATED
        assert np.isfinite(bench.arm.state().joint_pos).all(), "its joints can still be read"
        bench.refuses()
    with pytest.raises(ArmError, match="clear it on the teach pendant"), bench.arm:
        pass
    bench.assert_safe()


def test_after_a_protective_stop_is_cleared_the_arm_can_be_entered_again(bench):
    with bench.arm:
        bench.swing_until_error(Fault("stop", duration=0.1), 3.0)
    time.sleep(0.4)
    assert ask(HOST, ["unlock protective stop"], 1.0) == ["Protective stop releasing"]
    bench.start, bench.steps = bench.plant.joints().pos, 0
    with bench.arm:
        for _ in range(20):
            bench.swing()


def test_a_stream_that_dries_up_is_stopped_by_the_controllers_watchdog(bench):
    with bench.arm:
        for _ in range(15):
            bench.swing()
        last = bench.emulator.commands.all("servoj")[-1].time
        time.sleep(2 / CONFIG.watchdog)
        [tripped] = bench.emulator.commands.all("watchdog")
        assert 0.8 / CONFIG.watchdog < tripped.time - last < 1 / CONFIG.watchdog + 0.2
        assert bench.speed() < 0.02
        with pytest.raises(ArmError, match="control program has ended"):
            bench.arm.send(np.append(bench.start, 0.0))


def test_before_the_first_target_and_after_a_stop_the_watchdog_is_fed(bench):
    with bench.arm:
        time.sleep(1.5 / CONFIG.watchdog)
        bench.swing()
        bench.arm.stop()
        time.sleep(1.5 / CONFIG.watchdog)
        bench.swing()
        assert bench.emulator.commands.all("watchdog") == []


def test_a_jump_becomes_small_steps(bench):
    with bench.arm:
        applied = bench.arm.send(np.append(bench.start + 1.0, 0.0))
        np.testing.assert_allclose(applied[:6] - bench.start, 0.02, atol=1e-3)
        for _ in range(20):
            time.sleep(0.02)
            bench.arm.send(np.append(bench.start + 1.0, 0.0))
    assert bench.peak_speed < 1.3


def test_what_is_not_finite_or_mis_shaped_reaches_no_wire(bench):
    with bench.arm:
        for bad in (np.full(7, np.nan), np.zeros(6)):
            with pytest.raises(ContractError):
                bench.arm.send(bad)
        time.sleep(0.05)
        assert bench.emulator.commands.all("servoj") == []


def test_ending_the_clients_process_is_an_error_at_once_and_the_watchdog_has_the_arm(bench):
    with suppress(ArmError), bench.arm:
        for _ in range(10):
            bench.swing()
        bench.arm._process._process.kill()
        began = time.monotonic()
        with pytest.raises(ArmError):
            for _ in range(100):
                bench.swing()
        assert time.monotonic() - began < STATED
    bench.assert_safe()


def test_a_default_timeout_that_another_sdk_left_behind_changes_nothing(bench):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.2)
    try:
        with bench.arm:
            time.sleep(0.5)
            assert np.isfinite(bench.arm.state().joint_pos).all()
            bench.arm.stop()
    finally:
        socket.setdefaulttimeout(before)


def test_another_model_and_another_serial_number_are_refused(bench):
    for config, words in ((UrConfig(HOST, model="UR10"), "is a UR5"), (UrConfig(HOST, serial="1"), "Is it the right arm")):
        with pytest.raises(ArmError, match=words), UrArm(config):
            pass
    assert bench.emulator.commands.all("script") == []


def test_an_arm_that_is_not_there_is_named_in_time():
    began = time.monotonic()
    absent = UrArm(UrConfig("127.0.5.99"))
    with pytest.raises(ArmError, match=r"UR 127\.0\.5\.99: the dashboard server \(port 29999\) does not answer"), absent:
        pass
    assert time.monotonic() - began < 2.0


def test_without_ur_rtde_entering_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'robo-dream\[ur\]'"), UrArm(CONFIG):
        pass


@pytest.mark.parametrize("wrong", [{"max_speed": 5.0}, {"lookahead": 0.5}, {"watchdog": 40.0}, {"rate": 10.0}, {"joint_low": (0.0,) * 6}])
def test_a_configuration_that_the_controller_would_refuse_is_refused(wrong):
    with pytest.raises(ConfigError):
        UrConfig(HOST, **wrong, **({"joint_high": (0.0,) * 6} if "joint_low" in wrong else {}))
