"""The fault campaign: 321 random faults in simulated time, judged by the physics behind the wire (benchmarks/fault_campaign.py).

With the 240 in real time of tests/unit/hardware/test_servo_faults.py the tests strike more than 500 times.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HALVES = (("mujoco", "line", "lerobot", "ur"), ("feetech", "dynamixel", "xarm"))  # of about the same length
HANGS = 900.0  # s; it takes about one minute where nobody else computes


def test_every_fault_ends_in_a_safe_still_arm_and_a_readable_record() -> None:
    pytest.importorskip("scservo_sdk")
    pytest.importorskip("dynamixel_sdk")
    pytest.importorskip("xarm")
    command = [sys.executable, str(BENCHMARKS / "fault_campaign.py"), "--num", "1", "--seed", "5", "--drivers"]
    halves = [subprocess.Popen([*command, *half], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for half in HALVES]
    said = [half.communicate(timeout=HANGS)[0] for half in halves]
    problems = [line for half in said for line in half.splitlines() if not line.startswith("|")]
    assert [half.returncode for half in halves] == [0, 0], "\n".join(problems)
    assert sum(int(found[1]) for half in said if (found := re.search(r"^(\d+) faults in", half, re.MULTILINE))) >= 320


@pytest.mark.parametrize("seed", [1585954960, 696315910])  # 5 and 20 mm beyond a wall, while every command was within
def test_a_soft_arm_whose_targets_jump_stays_in_its_box_though_some_joints_lag_more_than_others(tmp_path: Path, seed: int) -> None:
    from tests.campaign.arm_faults import cases, run_case

    case = next(case for case in cases("line") if case.fault == "targets that jump")
    assert run_case(case, "line", seed, tmp_path / "record").problems == ()


def test_the_witness_sees_what_is_unsafe() -> None:
    """The judge itself: a motion that no guard has checked is found wanting in all that it judges."""
    pytest.importorskip("scservo_sdk")
    from tests.campaign.benches import bench
    from tests.campaign.witness import Witness

    with bench("feetech") as made:
        kinematics = made.plant.world.kinematics
        box = ((-0.3, -0.3, -0.1), (0.3, 0.3, 0.6))
        seen = Witness(made.plant, kinematics.low + 0.1, kinematics.high - 0.1, np.full(5, 2.5), box)
        made.plant.set_target(np.array([1.9, 1.7, 0.0, 1.0, 0.0]))
        made.plant.advance(0.2)
        assert seen.still_since(made.clock.now()) >= 0.0 and seen.last_motion > 0
        made.plant.advance(1.8)
    assert {"speed", "limit", "wall", "collision"} <= set(seen.unsafe)
