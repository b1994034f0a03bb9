"""The test run checks every annotated shape and type of robo_dream while it runs."""

import os
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from jaxtyping import install_import_hook

os.environ.setdefault("MUJOCO_GL", "egl")  # before mujoco is imported; there is no screen
os.environ.setdefault("LP_NUM_THREADS", "0")
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="robo-dream-tests-")  # locks of arms: another run of the tests has other arms
install_import_hook("robo_dream", "beartype_with_tower.check")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from tests.pauses import PauseMeter  # noqa: E402

hypothesis.settings.register_profile("no clock", deadline=None)  # a busy machine is not a broken test
hypothesis.settings.load_profile("no clock")

torch.set_num_threads(1)  # tests are small; threads only fight with each other

REAL_TIME = (  # they keep real time with emulated arms and cameras, and a starved machine makes any of them late
    "conformance/test_cameras.py", "conformance/test_hardware_arms.py", "conformance/test_hardware_ur_xarm.py", "integration/arms/",
    "integration/test_calibrate.py", "integration/test_line_arm.py", "integration/test_run_twin.py", "integration/test_run_twins.py",
    "unit/cameras/", "unit/emulators/",
    "unit/safety/", "unit/control/test_overlapped.py", "unit/hardware/",
)  # fmt: skip


RERUNS = 2
PAUSE = 0.05  # s for which a core may stand still while a test in real time is judged
METER, BEGAN = pytest.StashKey[PauseMeter](), pytest.StashKey[float]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in real time are tried up to three times; the summary counts what was tried again."""
    for item in items:
        if any(place in item.nodeid for place in REAL_TIME):
            item.add_marker(pytest.mark.flaky(reruns=RERUNS))


def pytest_runtest_setup(item: pytest.Item) -> None:
    stash = item.config.stash
    if item.get_closest_marker("flaky") and METER not in stash:
        stash[METER] = PauseMeter(Path(tempfile.mkdtemp(prefix="pauses-"))).__enter__()
    item.stash[BEGAN] = time.monotonic()


def pytest_unconfigure(config: pytest.Config) -> None:
    if METER in config.stash:
        config.stash[METER].__exit__(None, None, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test in real time that failed to the last while the machine itself stood still says nothing, and is skipped with that reason."""
    report = yield
    meter = item.config.stash.get(METER, None)
    if report.failed and meter and item.get_closest_marker("flaky") and getattr(item, "execution_count", 1) > RERUNS:
        pause = meter.longest_since(item.stash[BEGAN])
        if pause > PAUSE:
            report.outcome = "skipped"
            path, line, _ = item.location
            report.longrepr = (path, line or 0, f"this machine stood still for {pause:.2f} s meanwhile; it failed with {report.longrepr}")
    return report
