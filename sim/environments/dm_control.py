"""dm_control suite's reacher: two links in the plane, moved by torques at 50 Hz. Its target is hidden: the goal is a picture of the arm."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Literal

import mujoco
import numpy as np
from dm_control.suite import reacher
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ConfigError
from sim.environments.environment import EnvironmentTask
from sim.environments.mujoco_world import MujocoWorld, PictureConfig
from sim.moment import Moment
from sim.tasks.goals import ToolGoal

_CAMERA = "fixed"
_GAIN, _DAMPING = 2.0, 0.35  # of the script's torque, in units of its limit: for each radian off, and each rad/s
_PATIENCE = 40  # control steps that the script spends on a pose
_UNKNOWN = np.full(7, np.nan)


@dataclass(frozen=True)
class DmControlConfig:
    """dm_control draws with shadows, reflections and 4 samples a pixel, 25 times as slow."""

    kind: Literal["dm_control"] = "dm_control"
    env: Literal["reacher"] = "reacher"
    picture: PictureConfig | None = field(default_factory=lambda: PictureConfig(size=64))


class Reacher(MujocoWorld):
    """An `Environment`. Starts are the suite's own: any angles, at rest. It has no hand and no object."""

    scripts = ("reach",)

    def __init__(self, config: DmControlConfig) -> None:
        xml, assets = reacher.get_model_and_assets()
        source = xml.decode().replace('material="target"', 'rgba="0 0 0 0"'), assets
        model = mujoco.MjModel.from_xml_string(*source)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        super().__init__(model, data, source, config.picture, (_CAMERA,))
        ones = np.ones(2, np.float32)
        self.action_spec = ActionSpec("command", ("shoulder", "wrist"), ("0.05 N m", "0.05 N m"), -ones, ones, model.opt.timestep)
        self.tasks = {"reach": EnvironmentTask(ToolGoal("reach", moderate_radius=0.02, strict_radius=0.01, least_motion=0.1))}
        self.about: Mapping[str, Any] = {
            "package": f"dm-control {metadata.version('dm-control')}", "camera": _CAMERA, "target": "hidden",
            "picture": config.picture and asdict(config.picture),
        }  # fmt: skip

    def reset(self, rng: np.random.Generator) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self._pose(rng)
        self.refresh()

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data)
        self.refresh()

    def script(self, name: str, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
        """From one random pose to the next."""
        if name not in self.scripts:
            raise ConfigError(f"no script {name!r} for reacher; there are {', '.join(self.scripts)}")
        while True:
            pose = self._pose(rng)
            for _ in range(_PATIENCE):
                off = pose - self.data.qpos
                off[0] = (off[0] + np.pi) % (2 * np.pi) - np.pi
                yield np.clip(_GAIN * off - _DAMPING * self.data.qvel, -1, 1)

    def arm_state(self) -> ArmState:
        """The targets are where the finger will be in a control step at its present speed: torques aim at nothing."""
        speed, tool = np.zeros(6), self.data.body("finger")
        mujoco.mj_objectVelocity(self.model, self.data, mujoco.mjtObj.mjOBJ_BODY, tool.id, speed, 0)
        yaw, ahead = float(self.data.qpos.sum()), self.action_spec.control_dt
        return ArmState(
            time=self.time, joint_pos=self.data.qpos.copy(), joint_vel=self.data.qvel.copy(), tool_pos=tool.xpos.copy(),
            tool_quat=tool.xquat.copy(), tool_yaw=yaw, gripper=0.0, target_pos=tool.xpos + ahead * speed[3:],
            target_yaw=yaw + ahead * float(speed[2]), target_gripper=0.0,
        )  # fmt: skip

    def moment(self) -> Moment:
        return Moment(self.data.body("finger").xpos.copy(), _UNKNOWN, (0.0, 0.0, 0.0), gripper=0.0, touched=False)

    def _pose(self, rng: np.random.Generator) -> Float[np.ndarray, "2"]:
        return np.array([rng.uniform(-np.pi, np.pi), rng.uniform(*self.model.joint("wrist").range)])
