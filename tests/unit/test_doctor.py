"""`robo-dream doctor`: what it finds is true, and what is broken comes with what to do."""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from robo_dream.cli import doctor as verb
from robo_dream.runtime import doctor
from robo_dream.runtime.doctor import Check, ProgramResult, Status, run_program


def run(monkeypatch: pytest.MonkeyPatch, checks: Sequence[Check], as_json: bool) -> int:
    def found(_: Path | None) -> Iterator[Check]:
        yield from checks

    monkeypatch.setattr(verb, "all_checks", found)
    return verb.run(argparse.Namespace(json=as_json, checkpoint=None))


GOOD = Check("wheel", Status.OK, "turns")
OPTIONAL = Check("horn", Status.ABSENT, "none", "buy one")
FAULTY = Check("mirror", Status.FAULTY, "cracked", "another")
BAD = Check("brake", Status.BROKEN, "gone", "walk")


@pytest.mark.parametrize(("checks", "code"), [((GOOD, OPTIONAL, FAULTY), 0), ((GOOD, BAD), 1)])
def test_the_exit_code_is_1_only_when_something_that_planning_needs_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checks: Sequence[Check], code: int
) -> None:
    assert run(monkeypatch, checks, as_json=True) == code
    assert json.loads(capsys.readouterr().out)["ok"] is (code == 0)


def test_the_table_shows_every_finding_and_every_fix(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, (GOOD, OPTIONAL, BAD), as_json=False)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("turns", "none", "buy one", "gone", "walk", "Broken: brake"))


def test_cores_are_those_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert doctor.processor().startswith("1 usable")
    finally:
        os.sched_setaffinity(0, before)


def test_the_matmul_rate_is_what_one_product_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 3.0, 4.0, 8.0])  # two products, of 2 s and 4 s, in 5 s
    monkeypatch.setattr(doctor.time, "perf_counter", lambda: next(ticks))
    assert doctor.matmul_rate(torch.device("cpu"), torch.float32, size=10, seconds=5.0) == 2 * 10**3 / 2.0


@pytest.mark.parametrize(
    ("single", "half", "said"),
    [(107e9, 1e9, "do not use it here: 107.0 times slower"), (1e9, 4e9, "4.0 times as fast"), (1e9, 1.05e9, "nothing to gain")],
)
def test_what_is_said_of_bf16_is_what_was_measured(single: float, half: float, said: str) -> None:
    assert said in doctor.bf16_or_not(single, half)


def test_the_processor_is_named_with_what_it_has_for_matrices_and_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_read", lambda path: "model name\t: Abacus 7\nflags\t\t: fpu avx2\n")
    assert doctor.processor().endswith("usable, Abacus 7 with AVX2, no AVX-512")
    monkeypatch.setattr(doctor, "matmul_rate", lambda device, dtype, size: 5e9)
    found = {check.name: check.finding for check in doctor.speed()}
    assert "5 GFLOP/s of fp32" in found["processor"] and "as fast as fp32" in found["bf16"]


def test_a_crash_in_a_program_is_told_and_survived() -> None:
    assert run_program("import os; os.abort()", {}, 30).problem == "crashed with SIGABRT"
    assert run_program("raise ValueError('bad lens')", {}, 30).problem == "ValueError: bad lens"
    assert run_program("import time; time.sleep(60)", {}, 0.2).problem.startswith("no answer")


def test_an_environment_variable_reaches_the_program() -> None:
    assert run_program("import os; print(os.environ['LENS'])", {"LENS": "50 mm"}, 30).output == "50 mm\n"


def outcomes(monkeypatch: pytest.MonkeyPatch, **works: bool) -> dict[str, Check]:
    def fake(code: str, environment: dict[str, str], timeout: float) -> ProgramResult:
        ok = works[environment["MUJOCO_GL"]]
        return ProgramResult(ok, '{"frames_per_second": 100, "renderer": "pencil"}', "" if ok else "no GL")

    monkeypatch.setattr(doctor, "run_program", fake)
    return {check.name: check for check in doctor.rendering()}


def test_without_any_gl_rendering_is_broken_and_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    found = outcomes(monkeypatch, egl=False, osmesa=False)
    assert {check.status for check in found.values()} == {Status.BROKEN}
    fixes = " ".join(check.fix for check in found.values())
    assert all(package in fixes for package in ("libegl1", "libgl1", "libosmesa6"))


def test_one_gl_is_enough_but_not_when_the_environment_asks_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert not any(check.status is Status.BROKEN for check in outcomes(monkeypatch, egl=False, osmesa=True).values())
    broken = outcomes(monkeypatch, egl=True, osmesa=False)["MUJOCO_GL"]
    assert broken.status is Status.BROKEN and broken.fix == "export MUJOCO_GL=egl"


def test_the_pair_of_mujoco_and_dm_control_that_is_pinned_is_the_one_called_tested() -> None:
    constraints = (Path(__file__).parents[2] / "configs/constraints.txt").read_text()
    assert all(f"\n{name}=={version}\n" in constraints for name, version in zip(("mujoco", "dm-control"), doctor.TESTED, strict=True))


def test_every_extra_is_declared_with_its_distributions() -> None:
    import tomllib

    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: [wanted.split(">=")[0] for wanted in wanteds] for extra, wanteds in declared.items() if extra not in ("dev", "docs")}
    assert {extra.name: list(extra.distributions) for extra in doctor.EXTRAS} == names


def plug_in(root: Path, path: str, **files: str) -> None:
    (root / path).mkdir(parents=True)
    for name, text in files.items():
        (root / path / name).write_text(f"{text}\n")


def test_a_video_device_is_named(tmp_path: Path) -> None:
    plug_in(tmp_path, "sys/class/video4linux/video3", name="Lab camera")
    plug_in(tmp_path, "dev", video3="")
    check = doctor.video(tmp_path / "sys", tmp_path / "dev")
    assert check.status is Status.OK and check.finding == "/dev/video3 Lab camera"


def test_a_video_device_that_cannot_be_opened_is_faulty_and_stops_no_planning(tmp_path: Path) -> None:
    plug_in(tmp_path, "sys/class/video4linux/video3", name="Lab camera")
    assert doctor.video(tmp_path / "sys", tmp_path / "dev").status is Status.FAULTY


def test_a_realsense_on_the_bus_is_seen_without_its_library(tmp_path: Path) -> None:
    assert doctor.realsense(tmp_path).status is Status.ABSENT
    plug_in(tmp_path, "bus/usb/devices/2-1", product="Intel(R) RealSense(TM) Depth Camera 435", serial="0511")
    check = doctor.realsense(tmp_path)
    assert check.status is Status.FAULTY and "0511" in check.finding and check.fix


def test_a_damaged_checkpoint_is_broken_and_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x00" * 100)
    (check,) = doctor.checkpoints(path)
    assert check.status is Status.BROKEN and str(path) in check.finding


def test_manifests_and_datasets_are_no_checkpoints(tmp_path: Path) -> None:
    for folder in ("configs/manifests", "configs/manifests/scene", "datasets/jaco"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "push.safetensors").write_bytes(b"pairs")
    (check,) = doctor.checkpoints(None, tmp_path)
    assert check.status is Status.ABSENT
    released = list(doctor.checkpoints(None))
    assert {check.status for check in released} == {Status.OK}
    assert len(released) == len(list(Path("configs/checkpoints").glob("*.safetensors")))
    for check in released:
        assert ("recorded regime" if "_recorded_" in check.finding else "privileged regime") in check.finding
