"""The perception check from a checkpoint to a run: recorded at every decision, made again to the bit, and refused where it is not there."""

from pathlib import Path

import numpy as np
import pytest

from robo_dream.cli import main
from robo_dream.models import checkpoint
from robo_dream.models.perception_check import residual_names
from robo_dream.recording.archive import read_archive, write_archive
from robo_dream.recording.record import read_run
from robo_dream.runtime.perception import write_with_perception
from robo_dream.training.perception_calibration import calibration_of

PATH = Path("configs/checkpoints/jaco_recorded_s.safetensors")
PLAN = (
    "plan",
    "--config",
    "configs/plan/demo.yaml",
    "task=push",
    "goals=drawn",
    "seed=5",
    "loop.max_steps=8",
    "loop.limits.false_alarms=0.05",
)


def checked(folder: Path, scale: float) -> Path:
    """The released checkpoint, with a check to which usual residuals are around `scale`."""
    rng, names = np.random.default_rng(0), residual_names(checkpoint.read_info(PATH).spec.cameras)
    found = [scale * np.abs(rng.normal(size=(30, len(names)))) for _ in range(4)]
    return write_with_perception(PATH, folder / "checked.safetensors", calibration_of(found, names))


def planned(folder: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main.main([*PLAN, f"checkpoint={path}", f"out={folder}/runs"]) == 0
    capsys.readouterr()
    (record,) = folder.glob("runs/*/*/record")
    return record


def test_what_was_odd_is_recorded_and_made_again_to_the_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = planned(tmp_path, checked(tmp_path, 10.0), capsys)
    decisions = read_run(record).decisions
    assert len(decisions) == 2 and all(one.perception is not None and one.status == "OK" for one in decisions)
    assert decisions[0].perception_residuals is not None and len(decisions[0].perception_residuals) == 7
    assert main.main(["replay", str(record), "--recompute"]) == 0
    assert "2 of 2 decisions are exactly the same" in capsys.readouterr().out

    arrays, about = read_archive(record / "steps" / "000005.npz")
    arrays["image.front"] = arrays["image.front"].copy()
    arrays["image.front"][40:56, 40:56] = 255  # somebody touched the picture
    write_archive(record / "steps" / "000005.npz", arrays, about)
    assert main.main(["replay", str(record), "--recompute"]) == 1
    assert "control step 5: not equal to the bit (perception" in capsys.readouterr().out


def test_a_scene_that_nothing_like_it_was_calibrated_on_stops_the_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = planned(tmp_path, checked(tmp_path, 1e-6), capsys)
    run = read_run(record)
    assert {one.status for one in run.decisions} == {"UNSURE"} and run.result is not None and run.result["end"] == "SAFETY"
    (reason,) = run.decisions[0].unsure_reasons
    assert "what is usual; allowed 95 %" in reason
    assert main.main(["replay", str(record), "--recompute"]) == 0


def test_a_checkpoint_without_a_check_is_refused_with_the_command_that_makes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*PLAN, f"checkpoint={PATH}", f"out={tmp_path}/runs"]) == 2
    assert f"robo-dream calibrate perception --checkpoint {PATH} --write FILE" in capsys.readouterr().err
    assert main.main(["calibrate", "perception"]) == 2
    assert "needs --checkpoint FILE, and --write FILE" in capsys.readouterr().err
