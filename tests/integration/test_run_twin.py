"""`robo-dream run` on a twin, the whole way: its own process, the wire, the driver, the guard's process. With the released checkpoint."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hardware.arms.franka import FrankaConfig
from robo_dream.cli import main
from robo_dream.errors import ConfigError, SafetyStopError
from robo_dream.recording.record import read_run
from robo_dream.runtime.arms import LineKind, at_address, build_guarded
from robo_dream.runtime.connect import go_to_start
from robo_dream.runtime.drill import drill_table
from robo_dream.runtime.run import StartPose
from robo_dream.runtime.twin import Twin
from robo_dream.safety.drill import Drilled
from robo_dream.safety.guard_process import SAID_NEXT, GuardProcess
from robo_dream.safety.limits import SafetyLimits
from sim.tabletop.scene import SceneConfig

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/hardware/jaco_twin.yaml")
_NAMES = ("max_state_age", "max_plan_age", "max_frame_age")
PATIENT = SafetyLimits(max_state_age=2.0, max_plan_age=60.0, max_frame_age=60.0, beyond=_NAMES)  # a busy machine is not an unsafe arm
BEYOND = "loop.limits.beyond=[max_state_age, max_plan_age]"


def test_arm_is_driven_through_all_processes_and_its_start_is_verified() -> None:
    scene = SceneConfig()
    with Twin(LineKind(), scene) as twin:
        build = partial(build_guarded, at_address(LineKind(timeout=1.0), twin.address), scene, PATIENT)
        with GuardProcess(build, 0.1) as arm:
            home = arm.state().joint_pos
            go_to_start(arm, StartPose("verify"), home)
            near = home + [0.1, 0, 0, 0, 0, 0]
            with pytest.raises(SafetyStopError, match=r"joint 1 is 0.100 rad from the start pose; allowed 0.05"):
                go_to_start(arm, StartPose("verify"), near)
            go_to_start(arm, StartPose("home", speed=0.5), near)
            assert abs(arm.state().joint_pos[0] - near[0]) <= 0.05
        _, state, _ = twin.now()
        assert np.isfinite(state).all()


def test_twin_of_a_wire_that_nobody_speaks_is_an_error() -> None:
    with pytest.raises(ConfigError, match="there are twins of"):
        Twin(FrankaConfig(), SceneConfig())


def test_pair_goal_on_a_bench_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main.main(["run", "--config", CONFIG, "twin=false", "arm.port=9", f"out={tmp_path}"])
    assert code == 2 and "only a twin can be put to" in capsys.readouterr().err


@pytest.mark.slow
def test_run_reaches_pictures_records_and_ends_still(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--config", CONFIG, f"out={tmp_path}", "loop.max_steps=10", "loop.limits.max_plan_age=30"]
    assert main.main([*arguments, "loop.limits.max_state_age=1", BEYOND]) == 0
    run = read_run(next(tmp_path.glob("*/record")))
    assert len(run.steps) == 11 and run.decisions and not run.damaged and run.result is not None
    assert "stop" in {event.kind for event in run.events}


@pytest.mark.slow
def test_dry_run_does_everything_but_move(tmp_path: Path) -> None:
    arguments = ["run", "--config", CONFIG, "--dry-run", f"out={tmp_path}", "loop.max_steps=6", "loop.limits.max_plan_age=30"]
    assert main.main([*arguments, "loop.limits.max_state_age=1", BEYOND]) == 0
    run = read_run(next(tmp_path.glob("*/record")))
    first, last = run.steps[0].observation.arm.joint_pos, run.steps[-1].observation.arm.joint_pos
    assert run.decisions and np.abs(first - last).max() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_in_a_still_arm_and_a_readable_record(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "robo_dream.cli.main", "run", "--config", CONFIG, f"out={tmp_path}", "loop.limits.max_plan_age=30"]
    process = subprocess.Popen([*command, "loop.limits.max_state_age=1", BEYOND], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    end = time.monotonic() + 120
    while len(list(tmp_path.glob("*/record/steps/*"))) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) in (130, 143, 129)
    run = read_run(next(tmp_path.glob("*/record")))
    assert len(run.steps) >= 3 and any(event.kind == "stop" for event in run.events)
    assert run.result is not None and run.result["end"] == "INTERRUPTED" and number.name in run.result["reasons"][0]


@pytest.mark.slow
def test_a_run_whose_guard_was_killed_records_what_was_done_about_the_arm(tmp_path: Path) -> None:
    def strike() -> None:
        while len(list(tmp_path.glob("*/record/steps/*"))) < 3:
            time.sleep(0.05)
        guard = next(child for child in multiprocessing.active_children() if child.name == "guard")
        assert guard.pid is not None
        os.kill(guard.pid, signal.SIGKILL)

    threading.Thread(target=strike, daemon=True).start()
    code = main.main(["run", "--config", CONFIG, f"out={tmp_path}", "loop.limits.max_plan_age=30", "loop.limits.max_state_age=1", BEYOND])
    assert code in (1, 2)
    run = read_run(next(tmp_path.glob("*/record")))
    assert run.result is not None and run.result["end"] in ("INTERRUPTED", "SAFETY")
    said = " ".join(run.result["reasons"])
    assert "killed by SIGKILL" in said and "a second connection told the arm" in said and "confirmed" in said and SAID_NEXT not in said


def test_a_drill_stops_the_twin_by_each_means_records_what_it_measured_and_prints_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main.main(
        ["run", "--config", CONFIG, "--drill", f"out={tmp_path}", "loop.limits.max_state_age=1", BEYOND, "loop.limits.max_plan_age=30"]
    )
    said, run = capsys.readouterr().out, read_run(next(tmp_path.glob("*/record")))
    assert run.result is not None and run.result["end"] == "DRILLED" and not run.damaged
    means = [one["means"] for one in run.result["drill"]]
    assert means == ["told to stop", "silence", "emergency stop", "signal"] and all(name in said for name in means)
    assert all(one["travel"] > 0 and one["stated_travel"] > one["travel"] for one in run.result["drill"] if not one["problem"])
    assert {"stop", "emergency stop", "reset"} <= {event.kind for event in run.events}
    assert (code == 0) == (run.result["reasons"] == []) == ("NOT AS STATED" not in said), said
    assert "worst case by these limits" in said and run.about["promises"][0] in said


def test_a_table_of_a_drill_marks_what_was_not_as_stated() -> None:
    well, badly = Drilled("silence", 0.1, 0.01, 0.9, 0.2), Drilled("signal", 2.0, 0.01, 0.9, 0.2, "it took 2.00 s to come to rest")
    lines = drill_table([well, badly]).splitlines()
    assert len(lines) == 3 and "NOT AS STATED" not in lines[1] and lines[2].endswith("NOT AS STATED") and "2.00 s" in lines[2]
