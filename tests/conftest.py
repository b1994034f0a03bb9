"""The test run checks every annotated shape and type of robo_dream, sim and hardware while it runs."""

import os
import tempfile
from pathlib import Path

from jaxtyping import install_import_hook

os.environ.setdefault("MUJOCO_GL", "egl")  # before mujoco is imported; there is no screen
os.environ.setdefault("LP_NUM_THREADS", "0")
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="robo-dream-tests-")  # locks of arms: another run of the tests has other arms
install_import_hook(("robo_dream", "sim", "hardware"), "beartype_with_tower.check")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from _pytest.runner import runtestprotocol  # noqa: E402

from tests.pauses import Load, PauseMeter, adopt_orphans  # noqa: E402

hypothesis.settings.register_profile("no clock", deadline=None)  # a busy machine is not a broken test
hypothesis.settings.load_profile("no clock")

torch.set_num_threads(1)  # tests are small; threads only fight with each other

REAL_TIME = (  # they keep real time with emulated arms and cameras, and a starved machine makes any of them late
    "conformance/test_cameras.py", "conformance/test_hardware_arms.py", "conformance/test_hardware_ur_xarm.py", "integration/arms/",
    "integration/test_calibrate.py", "integration/test_lerobot_recording.py", "integration/test_line_arm.py",
    "integration/test_collect_arm.py", "integration/test_run_twin.py", "integration/test_run_twins.py", "integration/test_serve_twin.py",
    "unit/cameras/", "unit/emulators/", "unit/control/test_asynchronous.py", "unit/hardware/",
    "unit/safety/test_guard_thread.py", "unit/safety/test_guard_rate.py", "unit/safety/test_stops.py", "unit/safety/test_drill.py",
)  # fmt: skip

TRIES = 3  # of a test in real time that fails while the machine is not its own
PAUSE = 0.1  # s for which a core may stand still while a test in real time is judged
OTHERS = 0.5  # part of all cores that others may use meanwhile
MOST_NOT_JUDGED = 5  # of one run of the tests; more say nothing about the code, so the run fails
NOT_JUDGED = "not judged"
METER = pytest.StashKey[PauseMeter]()
_not_judged: list[tuple[str, str]] = []
_tried_again: list[str] = []  # tests in real time that passed so


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(place in item.nodeid for place in REAL_TIME):
            item.add_marker(pytest.mark.realtime)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A test in real time that fails each time is a failure, unless the machine was never its own: then it is not judged. One that passes
    when it is tried again passes, and the summary names it."""
    if not item.get_closest_marker("realtime"):
        return None
    stash = item.config.stash
    if METER not in stash:
        adopt_orphans()
        stash[METER] = PauseMeter(Path(tempfile.mkdtemp(prefix="pauses-"))).__enter__()
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reasons: list[str] = []
    for attempt in range(TRIES):
        if attempt:
            item._initrequest()  # type: ignore[attr-defined]  # fixtures anew, as pytest-rerunfailures does
        before = Load.now()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(report.failed for report in reports):
            if reasons:
                _tried_again.append(item.nodeid)
            break
        reasons.append(disturbance(stash[METER], before))
    else:
        for report in reports:
            if report.failed and all(reasons):
                report.outcome = NOT_JUDGED  # type: ignore[assignment]
                what = report.longreprtext.strip().splitlines()[-1:] or ["?"]
                report.user_properties.append((NOT_JUDGED, f"{'; '.join(reasons)}. It failed with {what[0]}"))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def disturbance(meter: PauseMeter, before: Load) -> str:
    """Why a test that began at `before` cannot be judged; empty when the machine was its own."""
    others, pause = Load.now().of_others_since(before), meter.longest_since(before.time)
    reasons = [f"a core of this machine stood still for {pause:.2f} s"] if pause > PAUSE else []
    return " and ".join(reasons + ([f"others used {100 * others:.0f} % of it"] if others > OTHERS else []))


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    return (NOT_JUDGED, "N", NOT_JUDGED.upper()) if report.outcome == NOT_JUDGED else None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.outcome == NOT_JUDGED:
        _not_judged.append((report.nodeid, dict(report.user_properties)[NOT_JUDGED]))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if len(_not_judged) > MOST_NOT_JUDGED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _tried_again:
        terminalreporter.section(f"{len(_tried_again)} passed when tried again")
        for nodeid in _tried_again:
            terminalreporter.line(nodeid)
    if _not_judged:
        too_many = f", of which {MOST_NOT_JUDGED} are allowed: the run fails" if len(_not_judged) > MOST_NOT_JUDGED else ""
        terminalreporter.section(f"{len(_not_judged)} not judged{too_many}")
        for nodeid, reason in _not_judged:
            terminalreporter.line(f"{nodeid}: {reason}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if METER in config.stash:
        config.stash[METER].__exit__(None, None, None)
