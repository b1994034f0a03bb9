"""A guard's process commands on its beat, and ends with the arm at rest when it is killed.

`GUARD_PLUGIN` names a module that the guard's process imports before anything else: the faults that `tests/unit/test_pauses.py` plants.
"""

import os
import time
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
from arms import DT
from processes import build, said

from robo_dream.embodiment import RobotArm
from robo_dream.safety.guard import Guard
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.limits import SafetyLimits

_WATCHED = 2.0  # s
_LATE = 0.8  # of a period by which one command may be late: less than a tick that was left out


def build_planted(file: Path) -> tuple[RobotArm, Guard]:
    if plugin := os.environ.get("GUARD_PLUGIN"):
        import_module(plugin)
    return build(file, SafetyLimits())


def test_commands_come_at_the_rate_of_the_arm_and_none_is_left_out(tmp_path: Path) -> None:
    file, at = tmp_path / "said", 0.0
    with GuardProcess(partial(build_planted, file), 0.1, max_silence=10.0) as arm:
        end = time.monotonic() + _WATCHED
        while time.monotonic() < end and not arm.reasons:
            at += 0.03
            arm.send(np.array([at, 0.0, 0.0]))
            time.sleep(0.1)
        assert not arm.reasons
        beats = [one.time for one in said(file) if one.word == "send"]
    assert len(beats) > 0.9 * (_WATCHED - 0.2) / DT
    assert max(after - before for before, after in pairwise(beats)) < (1 + _LATE) * DT
