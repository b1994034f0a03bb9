"""The meters that tell a machine which was not its own from a test that failed, and what the run of the tests makes of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pauses import Load, PauseMeter

ROOT = Path(__file__).parents[2]
pytest_plugins = ["pytester"]

_SPIN = """
import os, sys, time
try:
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
except OSError:
    pass
if len(sys.argv) > 2:
    os.sched_setaffinity(0, {int(sys.argv[2])})
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    pass
"""


@contextmanager
def spinning(seconds: float, cores: tuple[int, ...]) -> Iterator[None]:
    """What a guard that spins does, on each of `cores`, with a guard's priority."""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", _SPIN, str(seconds), str(core)]) for core in cores]
    yield
    for process in processes:
        process.wait()


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


@pytest.mark.realtime
def test_a_guard_that_spins_with_priority_makes_no_pause_and_is_no_load_of_others(tmp_path: Path) -> None:
    (folder := tmp_path / "pauses").mkdir()
    with PauseMeter(folder) as meter:
        time.sleep(0.5)
        before, quiet = time.monotonic(), Load.now()
        with spinning(1.0, tuple(sorted(os.sched_getaffinity(0)))):
            pass
        after = Load.now()
        assert meter.longest_since(before) < 0.1
    assert after.ours - quiet.ours > 0.8 * len(os.sched_getaffinity(0))
    assert after.of_others_since(quiet) < 0.3


CASES = {  # what the meters say: what becomes of a failure
    "a machine of its own": ("", "failed"),
    "a machine that stood still": ("a core of this machine stood still for 0.20 s", "not judged"),
}


@pytest.fixture
def conftest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def run_with(pytester: pytest.Pytester, disturbance: str, tests: str, place: str = "hardware") -> pytest.RunResult:
    conftest = (ROOT / "tests/conftest.py").read_text()
    pytester.makeconftest(conftest + f"\ndisturbance = lambda meter, before: {disturbance!r}\n")
    folder = pytester.mkdir("unit") / place
    folder.mkdir()
    (folder / "test_late.py").write_text(tests)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")


@pytest.mark.parametrize("case", CASES)
def test_a_failure_in_real_time_is_a_failure_or_not_judged_and_never_skipped(conftest: pytest.Pytester, case: str) -> None:
    disturbance, outcome = CASES[case]
    result = run_with(conftest, disturbance, "def test_late(): assert not 'on time'\ndef test_fine(): pass\n")
    text = result.stdout.str()
    assert "1 passed" in text and f"1 {outcome}" in text and result.parseoutcomes().get("skipped", 0) == 0
    assert result.ret == (1 if outcome == "failed" else 0)
    if outcome == "not judged":
        reason = "*test_late.py::test_late: a core of this machine stood still for 0.20 s; *It failed with *"
        result.stdout.fnmatch_lines(["*1 not judged*", reason])


def test_a_failure_outside_of_real_time_is_one_whatever_the_machine_did(conftest: pytest.Pytester) -> None:
    result = run_with(conftest, "a pause", "def test_wrong(): assert 1 == 2\n", place="planning")
    assert result.ret == 1 and result.parseoutcomes()["failed"] == 1


def test_more_than_five_that_are_not_judged_fail_the_run(conftest: pytest.Pytester) -> None:
    six = "\n".join(f"def test_late_{i}(): assert not 'on time'" for i in range(6))
    result = run_with(conftest, "a pause", six)
    assert result.ret == 1 and "6 not judged, of which 5 are allowed: the run fails" in result.stdout.str()


def test_a_test_that_was_disturbed_once_is_tried_again_with_fresh_fixtures(conftest: pytest.Pytester) -> None:
    tests = """
import pytest
tries = []
@pytest.fixture
def fresh():
    tries.append(1)
    return []
def test_at_last(fresh):
    assert fresh == []
    fresh.append(1)
    assert len(tries) == 3
"""
    result = run_with(conftest, "a pause", tests)
    assert result.ret == 0 and result.parseoutcomes()["passed"] == 1


PLANTED = {  # what a guard that is broken does in each tick, before or instead of it
    "spins": "    end = time.monotonic() + 0.5\n    while time.monotonic() < end: pass\n    return tick(self)\n",
    "sleeps": "    time.sleep(0.3)\n    return tick(self)\n",
    "skips a tick": "    self.n = getattr(self, 'n', 0) + 1\n    if self.n % 10 == 0: time.sleep(0.02)\n    return tick(self)\n",
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_guard_with_a_planted_fault_fails_and_nothing_is_skipped_or_not_judged(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of the tests' own machinery but for the meters, which this machine may have a reason to move; see above for those."""
    plugin = f"""
import sys, time
from robo_dream.safety.guard_thread import GuardThread
tick = GuardThread.tick
def broken(self):
{PLANTED[fault]}
GuardThread.tick = broken
"""
    (tmp_path / "planted.py").write_text(plugin)
    code = f"""
import sys, pytest
class Quiet:
    def pytest_collection_finish(self, session):
        for plugin in session.config.pluginmanager.get_plugins():
            if hasattr(plugin, "disturbance"):
                plugin.disturbance = lambda meter, before: ""
test = "{ROOT}/tests/unit/safety/test_guard_rate.py"
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", "{ROOT}", test], plugins=[Quiet()]))
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "GUARD_PLUGIN": "planted"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed" in done.stdout and "skipped" not in done.stdout and "not judged" not in done.stdout and "rror" not in done.stderr
