"""Records that others wrote, or that were edited: read within a budget, or named in one sentence, and the page shows the rest."""

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dreamers import routes_of
from recorded_runs import SIDE, write_run

from robo_dream.errors import DataError
from robo_dream.recording.archive import read_archive, write_archive
from robo_dream.recording.record import find_record, in_order, read_decision, read_run
from robo_dream.recording.timeline import plain
from robo_dream.viewer.watch import RunWatch

MUCH = 40_000_000  # bytes of the bomb, of some kB


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path / "record", 12)
    return tmp_path / "record"


def edit(path: Path, **fields: Any) -> None:
    about = json.loads(path.read_text())
    for name, value in fields.items():
        block, *inner = name.split("__")
        if inner:
            about.setdefault(block, {})[inner[0]] = value
        else:
            about[block] = value
    path.write_text(json.dumps(about))


def change(path: Path, **changes: Any) -> None:
    """Of one file of a run: arrays by name (dots as __), the JSON by `about`."""
    arrays, about = read_archive(path)
    about |= changes.pop("about", {})
    for name, value in changes.items():
        arrays[name.replace("__", ".")] = value
    write_archive(path, {name: array for name, array in arrays.items() if array is not None}, about)


def shown(root: Path) -> list[Any]:
    """Everything of the run that the page asks for; answers that are refused stand as their sentence."""
    routes = routes_of(root)
    while (run := json.loads(routes.get("/api/run/0/0").body))["more"]:
        pass
    paths = [f"/api/decision/{n}" for n in range(len(run["decisions"]))] + ["/picture/goal"]
    paths += [f"/picture/decision/{n}/{what}" for n in range(len(run["decisions"])) for what in ("real", "plan", "candidate/0")]
    paths += [f"/api/decision/{n}/pixels" for n in range(len(run["decisions"]))] + [f"/picture/step/{n}" for n in range(len(run["steps"]))]
    answers: list[Any] = [run]
    for path in paths:
        try:
            answers.append(routes.get(path).body)
        except DataError as error:
            answers.append(str(error))
    return answers


@pytest.mark.parametrize(
    "fields",
    [
        {"task": ["push"]}, {"seed": "x"}, {"seed": True}, {"config": []}, {"config": "none"}, {"planning": 7}, {"moves": [1]},
        {"moves": {"max_lag": "far"}}, {"moves": {"max_lag": math.inf}}, {"action_spec": []}, {"action_spec": {"kind": 1}},
        {"made_with": []}, {"made_with": {"threads": -1}}, {"made_with": {"threads": 10**9}}, {"made_with": {"threads": "2"}},
        {"checkpoint": 7}, {"checkpoint_sha256": None, "checkpoint": []}, {"world": "tabletop"}, {"config": {"world": []}},
        {"version": [1]}, {"version": "1"}, {"goal_state": "x"}, {"goal_state": ["x"]}, {"loop": [1]},
    ],
)  # fmt: skip
def test_a_run_json_with_odd_fields_is_one_sentence(root: Path, fields: dict[str, Any]) -> None:
    edit(root / "run.json", **fields)
    for read in (read_run, RunWatch):
        with pytest.raises(DataError, match=r"run\.json") as caught:
            read(root)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["[]", "null", "7", "", "[" * 100_000, '{"a":' * 5000, '{"version": 1, "a": ' + "[" * 80 + "]" * 80 + "}"])
def test_a_run_json_that_is_no_description_is_one_sentence(root: Path, text: str) -> None:
    (root / "run.json").write_text(text)
    with pytest.raises(DataError, match=r"run\.json"):
        read_run(root)


def test_a_file_numbered_far_ahead_is_left_out_and_the_page_goes_on(root: Path) -> None:
    for folder in ("steps", "decisions"):
        first = in_order(root / folder)[0]
        (root / folder / "999999999.npz").write_bytes(first.read_bytes())
    watch = RunWatch(root)
    assert not watch.refresh() and len(watch.steps) == 13 and len(watch.decisions) == 3
    run = read_run(root)
    assert len(run.steps) == 13 and len(run.decisions) == 3
    assert set(run.damaged) == {"steps/999999999.npz", "decisions/999999999.npz"}


def test_names_that_are_no_numbers_of_files_are_nobodys(root: Path) -> None:
    for name in ("1x.npz", "5.npz", "0000000005.npz", "²3.npz"):
        (root / "steps" / name).write_bytes(b"")
    assert len(read_run(root).steps) == 13 and RunWatch(root).refresh() is False


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_refused_before_it_is_unpacked(root: Path, method: int, monkeypatch: pytest.MonkeyPatch) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (MUCH,)})
    path = root / "steps" / "000003.npz"
    with zipfile.ZipFile(path, "w", method) as file, file.open("image.front.npy", "w") as member:
        member.write(head.getvalue())
        for _ in range(4):
            member.write(bytes(MUCH // 4))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(DataError, match=r"000003\.npz"):
        read_archive(path)


def test_a_packed_file_is_refused_however_small(root: Path) -> None:
    path = root / "steps" / "000003.npz"
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(DataError, match="packed"):
        read_archive(path)
    assert list(read_run(root).damaged) == ["steps/000003.npz"]


@pytest.mark.parametrize(
    ("descr", "shape"), [("<f8", (10**12,)), ("<f8", (-1,)), ("|O", (3,)), ("|V0", (3,)), ("<f8", (2,) * 70), ("x", (1,)), ("<f8", "x")]
)
def test_a_header_that_promises_more_than_there_is_takes_no_memory(tmp_path: Path, descr: str, shape: Any) -> None:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as file:
        file.writestr("sent.npy", content)
    with pytest.raises(DataError, match=r"odd\.npz"):
        read_archive(tmp_path / "odd.npz")


ODD_DECISIONS: tuple[dict[str, Any], ...] = (
    {"candidates": np.zeros(())}, {"candidates": np.zeros((7, 15, 4), np.float32)}, {"latents": np.zeros((0, 4), np.float32)},
    {"latents": np.zeros((4, 4), np.float32)}, {"belief": np.zeros(9, np.float32)}, {"belief": np.array(["x"] * 4)},
    {"totals": np.zeros(3, np.float32)}, {"origins": np.full(7, 99)}, {"origins": np.zeros(7)}, {"elites": np.array([0, 7])},
    {"modes": np.full(7, 2**40)}, {"term__distance": np.zeros((1, 1), np.float32)}, {"disagreement": np.zeros(7, np.float32)},
    {"goal_object_pos": np.zeros(4, np.float32)}, {"goal_tool_pos": np.zeros(2, np.float32)}, {"actions": np.zeros((0, 5), np.float32)},
    {"about": {"step": "x"}}, {"about": {"step": -1}}, {"about": {"status": "FINE"}}, {"about": {"status": []}}, {"about": {"time": None}},
    {"about": {"seconds": []}}, {"about": {"seconds": {"a": "b"}}}, {"about": {"origin_names": 7}}, {"about": {"planner": 7}},
    {"about": {"seed": 0.5}}, {"about": {"late_readings": ["x"]}}, {"about": {"unknown": 1}}, {"about": {"total": "x"}},
)  # fmt: skip


@pytest.mark.parametrize("changes", ODD_DECISIONS)
def test_a_decision_that_is_none_is_named_and_the_page_shows_the_rest(root: Path, changes: dict[str, Any]) -> None:
    path = root / "decisions" / "000005.npz"
    change(path, **dict(changes))
    with pytest.raises(DataError, match=r"000005\.npz"):
        read_decision(path)
    answers = shown(root)
    assert [row["step"] for row in answers[0]["decisions"]] == [0, 5, 10]
    assert len(read_run(root).decisions) == 2


ODD_STEPS: tuple[dict[str, Any], ...] = (
    {"image__front": np.zeros((SIDE, SIDE), np.uint8)}, {"image__front": np.zeros((SIDE, SIDE, 3))},
    {"image__front": np.zeros((SIDE, 2, 3), np.uint8)}, {"image__front": np.zeros((0, SIDE, 3), np.uint8)}, {"image__front": None},
    {"sent": np.zeros(3, np.float32)}, {"sent": np.array(["x"] * 5)}, {"sent": np.zeros((5, 5))}, {"arm__tool_pos": np.zeros(2)},
    {"arm__joint_pos": np.zeros((2, 3))}, {"arm__unknown": np.zeros(2)}, {"about": {"time": "now"}}, {"about": {"time": []}},
    {"about": {"frames": []}}, {"about": {"frames": {"front": [1]}}}, {"about": {"arm": []}}, {"about": {"arm": {"gripper": "shut"}}},
)  # fmt: skip


@pytest.mark.parametrize("changes", ODD_STEPS)
def test_a_step_that_is_none_is_named_and_the_page_shows_the_rest(root: Path, changes: dict[str, Any]) -> None:
    change(root / "steps" / "000005.npz", **dict(changes))
    run = read_run(root)
    assert list(run.damaged) == ["steps/000005.npz"] and len(run.steps) == 12
    answers = shown(root)
    assert len(answers[0]["steps"]) == 13


@pytest.mark.parametrize(
    "result", [[], {"distances": "far"}, {"distances": [["x"]]}, {"end": 7}, {"moderate": "yes"}, {"reasons": [1]}, {"end": None}]
)
def test_a_result_that_is_none_leaves_the_run_to_be_shown(root: Path, result: Any) -> None:
    (root / "result.json").write_text(json.dumps(result))
    assert len(shown(root)[0]["steps"]) == 13


@pytest.mark.parametrize(
    "line",
    [b"[]", b"null", b"[" * 5000, b'{"time": 1, "step": 1e999, "kind": "clip", "reason": "x", "numbers": {}}', b"\xff", b'{"numbers": 3}'],
)
def test_an_event_that_is_none_is_counted_as_damaged(root: Path, line: bytes) -> None:
    (root / "events.jsonl").write_bytes(line + b"\n")
    assert "1 lines" in read_run(root).damaged["events.jsonl"]
    shown(root)


@pytest.mark.parametrize(
    "arrays",
    [
        {"picture__front": np.zeros((SIDE, SIDE, 4), np.uint8)}, {"picture__front": np.zeros(())}, {"latent": np.zeros((2, 2), np.float32)},
        {"object_pos": np.zeros(0)}, {"object_pos": np.zeros((1, 99), np.float32)}, {"tool_pos": np.zeros(2)}, {"latent": None},
    ],
)  # fmt: skip
def test_a_goal_that_is_none_is_named_on_one_line_and_the_page_shows_the_rest(root: Path, arrays: dict[str, Any]) -> None:
    change(root / "goal.npz", **arrays)
    run = read_run(root)
    assert list(run.damaged) == ["goal.npz"] and "\n" not in run.damaged["goal.npz"] and run.goal.pictures == {}
    assert len(shown(root)[0]["steps"]) == 13


def test_cameras_of_different_sizes_are_nothing_odd(root: Path) -> None:
    wide = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    change(root / "goal.npz", picture__side=wide)
    for path in in_order(root / "steps"):
        change(path, image__side=wide)
    run = read_run(root)
    assert not run.damaged and run.goal.pictures["side"].shape == wide.shape and len(run.steps) == 13


def test_the_least_and_the_largest_numbers_are_json() -> None:
    numbers = np.array([1e-320, -1e-320, 1.7976931348623157e308, 5e-324, np.nan, 0.0, 1.23456])
    assert plain(numbers) == [0.0, 0.0, None, 0.0, None, 0.0, 1.235]
    assert plain(1.7976931348623157e308) is None and plain(1e-320) == 1e-320


def test_a_folder_that_goes_while_it_is_looked_through_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    glob = Path.glob

    def going(folder: Path, pattern: str) -> Iterator[Path]:
        yield from glob(folder, pattern)
        raise FileNotFoundError(2, "No such file or directory", str(folder / "gone"))

    write_run(tmp_path / "push-0" / "record", 2)
    monkeypatch.setattr(Path, "glob", going)
    with pytest.raises(DataError, match="holds 1 runs; give one of them"):
        find_record(tmp_path)


def test_limits_that_are_told_as_nothing_are_the_defaults(root: Path) -> None:
    edit(root / "run.json", moves={"max_lag": None, "max_grip_lag": None})
    assert len(shown(root)[0]["steps"]) == 13
