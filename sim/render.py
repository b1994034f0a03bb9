"""Pictures of a MuJoCo model, as cheap as they can be: no shadows, no reflections, no multisampling, unless one asks for them."""

import atexit
import os
import threading
import weakref
from types import TracebackType

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.errors import MissingExtraError

# Mesa's software rasteriser looks into the other contexts of its process while it draws: of threads that draw at once, one now and then
# reads freed memory (a segmentation fault in swrast_dri.so, 2 of 73 runs with two cameras).
_ONE_DRAWS = threading.RLock()


class SceneRenderer:
    """An offscreen renderer of one picture size; keep one per process and size, and close it.

    `as_modelled` draws shadows and reflections where the model has them.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, as_modelled: bool = False) -> None:
        os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa's software rasteriser is faster without its own threads here
        try:
            with _ONE_DRAWS:
                self._renderer = mujoco.Renderer(model, height, width)
        except Exception as error:  # the back ends raise ImportError, AttributeError, RuntimeError and their own types
            raise MissingExtraError(
                f"MuJoCo cannot open an offscreen OpenGL context ({type(error).__name__}: {error}); on Debian run "
                "`apt-get install libegl1 libgl1` and set MUJOCO_GL=egl, or `apt-get install libosmesa6` and set MUJOCO_GL=osmesa"
            ) from error
        self._close = weakref.finalize(self, _close, self._renderer)
        atexit.register(self._close)  # registered after MuJoCo's own hook, so that it runs before OpenGL is shut down
        flags = self._renderer.scene.flags
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            flags[flag] = flags[flag] and as_modelled

    def __enter__(self) -> "SceneRenderer":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._close()
        atexit.unregister(self._close)

    def look(self, data: mujoco.MjData, camera: str) -> None:
        """Takes in the world as it is now; quick, so that moving physics need only be held back for this."""
        self._renderer.update_scene(data, camera)

    def colour(self) -> UInt8[np.ndarray, "height width 3"]:
        """What was there when it last looked."""
        with _ONE_DRAWS:
            return self._renderer.render()

    def depth(self, to_the_right: float = 0.0) -> Float[np.ndarray, "height width"]:
        """Metres along the axis of a camera that many metres to the right of the one that last looked."""
        for eye in self._renderer.scene.camera:
            eye.pos = eye.pos + to_the_right * np.cross(eye.forward, eye.up)
        self._renderer.enable_depth_rendering()
        try:
            return self.colour()
        finally:
            self._renderer.disable_depth_rendering()

    def draw(self, data: mujoco.MjData, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        self.look(data, camera)
        return self.colour()


def _close(renderer: mujoco.Renderer) -> None:
    with _ONE_DRAWS:
        renderer.close()
