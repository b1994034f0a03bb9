"""What stops an arm waits for nobody: not for a stop that is under way, not for a connection, not for a planner."""

import os
import pty
import signal
import socket
import termios
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from processes import SLOW, build, is_moving, said

from robo_dream.errors import ArmError, SafetyStopError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.ending import why
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.limits import SafetyLimits

PROMPT = 0.25  # s from an emergency to the driver's stop on a busy machine; what it waited for in these tests takes ten times as long


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def run_up(arm: GuardProcess, file: Path) -> None:
    """Commands one joint along until it moves at half a radian a second."""
    at, end = 0.0, time.monotonic() + 20
    while time.monotonic() < end:
        at += 0.05
        arm.send(np.array([at, 0.0, 0.0]))
        time.sleep(0.1)
        if is_moving(file) and max(one.step for one in said(file)) > 0.008:
            return
    raise AssertionError("the arm never moved")


def first_stop_after(file: Path, moment: float) -> float:
    """Seconds from `moment` until nothing moved any more: the driver's stop, or the last command if one came after it."""
    until(lambda: any(one.word == "stop" and one.time >= moment for one in said(file)))
    stops = [one.time for one in said(file) if one.word == "stop" and one.time >= moment]
    sends = [one.time for one in said(file) if one.word == "send" and one.time >= stops[0]]
    return max([stops[0], *sends[-1:]]) - moment


@pytest.mark.parametrize("by", ["pipe", "key", "signal"])
def test_an_emergency_stop_does_not_wait_for_a_soft_stop_that_is_under_way(tmp_path: Path, by: str) -> None:
    file, (master, slave) = tmp_path / "said", pty.openpty()
    with GuardProcess(partial(build, file, SLOW), 0.1, tty=Path(os.ttyname(slave))) as arm:
        run_up(arm, file)
        soft = threading.Thread(target=arm.stop, args=("softly",))
        soft.start()
        time.sleep(0.2)
        assert is_moving(file)
        moment = time.monotonic()
        if by == "pipe":
            arm.emergency_stop("now")
        elif by == "key":
            os.write(master, b" ")
        else:
            os.kill(arm.pid, signal.SIGUSR1)
        assert first_stop_after(file, moment) < PROMPT
        soft.join()
        assert until(lambda: any("now" in reason or "key" in reason or "SIGUSR1" in reason for reason in arm.reasons))
    os.close(master), os.close(slave)


def test_an_emergency_stop_while_connecting_reaches_the_driver_at_once_and_latches(tmp_path: Path) -> None:
    file, events = tmp_path / "said", list[SafetyEvent]()
    master, slave = pty.openpty()
    guard = GuardProcess(partial(build, file, SafetyLimits(), {"enter": 3.0}), 0.1, events.append, Path(os.ttyname(slave)))
    entering = threading.Thread(target=guard.__enter__)
    entering.start()
    assert until(lambda: any(one.word == "enter" for one in said(file)), 30.0)
    moment = time.monotonic()
    os.write(master, b"e")
    assert first_stop_after(file, moment) < PROMPT
    entering.join()
    with Left(guard):
        assert until(lambda: bool(guard.reasons)) and "key" in guard.reasons[0]
        with pytest.raises(SafetyStopError, match="key"):
            guard.send(np.array([0.01, 0.0, 0.0]))
        assert not [one for one in said(file) if one.word == "send"]
    os.close(master), os.close(slave)


class Left:
    """Leaves a guard that was entered in a thread."""

    def __init__(self, guard: GuardProcess) -> None:
        self._guard = guard

    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None:
        self._guard.__exit__(None, None, None)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_to_the_guard_decelerates_says_so_and_restores_the_terminal(tmp_path: Path, number: signal.Signals) -> None:
    file, events, (master, slave) = tmp_path / "said", list[SafetyEvent](), pty.openpty()
    before = termios.tcgetattr(slave)
    limits = SafetyLimits(joint_acceleration=4.0)
    with GuardProcess(partial(build, file, limits), 0.1, events.append, tty=Path(os.ttyname(slave))) as arm:
        run_up(arm, file)
        assert termios.tcgetattr(slave) != before
        os.kill(arm.pid, number)
        assert until(lambda: not arm.is_alive)
        with pytest.raises(SafetyStopError, match=number.name):
            arm.send(np.array([0.3, 0.0, 0.0]))
    steps = [one.step for one in said(file) if one.word == "send"]
    assert steps[-1] == 0.0 and said(file)[-1].word == "exit"
    assert max(abs(after - before) for before, after in pairwise(steps)) < 0.02 * 0.02 * 4 + 1e-6  # it braked, softly
    assert any(event.kind == "stop" and number.name in event.reason for event in events)
    assert termios.tcgetattr(slave) == before
    os.close(master), os.close(slave)


def test_after_a_kill_of_the_guard_the_message_says_who_stopped_the_arm(tmp_path: Path) -> None:
    file, events, (master, slave) = tmp_path / "said", list[SafetyEvent](), pty.openpty()
    before, acted = termios.tcgetattr(slave), list[float]()

    def last_resort() -> str:
        acted.append(time.monotonic())
        return "its brake was told to close, and confirmed"

    with GuardProcess(partial(build, file, SafetyLimits()), 0.1, events.append, Path(os.ttyname(slave)), last_resort) as arm:
        run_up(arm, file)
        os.kill(arm.pid, signal.SIGKILL)
        assert until(lambda: bool(acted))
        with pytest.raises(SafetyStopError, match=r"killed by SIGKILL.*its brake was told to close"):
            until(lambda: "brake" in " ".join(arm.reasons))
            arm.send(np.array([0.3, 0.0, 0.0]))
    assert any("its brake was told to close" in event.reason for event in events)
    assert len(acted) == 1 and termios.tcgetattr(slave) == before
    os.close(master), os.close(slave)


def test_without_a_last_resort_nobody_claims_that_the_arm_was_stopped(tmp_path: Path) -> None:
    file = tmp_path / "said"
    with GuardProcess(partial(build, file, SafetyLimits()), 0.1) as arm:
        run_up(arm, file)
        os.kill(arm.pid, signal.SIGKILL)
        assert until(lambda: "nobody has told the arm to stop" in " ".join(arm.reasons))
        assert "was stopped" not in arm.reasons[0]


def test_a_guard_that_stands_still_is_ended_and_the_last_resort_acts(tmp_path: Path) -> None:
    file, acted = tmp_path / "said", list[float]()

    def last_resort() -> str:
        acted.append(time.monotonic())
        return "a second connection told it to stop"

    with GuardProcess(partial(build, file, SafetyLimits()), 0.1, last_resort=last_resort) as arm:
        run_up(arm, file)
        os.kill(arm.pid, signal.SIGSTOP)
        assert until(lambda: bool(acted), 5.0) and until(lambda: not arm.is_alive)
        assert until(lambda: "second connection" in " ".join(arm.reasons)) and "silent" in arm.reasons[0]


def test_an_emergency_stop_after_the_guard_was_killed_is_not_lost(tmp_path: Path) -> None:
    file, acted = tmp_path / "said", list[float]()

    def last_resort() -> str:
        acted.append(time.monotonic())
        return "a second connection told it to stop"

    with GuardProcess(partial(build, file, SafetyLimits()), 0.1, last_resort=last_resort) as arm:
        run_up(arm, file)
        os.kill(arm.pid, signal.SIGKILL)
        arm.emergency_stop("the red button")
        assert acted, "it returns when the last resort has acted"


def test_a_stop_after_the_guard_was_killed_returns_when_it_is_known_what_was_done_about_the_arm(tmp_path: Path) -> None:
    def last_resort() -> str:
        time.sleep(0.3)
        return "a second connection told it to stop"

    file = tmp_path / "said"
    with GuardProcess(partial(build, file, SafetyLimits()), 0.1, last_resort=last_resort) as arm:
        run_up(arm, file)
        os.kill(arm.pid, signal.SIGKILL)
        assert until(lambda: not arm.is_alive)
        arm.stop("the loop has ended")
        assert "killed by SIGKILL" in arm.reasons[0] and "second connection" in arm.reasons[0]
        with pytest.raises(ArmError, match="second connection"):
            arm.state()


def test_a_default_timeout_that_an_sdk_left_behind_does_not_deafen_the_planner_to_its_guard(tmp_path: Path) -> None:
    events, before = list[SafetyEvent](), socket.getdefaulttimeout()
    socket.setdefaulttimeout(1.0)  # as the xArm SDK does, for the whole process
    try:
        with GuardProcess(partial(build, tmp_path / "said", SafetyLimits()), 0.1, events.append, max_silence=10.0) as arm:
            arm.emergency_stop("test")
            assert until(lambda: bool(events))
            os.kill(arm.pid, signal.SIGTERM)
            assert until(lambda: not arm.is_alive) and until(lambda: "told to end (SIGTERM)" in " ".join(arm.reasons))
    finally:
        socket.setdefaulttimeout(before)
    assert "emergency stop" in {event.kind for event in events}


def test_why_a_program_ends_is_said_in_words() -> None:
    assert why(SystemExit(128 + signal.SIGTERM)) == "told to end (SIGTERM)"
    assert "ssh" in why(SystemExit(128 + signal.SIGHUP)) and "SIGHUP" in why(SystemExit(128 + signal.SIGHUP))
    assert why(SystemExit(2)) == "SystemExit: 2" and why(OSError("no power")) == "OSError: no power"
    assert why(KeyboardInterrupt()) == "Ctrl-C (SIGINT)" and why(ArmError("no word of the arm")) == "no word of the arm"


def test_commands_to_a_guard_that_does_not_listen_never_wait(tmp_path: Path) -> None:
    with GuardProcess(partial(build, tmp_path / "said", SafetyLimits()), 0.1, max_silence=60.0) as arm:
        os.kill(arm.pid, signal.SIGSTOP)
        with pytest.raises(SafetyStopError, match="does not listen"):
            for _ in range(20_000):
                arm.send(np.array([0.01, 0.0, 0.0]))
        os.kill(arm.pid, signal.SIGCONT)


def test_an_emergency_stop_does_not_wait_for_a_thread_that_is_telling_the_guard_something_else(tmp_path: Path) -> None:
    """A planner that keeps Python holds up whoever sends: an emergency stop must not queue behind it."""
    with GuardProcess(partial(build, tmp_path / "said", SafetyLimits()), 0.1, max_silence=10.0) as arm:
        held = [lock for lock in vars(arm).values() if isinstance(lock, type(threading.Lock()))]
        for lock in held:
            lock.acquire()
        moment = time.monotonic()
        threading.Thread(target=arm.emergency_stop, args=("now",), daemon=True).start()
        assert first_stop_after(tmp_path / "said", moment) < PROMPT
        for lock in held:
            lock.release()
