"""A dataset that LeRobot's own recorder made of our emulated SO-101 (benchmarks/lerobot_record.py) is trained on, inspected and run."""

import json
from pathlib import Path

import numpy as np
import pytest

from robo_dream.cli import main
from robo_dream.data.cache import open_dataset
from robo_dream.models import checkpoint
from robo_dream.recording.record import RunRecord, read_run
from robo_dream.runtime.recordings import open_recordings

RECORDED = "tests/data/so101_lerobot"
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
TRAIN = (
    "--config=configs/train/so101_lerobot.yaml", "training.representation.steps=4", "training.representation.batch_windows=2",
    "training.model.num_keypoints=0", "training.model.feature_grid=16",
    "training.dream.steps=4", "training.dream.batch=8", "training.dream.unroll=3", "training.dream.decoder_steps=2",
    "training.dream.decoder_batch=4", "training.policy.steps=4", "training.policy.batch=8", "training.log_steps=2",
    "training.evaluation_windows=2", "strips=1", "planning.planner.horizon=3", "planning.planner.num_samples=16",
    "planning.planner.num_proposals=12",
)  # fmt: skip
PATIENT = (  # a busy machine is not an unsafe arm, and a model that learned nothing sees the tool anywhere
    "loop.limits.max_state_age=2", "loop.limits.max_frame_age=10", "loop.limits.max_frame_spread=10", "loop.limits.max_command_gap=1",
    "loop.limits.max_plan_age=5", "loop.limits.max_tool_error=null", "refuse_unfit=false",
    "loop.limits.beyond=[max_state_age, max_frame_age, max_frame_spread]",
)  # fmt: skip
STEPS = 10


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    assert main.main(["train", *TRAIN, *places(folder, RECORDED)]) == 0
    return folder / "run/model.safetensors"


def places(folder: Path, *datasets: str) -> tuple[str, ...]:
    return f"datasets=[{', '.join(datasets)}]", f"cache={folder}/cache", f"out={folder}/run"


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    pytest.importorskip("scservo_sdk")
    out = tmp_path_factory.mktemp("run")
    moving = "planning.planner={kind: random}"  # a model that learned nothing may hold still
    assert main.main(["run", *on_the_twin(trained), moving, f"out={out}", f"loop.max_steps={STEPS}"]) == 0
    return read_run(next(out.glob("*/record")))


def on_the_twin(path: Path, twin: str = "so101") -> tuple[str, ...]:
    return "--twin", twin, "policy=imagination", f"checkpoint={path}", "twin_cameras.kind=rendered", *PATIENT


def test_a_checkpoint_of_recordings_says_what_it_moves_and_what_it_learned_from(trained: Path) -> None:
    info, model = checkpoint.read_info(trained), checkpoint.load(trained)
    assert model.action_spec.kind == "joint_move" and model.action_spec.names == JOINTS
    assert model.spec.proprio_names[-5:] == JOINTS[:-1] and model.cameras == ("front", "side")
    assert info.settings.regime == "recorded" and info.recipe["commands"] == ["lerobot-record", "robo-dream train"]
    assert info.recipe["data"]["lerobot"] == {"robot_type": "so_follower", "fps": 30, "frames_a_control_step": 3}


def test_the_recording_itself_is_inspected(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = tmp_path / "said.json"
    words = ["inspect", str(trained), "--dataset", RECORDED, "--json", str(said), "--html", str(tmp_path / "page.html")]
    assert main.main(words) in (0, 1)
    findings = {one["check"]: one["word"] for one in json.loads(said.read_text())["findings"]}
    assert "actions of the data" not in findings or findings["actions of the data"] == "fit", "the data's actions are those of the model"
    assert {"pictures", "horizon", "camera and arm"} <= set(findings) and (tmp_path / "page.html").stat().st_size > 10_000
    assert RECORDED in capsys.readouterr().out


def test_without_a_recording_there_is_nothing_to_inspect(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["inspect", str(trained)]) == 2
    assert "give some with --dataset" in capsys.readouterr().err


def test_a_model_of_tool_moves_is_not_measured_on_joints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["inspect", "configs/checkpoints/jaco_s.safetensors", "--dataset", RECORDED, "--json", str(tmp_path / "x.json")]) == 2
    assert "is a recording of joints, and configs/checkpoints/jaco_s.safetensors takes tool moves" in capsys.readouterr().err


def test_the_twin_is_moved_by_its_joints_through_guard_and_wire(run: RunRecord) -> None:
    assert run.result is not None and run.result["end"] == "BUDGET" and len(run.steps) == STEPS + 1 and run.decisions
    assert run.about["action_spec"]["kind"] == "joint_move" and run.about["action_spec"]["names"] == list(JOINTS)
    most = np.array(run.about["action_spec"]["high"])
    targets = []
    for step in run.steps:
        assert step.observation.arm.joint_target is not None
        targets.append(np.append(step.observation.arm.joint_target, step.observation.arm.target_gripper))
    for step, before, after in zip(run.steps, targets[:-1], targets[1:], strict=False):
        assert step.applied is not None and (np.abs(step.applied) <= most + 1e-6).all()
        moved = after - before
        assert (np.abs(moved) <= np.append(1.25 * 2.0 * 0.2 * np.ones(5), 1.0)).all(), "the guard's own speed limit"
    told = np.sum([step.applied for step in run.steps if step.applied is not None], axis=0)
    held = any(event.kind in ("stop", "latched stop", "hold", "blocked", "clip") for event in run.events)
    assert held or np.abs(targets[-1] - targets[0] - told).max() < 0.02, "where nothing was cut, targets are what moves add up to"
    joints = [step.observation.arm.joint_pos for step in run.steps]
    assert np.abs(joints[-1] - joints[0]).max() > 0.01, "the arm moved"


def test_its_decisions_are_made_again_to_the_bit(run: RunRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["replay", str(run.root), "--recompute"]) == 0
    assert "are exactly the same" in capsys.readouterr().out


def test_its_run_is_learned_from_together_with_the_recording(run: RunRecord, trained: Path, tmp_path: Path) -> None:
    planned = tmp_path / "planned"
    assert main.main(["replay", str(run.root), "--lerobot", str(planned)]) == 0
    own, theirs = open_dataset(planned).spec, open_recordings(Path(RECORDED), 96, action_spec=checkpoint.load(trained).action_spec).spec
    assert own.proprio_names == theirs.proprio_names and not own.action_spec.differences(theirs.action_spec)
    assert main.main(["train", *TRAIN, "stage=representation", *places(tmp_path, RECORDED, str(planned))]) == 0


def test_an_arm_with_other_joints_is_not_moved(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", *on_the_twin(trained, "jaco"), "goal={kind: drawn, task: reach}", f"out={tmp_path}"]) == 2
    assert "the checkpoint moves the joints shoulder_pan, shoulder_lift" in capsys.readouterr().err


def test_a_bench_without_one_of_the_cameras_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["arm.port=/dev/null", "cameras=[{kind: opencv, name: front, device: /dev/video0}]", f"checkpoint={trained}", f"out={tmp_path}"]
    assert main.main(["run", "--config", "configs/hardware/so101.yaml", *words, *PATIENT]) == 2
    assert "looks through front, side; `cameras` has front: add side" in capsys.readouterr().err
