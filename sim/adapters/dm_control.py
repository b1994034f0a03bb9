"""dm_control suite's reacher: two links in the plane, moved by torques at 50 Hz. Its target is hidden: the goal is a picture of the arm."""

from collections.abc import Iterator
from dataclasses import field
from typing import Literal

import mujoco
import numpy as np
from dm_control.suite import reacher
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.schema import configuration
from sim.adapters.mujoco_world import MujocoWorld, PictureConfig
from sim.environment import EnvironmentTask
from sim.goals import ToolGoal
from sim.ground_truth import GroundTruth

_CAMERA = "fixed"
_GAIN, _DAMPING = 2.0, 0.35  # of the script's torque, in units of its limit: for each radian off, and each rad/s
_PATIENCE = 40  # control steps that the script spends on a pose
_UNKNOWN = np.full(7, np.nan)


@configuration
class DmControlConfig:
    """dm_control draws with shadows, reflections and 4 samples a pixel, 25 times as slow."""

    kind: Literal["dm_control"] = "dm_control"
    env: Literal["reacher"] = "reacher"
    picture: PictureConfig | None = field(default_factory=lambda: PictureConfig(size=64))


class Reacher(MujocoWorld):
    """An `Environment`. Starts are the suite's own: any angles, at rest. It has no hand and no object."""

    scripts = ("reach",)

    def __init__(self, config: DmControlConfig) -> None:
        xml, included = reacher.get_model_and_assets()
        spec = mujoco.MjSpec.from_string(xml.decode().replace('material="target"', 'rgba="0 0 0 0"'), include=included)
        spec.body("finger").add_site(name="finger", rgba=(0, 0, 0, 0))
        model = spec.compile()
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        super().__init__(model, data, spec, config.picture, (_CAMERA,), "dm-control")
        ones = np.ones(2, np.float32)
        self.action_spec = ActionSpec("command", ("shoulder", "wrist"), ("0.05 N m", "0.05 N m"), -ones, ones, model.opt.timestep)
        self.tasks = {"reach": EnvironmentTask(ToolGoal("reach", moderate_radius=0.02, strict_radius=0.01, least_motion=0.1))}
        self.about = {**self.about, "target": "hidden"}

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
        while True:
            pose = self._pose(rng)
            for _ in range(_PATIENCE):
                off = pose - self.data.qpos
                off[0] = (off[0] + np.pi) % (2 * np.pi) - np.pi
                yield np.clip(_GAIN * off - _DAMPING * self.data.qvel, -1, 1)

    def arm_state(self) -> ArmState:
        return self.arm_at("finger", self.data.qpos, self.data.qvel)

    def ground_truth(self) -> GroundTruth:
        return GroundTruth(self.data.site("finger").xpos.copy(), _UNKNOWN, (0.0, 0.0, 0.0), gripper=0.0, touched=False)

    def _pose(self, rng: np.random.Generator) -> Float[np.ndarray, "2"]:
        return np.array([rng.uniform(-np.pi, np.pi), rng.uniform(*self.model.joint("wrist").range)])
