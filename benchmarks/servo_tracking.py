"""How closely a servo arm follows 50 joint targets a second: driver, vendor's client, pty, emulated bus and physics, all on this computer.

    python benchmarks/servo_tracking.py --bus feetech --seconds 10

Prints one line of JSON: times of a reading and of a command (ms), how far the arm lags behind its target on a 0.5 Hz wave of up to 0.5 rad,
how far what the driver says is from the physics at rest, and how many cycles began late.
"""

import argparse
import json
import time

import numpy as np

from hardware.arms.dynamixel import DynamixelArm, DynamixelConfig
from hardware.arms.feetech import FeetechArm
from hardware.arms.servo_arm import ServoArm
from hardware.arms.so101 import so101
from sim.emulators.dynamixel_bus import DynamixelBus
from sim.emulators.plant import Plant
from sim.emulators.servo_bus import ServoBus
from sim.emulators.so101 import MOUNTS, so101_bus, so101_world

AMPLITUDE = np.array([0.4, 0.2, 0.2, 0.05, 0.5])  # rad
FREQUENCY = 0.5  # Hz


def driver_of(bus: ServoBus) -> ServoArm:
    same = so101(bus.port)
    if isinstance(bus, DynamixelBus):
        return DynamixelArm(DynamixelConfig(bus.port, same.joints, same.gripper))
    return FeetechArm(same)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bus", default="feetech", choices=("feetech", "dynamixel"))
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    reads, writes, lags, late = [], [], [], 0
    with so101_world() as world, Plant(world) as plant, so101_bus(plant) if args.bus == "feetech" else DynamixelBus(plant, MOUNTS) as bus:
        with driver_of(bus) as arm:
            period, start = arm.action_spec.control_dt, arm.state().joint_pos
            began = time.monotonic()
            for cycle in range(round(args.seconds / period)):
                now = time.monotonic()
                state = arm.state()
                reads.append(time.monotonic() - now)
                assert state.joint_target is not None
                lags.append(np.abs(state.joint_pos - state.joint_target))
                phase = 2 * np.pi * FREQUENCY * cycle * period
                now = time.monotonic()
                arm.send(np.append(start + AMPLITUDE * np.sin(phase), 0.5 - 0.4 * np.cos(phase)))
                writes.append(time.monotonic() - now)
                left = began + (cycle + 1) * period - time.monotonic()
                late += left < 0
                time.sleep(max(0.0, left))
            arm.stop()
            time.sleep(0.5)
            error = np.abs(arm.state().joint_pos - plant.joints().pos).max()
        lost = plant.time_lost
    quantiles = {
        f"{name}_ms": [round(1e3 * float(np.quantile(times, q)), 2) for q in (0.5, 0.99, 1.0)]
        for name, times in (("read", reads), ("write", writes))
    }
    print(json.dumps({
        "bus": args.bus, "cycles": len(reads), "late": int(late), **quantiles, "lag_mean_rad": np.mean(lags, 0).round(4).tolist(),
        "lag_max_rad": np.max(lags, 0).round(4).tolist(), "error_at_rest_rad": round(float(error), 5), "physics_lost_s": round(lost, 3),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
