"""A configs/... path means the same file in a clone and in any other folder."""

from pathlib import Path

import pytest

from robo_dream.evaluation.manifest import read_manifest
from robo_dream.files import packaged

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
