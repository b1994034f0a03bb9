"""Sweeps: every cell once, checked before the first begins, equal wherever it is done, and kept whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robo_dream.cli.main import main
from robo_dream.config import load
from robo_dream.errors import ConfigError
from robo_dream.runtime import sweep
from robo_dream.runtime.ray_cluster import RayRunner
from robo_dream.runtime.sweep import SweepConfig, cells_of, finished, swept

RANDOM = {"tasks": ["reach"], "methods": ["random"], "num_pairs": 2, "workers": 1}


def seeds(out: Path, *values: int, **more: Any) -> SweepConfig:
    return SweepConfig(same={**RANDOM, **more}, grid={"seed": values}, out=out)


def figures_of(config: SweepConfig) -> dict[str, Any]:
    return {cell.name: figures for cell, figures in swept(config, cells_of(config))}


def test_a_grid_is_every_combination_and_what_is_finished_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(seeds(tmp_path, 0, 1), grid={"seed": (0, 1), "num_pairs": (1, 2)}, cells=({"seed": 7},))
    found = figures_of(config)
    assert list(found) == ["seed=0,num_pairs=1", "seed=0,num_pairs=2", "seed=1,num_pairs=1", "seed=1,num_pairs=2", "seed=7"]
    assert [figures["reach/random/pairs"] for figures in found.values()] == [1, 2, 1, 2, 2]
    rows = (tmp_path / "table.md").read_text().splitlines()
    assert rows[0] == "| seed | num_pairs | reach/random/pairs | reach/random/moderate | reach/random/strict |" and len(rows) == 7
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["seed=7"] == {"settings": {"seed": 7}, "figures": found["seed=7"]}

    monkeypatch.setattr(sweep, "attempts", lambda *_: pytest.fail("it was done before"))
    assert figures_of(config) == found
    monkeypatch.undo()
    assert list(figures_of(seeds(tmp_path, 1, 3, num_pairs=2))) == ["seed=1", "seed=3"]  # others beside them


def test_bad_sweeps_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    for changes, said in (
        ({"grid": {}}, "grid and cells are empty; name what is tried"),
        ({"grid": {"seed": ()}}, "grid.seed is empty; give at least one value"),
        ({"grid": {"out": ("a", "b")}}, "out is set by the sweep itself"),
        ({"cells": ({"runner.kind": "ray"},)}, "runner.kind is set by the sweep itself"),
        ({"grid": {"release": ("a", "b")}}, "release is set by the sweep itself"),
        ({"grid": {"seed": tuple(range(101)), "num_pairs": tuple(range(1, 101))}}, "make 10,100 cells; at most 10,000"),
    ):
        with pytest.raises(ConfigError, match=said):
            replace(seeds(tmp_path, 0), **changes)
    for changes, said in (
        ({"grid": {"num_pair": (1, 2)}}, "num_pairs"),
        ({"grid": {"seed": (0, 0)}}, "the cells seed=0 and seed=0 have the same settings"),
        ({"grid": {"workers": (1, 2)}}, "the cells workers=1 and workers=2 have the same settings"),
        ({"grid": {"num_pairs": (1, 5000)}}, "5000 pairs were asked for; the manifest of reach has 200"),
        (
            {"verb": "train", "same": {}, "config": Path("configs/train/jaco_recorded.yaml"), "grid": {"datasets": (["/no/such"],)}},
            "needs /no/such",
        ),
        ({"cells": ({"num_pairs": 2},)}, "the cells seed=0 and num_pairs=2 have the same settings"),
        ({"cells": ({"planning.planner.num_samples": 4, "methods": ["planner"]},)}, "num_samples|num_elites|num_proposals"),
        ({"config": Path("configs/evaluate/no.yaml")}, "no.yaml"),
    ):
        with pytest.raises(ConfigError, match=said):
            cells_of(replace(seeds(tmp_path, 0), **changes))
    assert not any(tmp_path.iterdir())
    figures_of(seeds(tmp_path, 0))
    with pytest.raises(ConfigError, match=r"has a cell of another sweep: .*cell.json says how it differs"):
        cells_of(seeds(tmp_path, 0, num_pairs=1))


def test_a_name_says_the_settings_and_other_settings_have_another(tmp_path: Path) -> None:
    config = SweepConfig(cells=({"tasks": ["reach"]}, {"tasks": ["push"]}, {"loop.max_steps": 7}, {}), same={"num_pairs": 1}, out=tmp_path)
    names = [cell.name for cell in cells_of(config)]
    assert len(set(names)) == 4 and names[2] == "loop.max_steps=7" and names[0].startswith("tasks=__reach__-")


def test_a_sweep_that_is_killed_goes_on_to_the_same_figures(tmp_path: Path) -> None:
    config = seeds(tmp_path / "killed", 0, 1, num_pairs=3)
    program = [sys.executable, "-m", "robo_dream.cli.main", "sweep"]
    command = [*program, f"out={config.out}", "grid={seed: [0, 1]}", f"same={json.dumps(dict(config.same))}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first, second = cells_of(config)
        until = time.monotonic() + 240
        while not (second.folder / "results.jsonl").exists() or not (second.folder / "results.jsonl").read_bytes():
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert finished(first) is not None and finished(second) is None
    before = (first.folder / "figures.json").stat().st_mtime_ns
    assert figures_of(config) == figures_of(replace(config, out=tmp_path / "whole"))
    assert (first.folder / "figures.json").stat().st_mtime_ns == before


def test_cells_on_a_cluster_come_to_what_they_come_to_here(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    here = seeds(tmp_path / "here", 0, 1)
    there = replace(here, out=tmp_path / "there", workers=2, runner=RayRunner(address="local"))
    assert figures_of(there) == figures_of(here)


def test_a_training_is_a_cell_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by what it is asked for and by the figures of a finished checkpoint: trainings have tests of their own."""
    asked = []

    def trained(config: Any, say: Any, bars: Any) -> Path:
        asked.append(config)
        return Path("configs/checkpoints/jaco_recorded_s.safetensors")

    monkeypatch.setattr(sweep, "train", trained)
    there = {"datasets": [str(tmp_path)], "demonstrations": [str(tmp_path)]}
    file = Path("configs/train/jaco_recorded.yaml")
    config = SweepConfig(verb="train", config=file, same=there, grid={"training.seed": (0, 5)}, out=tmp_path)
    found = figures_of(config)
    assert [(one.training.seed, one.out) for one in asked] == [(0, tmp_path / "training.seed=0"), (5, tmp_path / "training.seed=5")]
    assert (
        found["training.seed=5"]["pose/head/object_mm"] == pytest.approx(7.17, abs=0.01)
        and "open_loop/imagined_mse" in found["training.seed=0"]
    )


def test_the_verb_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", f"out={tmp_path}", f"same={json.dumps(RANDOM)}", "grid={seed: [0]}"]) == 0
    assert "| seed | reach/random/pairs |" in capsys.readouterr().out
    assert os.path.exists(tmp_path / "seed=0" / "results.jsonl")
    example = load(SweepConfig, "configs/sweep/push_proposals.yaml", [f"out={tmp_path / 'example'}"])
    assert len(cells_of(example)) == example.num_cells == 6
