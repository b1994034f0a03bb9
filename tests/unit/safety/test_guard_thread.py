"""The guard at work in real time: in a thread, and in a process whose parent may die. Times are short, with room for a busy machine."""

import multiprocessing as mp
import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from arms import FakeBus, joint_spec, new_guard

from robo_dream.embodiment import RobotArm
from robo_dream.errors import ArmError, ContractError, SafetyStopError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.guard import Guard
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.guard_thread import GuardThread

ROOM = 3.0  # s that a busy machine may take for what takes some 0.1 s


def until(condition, seconds: float = ROOM) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


def test_thread_sends_at_the_rate_of_the_arm_what_is_given_once() -> None:
    bus = FakeBus()
    with GuardThread(bus, new_guard(), 0.1) as arm:
        assert isinstance(arm, RobotArm) and arm.action_spec.control_dt == 0.1
        np.testing.assert_allclose(arm.send(np.array([0.03, 0.0, 0.0])), [0.03, 0.0, 0.0])
        assert until(lambda: np.allclose(bus.at, [0.03, 0.0, 0.0]))
        assert len(bus.sent) >= 3 and arm.state().target_gripper == 0.0
        np.testing.assert_allclose(arm.state().joint_target, [0.03, 0.0])
    assert bus.log[-1] == "disconnected"


def test_emergency_stop_reaches_the_driver_before_it_returns_and_nothing_is_sent_after() -> None:
    bus = FakeBus()
    with GuardThread(bus, new_guard(), 0.1) as arm:
        arm.send(np.array([0.05, 0.0, 0.0]))
        assert until(lambda: bus.sent)
        arm.emergency_stop("test")
        assert bus.num_stops >= 1
        num_sent = len(bus.sent)
        assert until(lambda: arm.reasons == ("test",))
        with pytest.raises(SafetyStopError, match="test"):
            arm.send(np.array([0.06, 0.0, 0.0]))
        time.sleep(0.1)
        assert len(bus.sent) == num_sent
        arm.reset()
        assert until(lambda: not arm.reasons)
        arm.send(np.append(bus.at[:-1] + 0.01, 0.0))
        assert until(lambda: len(bus.sent) > num_sent)


def test_arm_that_falls_mute_stops_and_says_why() -> None:
    bus, events = FakeBus(), []
    with GuardThread(bus, new_guard(), 0.1, on_event=events.append) as arm:
        arm.send(np.array([0.05, 0.0, 0.0]))
        assert until(lambda: bus.sent)
        bus.is_mute = True
        assert until(lambda: arm.reasons)
        with pytest.raises(SafetyStopError, match="old"):
            arm.send(np.array([0.06, 0.0, 0.0]))
        assert until(lambda: any(event.kind == "stop" and "joint b does not answer" in event.reason for event in events))


def test_arm_that_takes_no_commands_is_stopped_for_good() -> None:
    bus = FakeBus(refuses=True)
    with GuardThread(bus, new_guard(), 0.1) as arm:
        arm.send(np.array([0.01, 0.0, 0.0]))
        assert until(lambda: arm.guard.is_latched)
        assert "did not take a command" in arm.reasons[0]


def test_arm_that_says_nothing_at_all_is_an_error() -> None:
    bus = FakeBus(is_mute=True)
    with pytest.raises(ArmError, match="check its cable"):
        GuardThread(bus, new_guard(), 0.1).__enter__()
    assert bus.log[-1] == "disconnected"


def test_exception_of_the_commander_decelerates_before_disconnecting() -> None:
    bus, events = FakeBus(), []
    with pytest.raises(KeyboardInterrupt), GuardThread(bus, new_guard(), 0.1, on_event=events.append) as arm:
        arm.send(np.array([0.1, 0.0, 0.0]))
        assert until(lambda: len(bus.sent) > 1)
        raise KeyboardInterrupt
    path = np.stack([np.zeros(3), *bus.sent])[:, 0]
    assert bus.log[-1] == "disconnected" and any("KeyboardInterrupt" in event.reason for event in events)
    assert path[-1] == path[-2]  # at rest


class Recording(FakeBus):
    """Keeps in a file how fast it goes and that it was stopped, for another process to see."""

    def __init__(self, file: Path) -> None:
        super().__init__(spec=joint_spec())
        self._file = file

    def send(self, action: np.ndarray) -> np.ndarray:
        step = float(np.abs(action - self.at).max())
        self._say(f"{step:.6f}")
        return super().send(action)

    def stop(self) -> None:
        self._say("stop")
        super().stop()

    def __exit__(self, *exc: object) -> None:
        self._say("disconnected")

    def _say(self, word: str) -> None:
        with open(self._file, "a") as file:
            file.write(word + "\n")


def build(file: Path) -> tuple[RobotArm, Guard]:
    return Recording(file), new_guard()


def test_in_a_process_it_obeys_refuses_stops_and_tells(tmp_path: Path) -> None:
    events: list[SafetyEvent] = []
    with GuardProcess(partial(build, tmp_path / "said"), 0.1, events.append) as arm:
        assert isinstance(arm, RobotArm) and arm.action_spec.names == ("a", "b", "gripper")
        with pytest.raises(ContractError):
            arm.send(np.array([np.nan, 0.0, 0.0]))
        arm.send(np.array([0.03, 0.0, 0.0]))
        assert until(lambda: abs(arm.state().joint_pos[0] - 0.03) < 1e-9)
        arm.emergency_stop("test")
        assert until(lambda: arm.reasons == ("test",))
        with pytest.raises(SafetyStopError):
            arm.send(np.array([0.04, 0.0, 0.0]))
        arm.reset()
        assert until(lambda: not arm.reasons)
        arm.stop("enough")
    assert {"refused", "emergency stop", "reset", "stop"} <= {event.kind for event in events}
    assert (tmp_path / "said").read_text().splitlines()[-1] == "disconnected"


def test_a_driver_that_cannot_connect_is_told_in_one_error() -> None:
    with pytest.raises(ArmError, match="no such arm"):
        GuardProcess(unreachable, 0.1).__enter__()


def unreachable() -> tuple[RobotArm, Guard]:
    raise ArmError("no such arm")


def drive(file: Path) -> None:
    with GuardProcess(partial(build, file), 0.1) as arm:
        step = 0
        while True:
            step += 1
            arm.send(np.array([0.04 * step, 0.0, 0.0]) if step < 45 else np.array([1.8, 0.0, 0.0]))
            time.sleep(0.05)


def test_when_the_planner_is_killed_the_arm_comes_to_rest_and_is_disconnected(tmp_path: Path) -> None:
    file = tmp_path / "said"
    planner = mp.get_context("spawn").Process(target=drive, args=(file,))
    planner.start()
    assert until(lambda: file.exists() and len(file.read_text().splitlines()) > 10, 30.0)
    assert planner.pid is not None
    os.kill(planner.pid, signal.SIGKILL)
    planner.join()
    assert until(lambda: file.read_text().endswith("disconnected\n"), 10.0)
    steps = [float(word) for word in file.read_text().split() if word[0].isdigit()]
    assert max(steps) > 0 and steps[-1] == 0.0
