"""MuJoCo worlds that implement the protocols of `robo_dream.embodiment`."""

import os

from robo_dream.errors import MissingExtraError

try:
    import mujoco as _mujoco  # noqa: F401  (loads OpenGL's library, and raises whatever PyOpenGL raises when there is none)
except (AttributeError, ImportError, OSError, RuntimeError) as error:
    raise MissingExtraError(
        f"MuJoCo cannot load with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r} ({type(error).__name__}: {error}); on Debian run "
        "`apt-get install libegl1 libgl1` and set MUJOCO_GL=egl, or `apt-get install libosmesa6` and set MUJOCO_GL=osmesa"
    ) from error
