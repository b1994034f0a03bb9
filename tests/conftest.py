"""The test run checks every annotated shape and type of robo_dream while it runs."""

import os

from jaxtyping import install_import_hook

os.environ.setdefault("MUJOCO_GL", "egl")  # before mujoco is imported; there is no screen
os.environ.setdefault("LP_NUM_THREADS", "0")
install_import_hook("robo_dream", "beartype_with_tower.check")

import hypothesis  # noqa: E402
import torch  # noqa: E402

hypothesis.settings.register_profile("no clock", deadline=None)  # a busy machine is not a broken test
hypothesis.settings.load_profile("no clock")

torch.set_num_threads(1)  # tests are small; threads only fight with each other
