"""Runs in LeRobot's environment, started by lerobot_record.py: its `record`, with a leader and cameras that this file brings along."""

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torchvision_operators  # noqa: F401
from lerobot.cameras import CameraConfig
from lerobot.cameras.camera import Camera
from lerobot.robots.so_follower import SO101FollowerConfig
from lerobot.scripts.lerobot_record import DatasetRecordConfig, RecordConfig, record
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig

RANGES = {  # degrees, and of the gripper 0 to 100: where the leader wanders, low over the table
    "shoulder_pan": (-20, 20), "shoulder_lift": (0, 28), "elbow_flex": (17, 35), "wrist_flex": (51, 71), "wrist_roll": (-30, 30),
    "gripper": (5, 95),
}  # fmt: skip
SHORTEST, LONGEST = 0.7, 1.8  # s from one pose to the next


@TeleoperatorConfig.register_subclass("wandering_leader")
@dataclass(kw_only=True)
class WanderingLeaderConfig(TeleoperatorConfig):
    seed: int = 0


class WanderingLeader(Teleoperator):
    """Goes smoothly from one pose that it draws to the next."""

    config_class = WanderingLeaderConfig
    name = "wandering_leader"
    is_connected = is_calibrated = True
    feedback_features: ClassVar[dict] = {}
    action_features: ClassVar[dict] = {f"{name}.pos": float for name in RANGES}

    def __init__(self, config: WanderingLeaderConfig) -> None:
        super().__init__(config)
        self._rng = np.random.default_rng(config.seed)
        self._from = self._to = self._drawn()
        self._begun, self._seconds = time.monotonic(), SHORTEST

    def get_action(self) -> dict[str, float]:
        now = time.monotonic()
        if now > self._begun + self._seconds:
            self._from, self._to = self._to, self._drawn()
            self._begun, self._seconds = now, self._rng.uniform(SHORTEST, LONGEST)
        share = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (now - self._begun) / self._seconds))
        pose = self._from + share * (self._to - self._from)
        return {f"{name}.pos": float(value) for name, value in zip(RANGES, pose, strict=True)}

    def _drawn(self) -> np.ndarray:
        return self._rng.uniform(*np.array(list(RANGES.values())).T)

    def connect(self, calibrate: bool = True) -> None: ...
    def calibrate(self) -> None: ...
    def configure(self) -> None: ...
    def send_feedback(self, feedback: dict) -> None: ...
    def disconnect(self) -> None: ...


@CameraConfig.register_subclass("mapped")
@dataclass(kw_only=True)
class MappedCameraConfig(CameraConfig):
    path: str
    number: int
    count: int


class MappedCamera(Camera):
    is_connected = False

    def __init__(self, config: MappedCameraConfig) -> None:
        super().__init__(config)
        self._config = config

    @staticmethod
    def find_cameras() -> list:
        return []

    def connect(self, warmup: bool = True) -> None:
        config = self._config
        self._pictures = np.memmap(config.path, np.uint8, "r", shape=(config.count, config.height, config.width, 3))
        self.is_connected = True

    def read(self) -> np.ndarray:
        return np.array(self._pictures[self._config.number])

    def async_read(self, timeout_ms: float = 200) -> np.ndarray:
        return self.read()

    def read_latest(self, max_age_ms: int = 500) -> np.ndarray:
        return self.read()

    def disconnect(self) -> None:
        self.is_connected = False


def main() -> None:
    told = json.loads(sys.argv[1])
    path, names = f"{told['folder']}/pictures", told["cameras"]
    size = {"width": told["width"], "height": told["height"], "fps": 30}
    cameras = {name: MappedCameraConfig(path=path, number=number, count=len(names), **size) for number, name in enumerate(names)}
    robot = SO101FollowerConfig(port=told["port"], id="emulated", calibration_dir=Path(told["folder"]), cameras=cameras)
    dataset = DatasetRecordConfig(
        repo_id="robo_dream/so101", single_task="wander and grip", root=told["out"], fps=30, episode_time_s=told["seconds"],
        reset_time_s=0.5, num_episodes=told["episodes"], push_to_hub=False,
    )  # fmt: skip
    record(RecordConfig(robot=robot, dataset=dataset, teleop=WanderingLeaderConfig(id="wandering", seed=told["seed"]), play_sounds=False))


if __name__ == "__main__":
    main()
