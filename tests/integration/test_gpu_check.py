"""`make gpu-check`: everything that it does on a GPU, run here with small counts; its speeds say nothing."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "results" / "gpu_check.json"


def test_the_check_runs_dry_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    command = ["make", "gpu-check", f"GPU_CHECK=--dry --out {out}", "VENV=no-such-environment", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())
    assert figures["device"] == "cpu" and "dry run" in figures["_note"] and "says nothing about any GPU" in figures["_note"]
    for precision in ("float32", "bfloat16"):
        assert figures[f"parity/{precision}/decisions"] > 0
        for decision in ("policy_guided_128x3x5", "cem_300x2x5", "predictive_L_16x1x5"):
            assert figures[f"{decision}/{precision}/p50_ms"] > 0 and figures[f"{decision}/{precision}/percent_of_rate"] > 0
    assert figures["parity/float32/most_apart_half_ranges"] == 0 and figures["parity/float32/median_imagined_error"] < 1e-5
    assert 0 < figures["parity/bfloat16/median_imagined_error"] < 0.1
    assert figures["waits/in_a_decision"] == 1
    assert all(figures[f"training_S/{stage}/steps_per_second"] > 0 for stage in ("representation", "dream", "policy"))
    assert figures["mjx/installed"] in (0, 1) and ("not installed" in figures["_mjx"]) == (figures["mjx/installed"] == 0)
    committed = json.loads(COMMITTED.read_text())
    assert committed["device"] != "cpu" or figures.keys() == committed.keys()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to check")
def test_without_a_gpu_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--out", str(tmp_path / "check.json")])
    assert import_module("gpu_check").main() == 2
    assert "no CUDA device" in capsys.readouterr().out and not (tmp_path / "check.json").exists()
