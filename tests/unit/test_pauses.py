"""The meter that tells a machine which stood still from a test that failed."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.pauses import PauseMeter

ROOT = Path(__file__).parents[2]
pytest_plugins = ["pytester"]


def test_a_pause_is_seen_with_its_length_and_only_from_then_on(tmp_path: Path) -> None:
    (folder := tmp_path / "pauses").mkdir()
    with PauseMeter(folder) as meter:
        time.sleep(0.5)  # an interpreter starts
        before = time.monotonic()
        watcher = meter._processes[0].pid
        os.kill(watcher, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(watcher, signal.SIGCONT)
        assert 0.25 < meter.longest_since(before) < 3.0
        after = time.monotonic()
        assert meter.longest_since(after) < 0.25
    assert all(process.poll() is not None for process in meter._processes) and not folder.exists()


@pytest.mark.parametrize(("pause", "outcome"), [(0.2, "skipped"), (0.0, "failed")])
def test_a_failure_in_real_time_counts_unless_the_machine_stood_still(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, pause: float, outcome: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    conftest = (ROOT / "tests/conftest.py").read_text()
    pytester.makeconftest(conftest + f"\nPauseMeter.longest_since = lambda self, began: {pause}\n")
    folder = pytester.mkdir("unit") / "hardware"
    folder.mkdir()
    (folder / "test_late.py").write_text("def test_late(): assert not 'on time'\ndef test_fine(): pass\n")
    result = pytester.runpytest_subprocess()
    outcomes = result.parseoutcomes()
    assert outcomes["rerun"] == 2 and outcomes["passed"] == 1 and outcomes[outcome] == 1
