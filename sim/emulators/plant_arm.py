"""The arm of a plant as a `RobotArm`: moved in real time without any wire."""

import threading

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState
from sim.emulators.plant import Plant
from sim.tabletop.arm import SimArm


class PlantArm:
    """Takes joint targets every 20 ms. Tool pose and tool target are NaN; `with_tool` computes them."""

    def __init__(self, plant: Plant, control_dt: float = 0.02) -> None:
        self._plant = plant
        self._lock = threading.Lock()
        spec = SimArm(plant.world).action_spec
        self.action_spec = ActionSpec(spec.kind, spec.names, spec.units, spec.low, spec.high, control_dt)
        self._speed = np.asarray(plant.world.scene.arm.limits.joint_speed)

    def __enter__(self) -> "PlantArm":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def state(self) -> ArmState:
        now, target, unknown = self._plant.joints(), self._plant.target, np.full(3, np.nan)
        return ArmState(
            time=now.time, joint_pos=now.pos, joint_vel=now.vel, tool_pos=unknown, tool_quat=np.full(4, np.nan), tool_yaw=np.nan,
            gripper=now.gripper, target_pos=unknown, target_yaw=np.nan, target_gripper=float(target[-1]), joint_target=target[:-1],
        )  # fmt: skip

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        action = self.action_spec.numbers(action)
        applied = self.action_spec.clip(action)
        with self._lock:
            self._plant.set_target(applied[:-1], float(applied[-1]), self._speed)
        return applied

    def stop(self) -> None:
        with self._lock:
            now = self._plant.joints()
            self._plant.set_target(now.pos, now.gripper)
