"""What cheaper pictures of OGBench or Meta-World cost: frames a second of processor time, and how far they are from its own, in 1/255.

    python benchmarks/picture_cost.py [--world ogbench] [--pictures 12] [--size 128]

Pictures are those of its first script's episodes. `all` is the mean over the picture, `near` over the 16 x 16 px (at 128) around what
matters: OGBench's cube, Meta-World's hand.
"""

import argparse
import json
import time
from dataclasses import replace

import numpy as np

from robo_dream.runtime.environment import build_environment
from sim.adapters.metaworld import Metaworld, MetaworldConfig
from sim.adapters.mujoco_world import MujocoPicture, PictureConfig
from sim.adapters.ogbench import Ogbench, OgbenchConfig

CONFIGS = {"ogbench": OgbenchConfig(), "metaworld": MetaworldConfig()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=CONFIGS, default="ogbench")
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    args = parser.parse_args()
    official = PictureConfig(args.size, decimate=0.0, shadow=4096, samples=4)
    config = CONFIGS[args.world]
    assert config.picture is not None
    ours = replace(config.picture, size=args.size)
    ways = {
        "official": official, "ours": ours, "ours, edges smoothed": replace(ours, samples=4),
        "ours, whole meshes": replace(ours, decimate=0.0), "ours, no shadow": replace(ours, shadow=0),
    }  # fmt: skip
    with build_environment(replace(config, picture=ours)) as world:
        assert isinstance(world, Ogbench | Metaworld)
        states = _states(world, args.pictures)
        camera = world.cameras[0]
        assert camera.intrinsics is not None and camera.world_from_camera is not None
        truth: list[np.ndarray] = []
        for name, way in ways.items():
            world.close()
            world.picture = MujocoPicture(world.model, world.spec, way)
            world.set_state(states[0])
            world.image(camera.name)
            drawn, around, began = [], [], time.process_time()
            for state in states:
                world.set_state(state)
                drawn.append(world.image(camera.name).astype(float))
            seconds = time.process_time() - began
            truth = truth or drawn
            for state, one, other in zip(states, drawn, truth, strict=True):
                world.set_state(state)
                matters = world.ground_truth().object_pose[:3] if args.world == "ogbench" else world.ground_truth().tool_pos
                seen = np.linalg.inv(np.array(camera.world_from_camera)) @ [*matters, 1.0]
                u, v = (int(args.size / 2 + camera.intrinsics.fx * seen[i] / seen[2]) for i in (0, 1))
                half = args.size // 16
                window = slice(max(v - half, 0), v + half), slice(max(u - half, 0), u + half)
                around.append(np.abs(one[window] - other[window]).mean())
            apart = float(np.mean([np.abs(one - other).mean() for one, other in zip(drawn, truth, strict=True)]))
            print(json.dumps({
                "picture": name, "frames_a_processor_second": round(len(states) / seconds, 1), "all": round(apart, 2),
                "near": round(float(np.mean(around)), 2),
            }), flush=True)  # fmt: skip


def _states(world: Ogbench | Metaworld, count: int) -> list[np.ndarray]:
    """Of scripted episodes, 12 control steps apart."""
    states, rng = [], np.random.default_rng(0)
    while len(states) < count:
        world.reset(rng)
        script = world.script(world.scripts[0], rng)
        for step in range(72):
            world.step(next(script))
            if step % 12 == 11:
                states.append(world.state)
    return states[:count]


if __name__ == "__main__":
    main()
