"""LeRobot's own recorder (0.4.4, unmodified) records our emulated SO-101: what `tests/data/lerobot_so101` is, and what training reads.

    python benchmarks/lerobot_record.py --python /tmp/lerobot_env/bin/python --out /tmp/so101_lerobot --episodes 4 --seconds 6

`lerobot` runs in an environment of its own, made as in lerobot_so101.py with one package more (`./pip install --no-deps diffusers`). Its
`record` opens the servo bus, calibrates from a file, follows a leader at 30 frames a second and writes video. Two things have no wire here
and are told to it by lerobot_record_side.py: the leader (a script that wanders instead of a second arm) and the two cameras (pictures of
the physics in a file that both processes map). On a machine that is too busy LeRobot warns that it runs slower than 30 Hz: then its times
are wrong, so record again.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from lerobot_so101 import calibration

from sim.emulators.plant import Plant
from sim.emulators.so101 import so101_bus, so101_world
from sim.tabletop.scene import FRONT, SIDE, SceneConfig
from sim.tabletop.world import World

CAMERAS = (FRONT, SIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the interpreter of an environment that has lerobot 0.4.4")
    parser.add_argument("--out", type=Path, required=True, help="the dataset's folder, which must not exist")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each episode")
    parser.add_argument("--seed", type=int, default=0, help="of the leader")
    parser.add_argument("--width", type=int, default=320, help="of the pictures, 4 to 3")
    args = parser.parse_args()
    height = args.width * 3 // 4
    scene = SceneConfig(arm="so101", cameras=tuple(replace(camera, width=args.width, height=height) for camera in CAMERAS))
    with (
        tempfile.TemporaryDirectory() as folder,
        so101_world() as world,
        World(scene) as shown,
        Plant(world) as plant,
        so101_bus(plant) as bus,
    ):
        (Path(folder) / "emulated.json").write_text(json.dumps(calibration()))
        pictures = np.memmap(Path(folder) / "pictures", np.uint8, "w+", shape=(len(CAMERAS), height, args.width, 3))
        settings = {
            "port": bus.port, "folder": folder, "out": str(args.out), "episodes": args.episodes, "seconds": args.seconds,
            "seed": args.seed, "cameras": [camera.name for camera in CAMERAS], "width": args.width, "height": height,
        }  # fmt: skip
        root = Path(__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1", "HF_HOME": folder}
        command = [args.python, str(root / "benchmarks" / "lerobot_record_side.py"), json.dumps(settings)]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment, cwd=root)
        assert client.stdin
        client.stdin.write("\n")  # "press Enter to use the provided calibration file"
        client.stdin.flush()
        while client.poll() is None:
            with plant.lock:
                state = plant.state()
            shown.set_state(state)
            for number, camera in enumerate(CAMERAS):
                pictures[number] = shown.image(camera.name)
            time.sleep(0.005)
    raise SystemExit(client.returncode)


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl")
    main()
