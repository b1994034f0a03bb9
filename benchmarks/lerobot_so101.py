"""The unmodified `lerobot` 0.4.4 `SO101Follower` drives the emulated SO-101, alone and through our bridge, and must see what physics does.

    python benchmarks/lerobot_so101.py --python /tmp/lerobot_env/bin/python

`lerobot` pins another torch than ours, so it runs in an environment of its own, made as in lerobot_reads.py with these packages besides:

    ./pip install feetech-servo-sdk==1.0.0 deepdiff jaxtyping

It opens the emulator's port, calibrates from a file, configures the servos, moves them, and lets go of them at the end. Prints one line of
JSON; exits with 1 when a position differs from the physics by more than 0.01 rad (1 % of the gripper's range).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hardware.arms.so101 import RANGES
from sim.emulators.plant import Plant
from sim.emulators.so101 import CLOSED, OPENED, so101_bus, so101_world

TOLERANCE = 0.01  # rad; six ticks
TICKS_PER_RADIAN = 4096 / (2 * np.pi)

CLIENT = """
import json
import sys
import time
from pathlib import Path

import torch

library = torch.library.Library("torchvision", "FRAGMENT")
for name in "nms qnms roi_align ps_roi_align roi_pool ps_roi_pool deform_conv2d".split():  # of a torchvision for CUDA, without any
    for operator in (name, f"_{name}_backward"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor none) -> Tensor")

import numpy as np
from lerobot.robots.so_follower import SO101Follower, SO101FollowerConfig

from hardware.arms.lerobot_robot import LeRobotArm, LeRobotConfig, LeRobotJoint
from hardware.arms.so101 import RANGES

port, folder = sys.argv[1], Path(sys.argv[2])


def ask(question, **answer):  # the host looks at the physics and says so
    print("ASK", json.dumps({"question": question, **answer}), flush=True)
    return sys.stdin.readline()


robot = SO101Follower(SO101FollowerConfig(port=port, id="emulated", calibration_dir=folder, disable_torque_on_disconnect=False))
robot.connect()  # asks whether to use the calibration file; the host presses Enter
assert robot.is_calibrated
ask("found", found=robot.bus.broadcast_ping(), offsets={name: part.homing_offset for name, part in robot.bus.read_calibration().items()})
start = robot.get_observation()
times = []
for step in range(150):
    began = time.perf_counter()
    phase = 2 * np.pi * step / 100
    wave = {name: 15 * np.sin(phase) for name in RANGES}
    robot.send_action({f"{name}.pos": start[f"{name}.pos"] + wave[name] for name in RANGES} | {"gripper.pos": 50 + 40 * np.sin(phase)})
    robot.get_observation()
    times.append(time.perf_counter() - began)
    time.sleep(max(0, 0.02 - times[-1]))
time.sleep(0.6)
ask("lerobot", observation=robot.get_observation(), median_ms=1e3 * float(np.median(times)), worst_ms=1e3 * max(times))

joints = tuple(LeRobotJoint(name, low, high) for name, (low, high) in RANGES.items())
with LeRobotArm(robot, LeRobotConfig(joints, opened=100.0, closed=0.0)) as arm:
    here = arm.state()
    for step in range(100):
        target = arm.action_spec.clip(np.append(here.joint_pos + 0.25 * np.sin(2 * np.pi * step / 100), 0.3))
        sent = arm.send(target)
        state = arm.state()
        assert np.abs(sent - target).max() < 0.01, (sent, target)
        time.sleep(0.015)
    try:
        arm.send(np.full(6, np.nan))
        raise SystemExit("a target that is not finite was sent")
    except ValueError:
        pass
    arm.stop()
    time.sleep(0.6)
    ask("bridge", joint_pos=arm.state().joint_pos.tolist(), gripper=arm.state().gripper)
assert not robot.is_connected

robot = SO101Follower(SO101FollowerConfig(port=port, id="emulated", calibration_dir=folder))
robot.connect()  # the servos remember the calibration, so that nothing is asked
robot.disconnect()  # by default it lets go of the arm
ask("let go")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the interpreter of an environment that has lerobot 0.4.4")
    args = parser.parse_args()
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, so101_world() as world, Plant(world) as plant, so101_bus(plant) as bus:
        (Path(folder) / "emulated.json").write_text(json.dumps(calibration()))
        command = [args.python, "-c", CLIENT, bus.port, folder]
        root = str(Path(__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": root, "HF_HUB_OFFLINE": "1", "HF_HOME": folder}
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root)
        assert client.stdin and client.stdout
        client.stdin.write("\n")  # "press Enter to use the provided calibration file"
        client.stdin.flush()
        errors = {}
        for line in client.stdout:
            if "ASK " not in line:
                continue
            said = json.loads(line.split("ASK ", 1)[1])
            question = said.pop("question")
            reading = plant.joints()
            truth = np.append(reading.pos, reading.gripper)
            if question == "found":
                result["servos"] = said["found"]
            elif question == "lerobot":
                degrees = [said["observation"][f"{name}.pos"] for name in RANGES]
                seen = np.append(np.deg2rad(degrees), 1 - said["observation"]["gripper.pos"] / 100)
                errors["lerobot"] = float(np.abs(seen - truth).max())
                result |= {"cycle_median_ms": round(said["median_ms"], 2), "cycle_worst_ms": round(said["worst_ms"], 2)}
            elif question == "bridge":
                errors["bridge"] = float(np.abs(np.append(said["joint_pos"], said["gripper"]) - truth).max())
            elif question == "let go":
                time.sleep(0.3)
                result["let_go"] = not plant.torque.any() and bool(np.abs(plant.joints().pos - truth[:-1]).max() > 0.005)
            client.stdin.write("\n")
            client.stdin.flush()
        code = client.wait()
    result |= {f"{name}_error_rad": round(error, 5) for name, error in errors.items()}
    complete = set(errors) == {"lerobot", "bridge"} and result.get("let_go") is True
    print(json.dumps({**result, "exit": code, "complete": complete}))
    sys.exit(0 if code == 0 and complete and max(errors.values()) < TOLERANCE else 1)


def calibration() -> dict[str, dict[str, int]]:
    """As LeRobot's own calibration would write it: each range in ticks around the middle of the turn."""
    ends = {name: (2048 + low * TICKS_PER_RADIAN, 2048 + high * TICKS_PER_RADIAN) for name, (low, high) in RANGES.items()}
    ends["wrist_roll"] = 0, 4095  # a full turn, as LeRobot has it
    ends["gripper"] = CLOSED, OPENED
    return {
        name: {"id": number, "drive_mode": 0, "homing_offset": 0, "range_min": round(low), "range_max": round(high)}
        for number, (name, (low, high)) in enumerate(ends.items(), 1)
    }


if __name__ == "__main__":
    main()
