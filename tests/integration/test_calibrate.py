"""`robo-dream calibrate` as a person types it, against the simulated bench."""

import re
from pathlib import Path

import pytest

from robo_dream.calibration import file
from robo_dream.cli import main

pytest.importorskip("cv2")
pytest.importorskip("pyrealsense2")
QUICK = ["views=7", "speed=1.0", "tilt=0.35", "sway_seconds=5.0", "rig.device.fps=8"]


def test_a_simulated_bench_is_calibrated_from_pictures_to_a_file_that_a_run_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path)]
    assert main.main(["calibrate", "all", *out, *QUICK]) == 0
    said = capsys.readouterr().out
    away = re.search(r"in truth ([\d.]+) mm and ([\d.]+) degrees away", said)
    assert away and float(away[1]) < 4 and float(away[2]) < 0.4  # seven views of a moving bench on a busy machine
    twin = re.search(r"twin lies ([-+\d.]+) px to the right and ([-+\d.]+) px down", said)
    assert twin and abs(float(twin[1])) < 2 and abs(float(twin[2])) < 2
    late = file.load(tmp_path / "calibration.json").latency
    assert late is not None and 0.0 < late.actuation < 0.3 and abs(late.observation["front"]) < 0.06
    assert (tmp_path / "overlay.png").stat().st_size > 10_000
    assert main.main(["calibrate", "show", *out]) == 0
    assert main.main(["calibrate", "hand-eye", *out]) == 0  # again, from the pictures alone
    capsys.readouterr()
    assert main.main(["calibrate", "show", *out, "limits.max_rms_px=0.001"]) == 1
    assert "px only, allowed are 0.001" in capsys.readouterr().out


def test_board_is_written_and_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["calibrate", "board", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "board.pdf").exists() and "100 %" in capsys.readouterr().out
    assert main.main(["calibrate", "show", "--out", str(tmp_path)]) == 2
    assert main.main(["calibrate", "hand-eye", "--out", str(tmp_path)]) == 2
    assert "camera.json does not describe a camera" in capsys.readouterr().err
    assert main.main(["calibrate", "capture", "views=1"]) == 2
