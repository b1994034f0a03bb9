"""A run reads back as it was written, whenever its writer died, and without torch."""

import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import action, decision, new_writer, observation, write_run

from robo_dream.errors import DataError
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import read_run


def test_a_run_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    run = read_run(tmp_path)
    assert run.about["task"] == "push" and run.result is not None and run.result["moderate"]
    assert run.goal.object_pos is not None and run.goal.object_pos.tolist() == [pytest.approx([0.4, 0.0, 0.03])]
    assert run.goal.tool_pos is None
    assert set(run.goal.pictures) == {"front", "side"}
    assert [step.sent is None for step in run.steps] == [False] * 12 + [True]
    for number, step in enumerate(run.steps):
        wanted, got = observation(number), step.observation
        assert got.time == wanted.time and np.array_equal(got.arm.proprio, wanted.arm.proprio)
        assert (got.arm.joint_target is None) == (wanted.arm.joint_target is None)
        assert np.array_equal(got.truth["object_pose"], wanted.truth["object_pose"])
        for name, frame in wanted.frames.items():
            assert np.array_equal(got.frames[name].image, frame.image) and got.frames[name].number == frame.number
    assert run.steps[3].sent is not None and np.array_equal(run.steps[3].sent, action(3))


def test_every_number_of_a_decision_is_kept(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    run = read_run(tmp_path)
    assert [kept.step for kept in run.decisions] == [0, 5, 10]
    for kept in run.decisions:
        wanted = decision(kept.step)
        for field in fields(Decision):
            value, want = getattr(kept, field.name), getattr(wanted, field.name)
            if field.name == "terms":
                assert {name: term.tolist() for name, term in value.items()} == {name: term.tolist() for name, term in want.items()}
            else:
                assert np.array_equal(value, want) if isinstance(value, np.ndarray) else value == want, field.name
        assert kept.cost == pytest.approx(min(wanted.totals.tolist())) and kept.action_block == 5


def test_strategies_are_kept_and_none_are_made_up_for_a_record_that_has_none(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    without, looked_for, _ = read_run(tmp_path).decisions
    assert without.modes is None and without.strategies == ()
    with np.load(tmp_path / "decisions" / "000000.npz") as file:
        assert "modes" not in file.files  # as every record made before there were strategies
    assert looked_for.modes is not None and looked_for.modes.tolist() == [-1, 0, 0, 1, -1, 0, 2] and looked_for.strategies == (3, 1, 1)


def test_the_newest_decision_of_a_step_is_the_one_in_force(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    run = read_run(tmp_path)
    in_force = [run.decision_at(step) for step in (0, 4, 5, 11)]
    assert [kept.step if kept else None for kept in in_force] == [0, 0, 5, 10]


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    reading = f"print(len(read_run({str(tmp_path)!r}).steps), 'torch' in sys.modules)"
    code = f"import sys; from robo_dream.recording.record import read_run; {reading}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False"]


def test_a_killed_writer_loses_nothing_that_it_had_written(tmp_path: Path) -> None:
    child = Path(__file__).with_name("recorded_runs.py")
    writing = subprocess.Popen([sys.executable, str(child), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writing.stdout is not None
    said = -1
    while said < 20:
        said = int(writing.stdout.readline())
    writing.kill()
    said = max([said, *map(int, writing.stdout.read().split())])
    writing.wait()
    run = read_run(tmp_path)
    assert len(run.steps) >= said and len(run.decisions) >= said + 1 and not run.damaged
    assert [kept.step for kept in run.decisions] == list(range(len(run.decisions))) and run.result is None


def test_what_a_killed_writer_left_beside_is_ignored(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    (tmp_path / "decisions" / "000011.npz.tmp-17").write_bytes(b"half a file")
    assert len(read_run(tmp_path).decisions) == 3


def test_a_run_cut_short_at_any_byte_of_any_file_opens_with_everything_else(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    whole = read_run(tmp_path)
    assert not whole.damaged
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "run.json")
    rng, tried = np.random.default_rng(0), 0
    for cut in range(200):
        path = files[cut % len(files)]
        content, name = path.read_bytes(), str(path.relative_to(tmp_path))
        path.write_bytes(content[: int(rng.integers(len(content)))])
        run = read_run(tmp_path)
        path.write_bytes(content)
        assert list(run.damaged) == [name] and Path(name).name in run.damaged[name]
        assert [f"decisions/{kept.step:06d}.npz" for kept in run.decisions] == [
            f"decisions/{kept.step:06d}.npz" for kept in whole.decisions if f"decisions/{kept.step:06d}.npz" != name
        ]
        assert {step.number for step in run.steps} == {step.number for step in whole.steps if f"steps/{step.number:06d}.npz" != name}
        assert all(run.step_at(step.number) is step for step in run.steps)
        tried += 1
    assert tried == 200


def test_a_damaged_run_json_is_the_one_thing_that_stops_reading(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    (tmp_path / "run.json").write_bytes((tmp_path / "run.json").read_bytes()[:-5])
    with pytest.raises(DataError, match=r"run\.json"):
        read_run(tmp_path)


def test_a_run_whose_folders_were_cut_off_opens(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    shutil.rmtree(tmp_path / "steps")
    assert len(read_run(tmp_path).decisions) == 3 and read_run(tmp_path).steps == ()
    shutil.rmtree(tmp_path / "decisions")
    assert read_run(tmp_path).decisions == ()


def test_of_a_lost_goal_the_decisions_know_all_but_the_picture(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    (tmp_path / "goal.npz").unlink()
    goal = read_run(tmp_path).goal
    assert goal.pictures == {} and goal.object_pos is not None and goal.object_pos.tolist() == [pytest.approx([0.4, 0.0, 0.03])]


def test_a_lost_step_moves_no_other(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    (tmp_path / "steps" / "000003.npz").write_bytes(b"")
    run = read_run(tmp_path)
    later = run.step_at(5)
    assert run.step_at(3) is None and later is not None and np.array_equal(later.observation.arm.proprio, observation(5).arm.proprio)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.json is missing"):
        read_run(tmp_path)


def test_a_run_is_never_written_over_another(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    with pytest.raises(DataError, match="already holds a run"):
        new_writer(tmp_path)
