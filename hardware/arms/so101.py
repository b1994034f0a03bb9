"""SO-100 and SO-101: their joints, ranges and servos, and the calibration file that LeRobot writes for them."""

import json
from pathlib import Path
from typing import Any

from hardware.arms.feetech import FeetechConfig
from hardware.arms.servo_arm import TICKS, GripperServo, JointServo
from robo_dream.errors import ConfigError

# Joint ranges (rad) of TheRobotStudio's SO-101 model; 0 is the middle of each range: upper arm up, forearm and hand straight ahead.
RANGES = {
    "shoulder_pan": (-1.91986, 1.91986),
    "shoulder_lift": (-1.74533, 1.74533),
    "elbow_flex": (-1.69, 1.69),
    "wrist_flex": (-1.65806, 1.65806),
    "wrist_roll": (-2.74385, 2.84121),
}
_OPENED, _CLOSED = 3300, 2040  # ticks of the gripper, where no calibration says better


def so101(port: str, calibration: Path | str | None = None, **settings: Any) -> FeetechConfig:
    """The arm on `port`. `calibration` is LeRobot's file (`.../robots/so101_follower/NAME.json`); without it every servo's zero is 2,048.

    `settings` are those of `FeetechConfig`. Raises `ConfigError` for a file that cannot be understood.
    """
    servos = _read(Path(calibration)) if calibration is not None else {}
    joints = []
    for number, (name, (low, high)) in enumerate(RANGES.items(), 1):
        if name in servos:
            number, first, last = servos[name]
            middle = (first + last) // 2
            per_radian = TICKS / 6.283185307179586
            low, high = max(low, (first - middle) / per_radian), min(high, (last - middle) / per_radian)
            joints.append(JointServo(name, number, low, high, middle))
        else:
            joints.append(JointServo(name, number, low, high))
    number, closed, opened = servos.get("gripper", (6, _CLOSED, _OPENED))
    return FeetechConfig(port, tuple(joints), GripperServo(number, opened, closed), **settings)


def _read(path: Path) -> dict[str, tuple[int, int, int]]:
    """Each servo's number and the two ends of its range in ticks, by joint."""
    try:
        found = json.loads(path.read_text())
        servos = {name: (int(part["id"]), int(part["range_min"]), int(part["range_max"])) for name, part in found.items()}
        turned = [name for name, part in found.items() if part.get("drive_mode")]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is no calibration file of LeRobot ({type(error).__name__}: {error})") from error
    missing = sorted({*RANGES, "gripper"} - set(servos))
    if missing:
        raise ConfigError(f"the calibration {path} lacks {', '.join(missing)}; it has {', '.join(sorted(servos))}")
    if turned:
        raise ConfigError(f"the calibration {path} has a drive_mode for {', '.join(turned)}; calibrate with drive_mode 0, as LeRobot does")
    return servos
