"""A drill stops the arm by each means, measures, and says which of them did not do as stated."""

import os
import pty
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from processes import StampingBus, build

from robo_dream.embodiment import ArmState, RobotArm, WallClock
from robo_dream.errors import SafetyStopError
from robo_dream.safety.drill import ROOM, drill
from robo_dream.safety.guard import Guard
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.limits import SafetyLimits


def test_each_means_stops_the_arm_as_stated_and_the_arm_is_free_again(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with GuardProcess(partial(build, tmp_path / "said", SafetyLimits()), 0.1, tty=Path(os.ttyname(slave)), max_silence=10.0) as arm:
        assert "worst case by these limits" in arm.promise_lines[0]
        start = arm.state().joint_pos
        found = drill(arm, WallClock(), lag=1.0, press=lambda: os.write(master, b"e") and None)
        assert [one.means for one in found] == ["told to stop", "silence", "emergency stop", "signal", "key"]
        assert not [one.problem for one in found if one.problem] and not arm.reasons
        assert np.abs(arm.state().joint_pos - start).max() <= 5 * (ROOM + 0.05) and np.abs(arm.state().joint_pos - start)[0] == 0
        arm.send(np.append(arm.state().joint_pos, 0.0))
    os.close(master), os.close(slave)


class Deaf(StampingBus):
    """An arm that goes on by itself for two seconds after it was told to stop."""

    def state(self) -> ArmState:
        if self.num_stops and self.num_drifts < 90:
            self.num_drifts += 1
            self.at = self.at + [0.0, 0.002, 0.0]
        return super().state()

    num_drifts = 0


def build_deaf(file: Path) -> tuple[RobotArm, Guard]:
    return Deaf(file), build(file, SafetyLimits())[1]


def test_an_arm_that_goes_on_after_a_stop_is_told_of(tmp_path: Path) -> None:
    with GuardProcess(partial(build_deaf, tmp_path / "said"), 0.1, max_silence=10.0) as arm:
        found = {one.means: one for one in drill(arm, WallClock())}
        assert "it went on by 0.1" in found["emergency stop"].problem and found["emergency stop"].travel > 0.15


def test_an_arm_that_is_stopped_already_is_not_drilled(tmp_path: Path) -> None:
    with GuardProcess(partial(build, tmp_path / "said", SafetyLimits()), 0.1, max_silence=10.0) as arm:
        arm.emergency_stop("before")
        while not arm.reasons:
            pass
        with pytest.raises(SafetyStopError, match="before the drill begins: before"):
            drill(arm, WallClock())
