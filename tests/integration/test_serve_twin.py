"""`robo-dream run` with a planner elsewhere: its own process without torch, a twin, its guard, and a server in this one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("msgpack")
pytest.importorskip("websockets")

from robo_dream.recording.record import RunRecord, read_run
from robo_dream.runtime.replay import recompute
from robo_dream.runtime.serving.answers import Answer, Answers, DecisionAsked
from robo_dream.runtime.serving.server import PlannerServer, ServeConfig, answers_for, serving

ROOT = Path(__file__).parents[2]
NO_TORCH = "import sys; sys.modules['torch'] = None; from robo_dream.cli.main import main; sys.exit(main(sys.argv[1:]))"
BUSY = ("loop.limits.max_state_age=1", "loop.limits.max_frame_age=1", "loop.limits.beyond=[max_state_age]")  # no unsafe arm: a busy machine


@dataclass(frozen=True)
class Fading(Answers):
    """After the decisions that `left` still allows, none is made in time."""

    left: list[int] = field(default_factory=list)

    def decisions(self, asked: Sequence[DecisionAsked]) -> list[Answer]:
        if self.left.pop():
            return super().decisions(asked)
        import time

        self.left.append(0)
        time.sleep(4.0)
        return super().decisions(asked)


@pytest.fixture(scope="module")
def answers() -> Answers:
    return answers_for(ServeConfig(port=0), lambda text: None)


def run_at(server: PlannerServer, out: Path, *changes: str) -> tuple[subprocess.CompletedProcess[str], RunRecord]:
    command = [sys.executable, "-c", NO_TORCH, "run", "--config", "configs/hardware/jaco_twin.yaml", f"out={out}", *BUSY, *changes]
    command += ["planner.kind=remote", f"planner.url={server.url}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    return done, read_run(next(out.glob("*/record"), out))


def test_a_run_without_torch_is_recorded_on_the_robots_side_and_its_decisions_are_made_again_to_the_bit(
    answers: Answers, tmp_path: Path
) -> None:
    with serving(ServeConfig(port=0), answers) as server:
        done, run = run_at(server, tmp_path, "loop.max_steps=8", "loop.limits.max_plan_age=5")
    assert done.returncode == 0, done.stderr
    assert "the moves are planned at ws://127.0.0.1" in done.stdout and run.result is not None and not run.damaged
    assert len(run.decisions) == 2 and np.abs([step.sent for step in run.steps[:-1] if step.sent is not None]).max() > 0
    assert run.about["checkpoint_sha256"] == answers.metadata()["checkpoint_sha256"]
    again = recompute(run)
    assert again.same and all(one.exact for one in again.comparisons), [one.differing for one in again.comparisons]


def test_late_answers_hold_the_arm_and_then_stop_it_through_the_guard(answers: Answers, tmp_path: Path) -> None:
    fading = Fading(**{part.name: getattr(answers, part.name) for part in fields(Answers)}, left=[0, 1, 1])
    limits = ("loop.limits.max_plan_age=1", "loop.limits.max_consecutive_holds=1", "loop.max_steps=60")
    with serving(ServeConfig(port=0), fading) as server:
        done, run = run_at(server, tmp_path, *limits)
    assert done.returncode == 1, done.stderr
    assert run.result is not None and run.result["end"] == "SAFETY" and "gave no answer within 1 s" in " ".join(run.result["reasons"])
    held = [step.sent for step in run.steps[:-1] if step.sent is not None][-1]
    assert (held == 0).all() and any(event.kind == "stop" for event in run.events)
    moved = np.abs(run.steps[-1].observation.arm.joint_vel).max()
    assert moved < 0.05 and len(run.decisions) <= 2
