"""The test run checks every annotated shape and type of robo_dream while it runs."""

import os

from jaxtyping import install_import_hook

os.environ.setdefault("MUJOCO_GL", "egl")  # before mujoco is imported; there is no screen
os.environ.setdefault("LP_NUM_THREADS", "0")
install_import_hook("robo_dream", "beartype_with_tower.check")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

hypothesis.settings.register_profile("no clock", deadline=None)  # a busy machine is not a broken test
hypothesis.settings.load_profile("no clock")

torch.set_num_threads(1)  # tests are small; threads only fight with each other

REAL_TIME = (  # they keep real time with emulated arms and cameras, and a starved machine makes any of them late
    "conformance/test_cameras.py", "conformance/test_hardware_arms.py", "conformance/test_hardware_ur_xarm.py", "integration/arms/",
    "integration/test_calibrate.py", "integration/test_line_arm.py", "integration/test_run_twin.py", "integration/test_run_twins.py",
    "unit/cameras/", "unit/emulators/",
    "unit/control/test_guard_thread.py", "unit/control/test_overlapped.py", "unit/hardware/",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in real time are tried up to three times; the summary counts what was tried again."""
    for item in items:
        if any(place in item.nodeid for place in REAL_TIME):
            item.add_marker(pytest.mark.flaky(reruns=2))
