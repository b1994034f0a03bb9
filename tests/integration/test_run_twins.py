"""`robo-dream run --twin`: through the vendors' own clients, the emulated controllers and librealsense; and what comes before it moves."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from robo_dream.cli import main
from robo_dream.models.checkpoint import read_info
from robo_dream.recording.record import RunRecord, read_run
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

PATIENT = (  # a busy machine is not an unsafe arm
    "loop.limits.max_state_age=2", "loop.limits.max_frame_age=10", "loop.limits.max_frame_spread=10", "loop.limits.max_command_gap=1",
    "loop.limits.beyond=[max_state_age, max_frame_age, max_frame_spread]", "twin_cameras.watch.lost_after=10",
)  # fmt: skip
ARMS = {  # twin: the client, the arm's model, and more patience
    "so101": ("scservo_sdk", "so101", ("policy=oracle",)),
    "ur5e": ("rtde_control", "ur5e_shapes", ("arm.watchdog=1", "arm.max_age=1")),
    "xarm": ("xarm", "xarm6", ("arm.reply_timeout=1",)),
    "ros2": (
        "cyclonedds",
        "jaco",
        ("arm.timeout=1", "policy=oracle", "checkpoint=null", "twin_cameras.kind=realsense", "goal={kind: drawn, task: reach, seed: 3}"),
    ),
}
STEPS = 8
RunTwin = Callable[..., RunRecord]


@pytest.fixture
def run_twin(tmp_path: Path) -> RunTwin:
    def run(name: str, *overrides: str) -> RunRecord:
        client, _, patience = ARMS[name]
        pytest.importorskip(client)
        pytest.importorskip("pyrealsense2")
        arguments = ["run", "--twin", name, f"out={tmp_path}", f"loop.max_steps={STEPS}", *PATIENT, *patience, *overrides]
        assert main.main(arguments) == 0
        return read_run(next(tmp_path.glob("*/record")))

    return run


@pytest.mark.parametrize("name", ARMS)
def test_a_twin_moves_towards_its_goal_in_its_physics_and_is_seen_through_librealsense(name: str, run_twin: RunTwin) -> None:
    run = run_twin(name)
    assert len(run.steps) == STEPS + 1 and run.result is not None and run.result["end"] == "BUDGET" and not run.damaged
    with World(SceneConfig(arm=ARMS[name][1])) as world:
        tools, joints, times = [], [], []
        for step in run.steps:
            world.set_state(step.observation.truth["sim_state"])
            tools.append(world.ground_truth().tool_pos)
            joints.append(world.measured[:-1].copy())
            times.append(world.time)
        most = 1.25 * np.asarray(world.scene.arm.limits.joint_speed)  # rad/s that the guard allows
        inside = world.scene.arm.limits
    assert run.goal.tool_pos is not None
    left = [float(np.linalg.norm(tool - run.goal.tool_pos)) for tool in tools]
    assert left[-1] < left[0] - 0.03, "in eight steps of up to 2.5 cm it comes 3 cm nearer, however late they are"
    assert (np.abs(np.diff(joints, axis=0)) / np.diff(times)[:, None] < 1.1 * most).all()
    assert (np.array(tools) > np.array(inside.workspace_low) - 0.03).all()
    for camera in ("front", "side"):
        frames = [step.observation.frames[camera] for step in run.steps]
        assert all(frame.image.shape == (96, 96, 3) and frame.image.std() > 5 for frame in frames)
        assert all(after.time >= before.time for before, after in pairwise(frames))
        assert not np.array_equal(frames[0].image, frames[-1].image)


def test_the_so101_is_planned_for_by_a_checkpoint_that_read_no_poses_and_its_decisions_are_in_the_record(run_twin: RunTwin) -> None:
    run = run_twin("so101", "policy=imagination", "goal.task=push")
    assert Path(run.about["checkpoint"]).name == "so101_recorded_s.safetensors"
    assert read_info(Path(run.about["checkpoint"])).settings.regime == "recorded"
    assert run.goal.object_pos is None and set(run.goal.pictures) == {"front", "side"}, "what is asked for is a picture of each camera"
    assert run.decisions[0].status == "OK" and np.isfinite(run.decisions[0].totals).any()
    tools = [step.observation.arm.tool_pos for step in run.steps]
    assert np.linalg.norm(tools[-1] - tools[0]) > 0.01


def test_an_oracles_run_says_so_and_is_replayed_without_a_checkpoint(
    run_twin: RunTwin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_twin("so101")
    assert "oracle: true poses, not imagination" in capsys.readouterr().out
    assert run.about["policy"] == "oracle: true poses, not imagination" and "checkpoint" not in run.about
    assert run.about["action_spec"]["kind"] == "tool_move" and run.about["moves"]["max_move"] == 0.025
    page, video = tmp_path / "run.html", tmp_path / "run.mp4"
    assert main.main(["replay", str(run.root), "--html", str(page), "--mp4", str(video)]) == 0
    assert f"/picture/step/{STEPS}" in page.read_text() and video.stat().st_size > 1000
    assert main.main(["replay", str(run.root), "--recompute"]) == 2
    assert "its moves came from the oracle" in capsys.readouterr().err


def test_dry_run_of_a_twin_moves_nothing_and_holds_its_arm(run_twin: RunTwin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scservo_sdk")
    assert main.main(["run", "--twin", "so101", "--dry-run", f"out={tmp_path}", "loop.max_steps=4", *PATIENT]) == 0
    run = read_run(next(tmp_path.glob("*/record")))
    first, last = run.steps[0].observation.arm.joint_pos, run.steps[-1].observation.arm.joint_pos
    assert np.abs(first - last).max() < 0.01
    assert run.result is not None and "no rest pose is declared" in run.result["torque"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["policy=imagination", "checkpoint=null"], "checkpoint is not given, so nothing can be imagined"),
        (["twin=false"], "only a twin knows those"),
        (["goal.kind=pose", "goal.tool_pos=[0.4,0,0.1]"], "which names no task; allowed are drawn and pair"),
        (["goal.task=lift"], "no script solves the task 'lift'; there are scripts for push, reach"),
        (["goal.seed=-1"], "goal.seed is -1; allowed is a whole number from 0"),
        (["rest_pose=[0,0]"], "rest_pose has 2 angles; this arm has 5 joints"),
        (["calibration=nowhere.json"], "cannot read the calibration nowhere.json"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(change: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scservo_sdk")
    config = ["--config", "configs/hardware/so101_twin.yaml", "twin_cameras={kind: rendered}", "policy=oracle", f"out={tmp_path}"]
    assert main.main(["run", *config, *change]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_librealsense_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("scservo_sdk")
    monkeypatch.setitem(__import__("sys").modules, "pyrealsense2", None)
    assert main.main(["run", "--twin", "so101", f"out={tmp_path}"]) == 2
    assert "robo-dream[realsense]" in capsys.readouterr().err
