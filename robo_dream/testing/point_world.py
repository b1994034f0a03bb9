"""A world without physics: an arm that is where it was told to be, and a camera that draws where that is."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState, Frame, Intrinsics
from robo_dream.testing.clocks import ManualClock
from robo_dream.testing.point_mass import point_action_spec


@dataclass
class PointArm:
    """A `RobotArm` whose tool reaches its target at once. Counts `num_stops`, and keeps all that was `sent`."""

    clock: ManualClock
    action_spec: ActionSpec = field(default_factory=point_action_spec)
    tool: np.ndarray = field(default_factory=lambda: np.zeros(5))  # x y z, yaw, gripper
    num_stops: int = 0
    sent: list[np.ndarray] = field(default_factory=list)

    def __enter__(self) -> "PointArm":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def state(self) -> ArmState:
        yaw, gripper = float(self.tool[3]), float(self.tool[4])
        quat = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        pos = self.tool[:3].copy()
        return ArmState(self.clock.now(), self.tool[:4].copy(), np.zeros(4), pos, quat, yaw, gripper, pos.copy(), yaw, gripper)

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        applied = self.action_spec.check(action)
        applied[4] = np.clip(self.tool[4] + applied[4], 0, 1) - self.tool[4]
        self.tool = self.tool + applied
        self.sent.append(applied)
        return applied

    def stop(self) -> None:
        self.num_stops += 1


@dataclass
class PointCamera:
    """A `Camera` from above at 0.1 m for each 4 pixels: one white pixel where the tool is."""

    arm: PointArm
    name: str = "front"
    size: int = 32
    num_frames: int = 0

    def __enter__(self) -> "PointCamera":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    @property
    def intrinsics(self) -> Intrinsics:
        return Intrinsics(self.size, self.size, 40.0, 40.0, self.size / 2, self.size / 2)

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        pose = np.diag([1.0, -1.0, -1.0, 1.0])
        pose[2, 3] = 1.0
        return pose

    def read(self) -> Frame:
        image = np.zeros((self.size, self.size, 3), np.uint8)
        row, column = self.size // 2 - int(40 * self.arm.tool[1]), self.size // 2 + int(40 * self.arm.tool[0])
        image[np.clip(row, 0, self.size - 1), np.clip(column, 0, self.size - 1)] = 255
        self.num_frames += 1
        return Frame(self.arm.clock.now(), image, self.num_frames)
