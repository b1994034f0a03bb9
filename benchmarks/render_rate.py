"""How many 64 px pictures a second a core draws of the default scene: `python benchmarks/render_rate.py`.

"cheap" is how worlds draw; "as shipped" has MuJoCo's default shadows, reflections and multisampling. The issue asks for 300.
"""

import argparse
import os
import platform
import time
from dataclasses import replace

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported

import mujoco
import numpy as np

from sim.tabletop.scene import SceneConfig
from sim.tabletop.start import draw_start
from sim.tabletop.world import World

SIDE = 64  # px, as the issue asks


def machine() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(names)} cores, load {os.getloadavg()[0]:.1f}"


def frames_per_second(world: World, seconds: float, draw_moves: int) -> dict[str, float]:
    """By camera; the arm moves between pictures, outside the clock."""
    rates = {}
    for camera in world.scene.config.cameras:
        rng = np.random.default_rng(0)
        draw_start(world, rng)
        world.image(camera.name)
        spent, count = 0.0, 0
        while spent < seconds:
            if count % draw_moves == 0:
                world.step(rng.uniform(world.moves.spec.low, world.moves.spec.high))
            start = time.process_time()  # of this process, so that others on the core do not count
            world.image(camera.name)
            spent += time.process_time() - start
            count += 1
        rates[camera.name] = count / spent
    return rates


def as_shipped(world: World) -> None:
    """Gives the world MuJoCo's default picture quality."""
    default = mujoco.MjModel.from_xml_string("<mujoco/>").vis.quality
    for name in ("offsamples", "shadowsize"):
        setattr(world.model.vis.quality, name, getattr(default, name))
    world.model.light_castshadow[:] = True
    for camera in world.scene.config.cameras:
        world.image(camera.name)
    for renderer in world._renderers.values():
        flags = renderer._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of processor time for each row")
    parser.add_argument("--arm", default="jaco")
    parser.add_argument("--decimate", type=float, default=0.8, help="fraction of triangles left out in the last row")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core
    print(machine())
    print(f"MuJoCo {mujoco.__version__}, MUJOCO_GL={os.environ['MUJOCO_GL']}, {SIDE} px, one core")
    print(f"{'quality':<24}{'camera':<10}{'frames/s':>10}")
    for quality, decimate in (("as shipped", 0.0), ("cheap", 0.0), (f"cheap, decimate={args.decimate}", args.decimate)):
        cameras = tuple(replace(camera, width=SIDE, height=SIDE) for camera in SceneConfig().cameras)
        with World(SceneConfig(arm=args.arm, decimate=decimate, cameras=cameras)) as world:
            if quality == "as shipped":
                as_shipped(world)
            for camera, rate in frames_per_second(world, args.seconds, 5).items():
                print(f"{quality:<24}{camera:<10}{rate:>10.0f}")


if __name__ == "__main__":
    main()
