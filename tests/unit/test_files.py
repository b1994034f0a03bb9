"""A configs/... path means the same file in a clone and in any other folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robo_dream.evaluation.manifest import read_manifest
from robo_dream.files import clear_leftovers, packaged, replace_file, replacing

ROOT = Path(__file__).parents[2]


def test_from_an_empty_folder_it_is_the_file_that_comes_with_robo_dream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert packaged("configs/plan/demo.yaml").samefile(ROOT / "configs/plan/demo.yaml")
    assert len(read_manifest(Path("configs/manifests") / "push.safetensors")) > 0


def test_what_the_working_directory_holds_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("configs/plan/demo.yaml")
    own.parent.mkdir(parents=True)
    own.touch()
    assert packaged(own) == own


ELSEWHERE = ["configs/plan/absent.yaml", "runs/plan", "demo.yaml", "/configs/plan/demo.yaml", "../configs/plan/demo.yaml"]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_any_other_path_comes_back_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert packaged(path) == Path(path)


def test_what_fails_half_way_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    replace_file(path, b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as beside:
        beside.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    with replacing(path) as beside:
        beside.write_bytes(b"new")
        assert path.read_bytes() == b"old" and beside.parent == tmp_path
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_what_a_writer_lays_beside_its_file_is_in_a_folder_that_goes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    replace_file(path, b"old")
    with replacing(path, in_folder=True) as beside:
        (beside.parent / ".tmpIWWJhk").write_bytes(b"half")  # as safetensors leaves it when it is killed
        assert {one.name for one in tmp_path.iterdir()} == {path.name, f"{path.name}.tmp-{os.getpid()}"}
        beside.write_bytes(b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_goes_at_the_next_start_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [tmp_path / f"model.safetensors.tmp-{dead.pid}", tmp_path / f"dream.safetensors.tmp{dead.pid}"]
    kept = [tmp_path / f"model.safetensors.tmp-{os.getpid()}", tmp_path / "notes.tmp", tmp_path / "a.tmp-x1", tmp_path / f"tmp-{dead.pid}"]
    for path in (*left, *kept):
        path.touch()
    folder = tmp_path / f"frames.tmp-{dead.pid}"
    (folder / "deep").mkdir(parents=True)
    clear_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
