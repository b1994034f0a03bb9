"""Drawing a small scene without a screen, by each of the ways MuJoCo has."""

import json
import os
import sys
import time
from collections.abc import Iterator
from ctypes.util import find_library

from robo_dream.runtime.checks.check import Check, Status
from robo_dream.runtime.checks.program import run_program

PACKAGES = {"egl": "libegl1 libgl1", "osmesa": "libosmesa6"}  # Debian
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_SCENE = """
<mujoco>
  <visual><quality offsamples="0" shadowsize="0"/></visual>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="1 1 .1" rgba=".2 .3 .4 1"/>
    <body pos="0 0 .2"><geom type="box" size=".1 .1 .1" rgba="1 .2 .1 1"/></body>
    <camera name="view" pos="0 -.8 .8" xyaxes="1 0 0 0 1 1"/>
  </worldbody>
</mujoco>"""


def checks() -> Iterator[Check]:
    """One check for each way; only when none works is that broken."""
    if sys.platform != "linux":
        yield Check("rendering", Status.OK, f"not tried on {sys.platform}; MuJoCo uses the system's own GL here")
        return
    outcomes = {
        backend: run_program(
            "from robo_dream.runtime.checks.rendering import draw_and_print; draw_and_print()",
            {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend, "LP_NUM_THREADS": "0"},
            timeout=60,
        )
        for backend in PACKAGES
    }
    any_works = any(outcome.ok for outcome in outcomes.values())
    for backend, outcome in outcomes.items():
        name, install = f"rendering, {backend}", f"as root: apt-get install {PACKAGES[backend]}"
        if outcome.ok:
            drawn = json.loads(outcome.output)
            found = f"{drawn['frames_per_second']:.0f} frames/s of a small 64 px scene with {drawn['renderer']}"
            yield Check(name, Status.OK, found, "" if backend == "egl" or outcomes["egl"].ok else "export MUJOCO_GL=osmesa")
        else:
            library = _LIBRARIES[backend]
            problem = outcome.problem if find_library(library) else f"lib{library} is not installed"
            yield Check(name, Status.ABSENT if any_works else Status.BROKEN, problem, install)
    chosen = os.environ.get("MUJOCO_GL", "egl")
    if chosen in outcomes and any_works and not outcomes[chosen].ok:
        working = next(backend for backend, outcome in outcomes.items() if outcome.ok)
        yield Check("MUJOCO_GL", Status.BROKEN, f"is {chosen}, which does not work here", f"export MUJOCO_GL={working}")


def draw_and_print() -> None:
    """Draws the scene for half a second and prints, as JSON, how fast and by whom; fails on a blank picture."""
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 64, 64) as renderer:
        renderer.update_scene(data, "view")
        image = renderer.render()
        red = (image[..., 0] > 2.0 * image[..., 2]).mean()
        if not 0.01 < red < 0.9:
            raise RuntimeError(f"the picture is wrong: the red box covers {red:.0%} of it instead of about a tenth")
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < 0.5:
            renderer.update_scene(data, "view")
            renderer.render()
            count += 1
        rate = count / (time.perf_counter() - start)
        name = GL.glGetString(GL.GL_RENDERER)
    print(json.dumps({"frames_per_second": rate, "renderer": name.decode() if name else "an unnamed renderer"}))
