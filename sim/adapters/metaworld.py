"""Meta-World's Sawyer worlds: a mocap body pulls the hand by up to 1 cm at 80 Hz, and a scripted policy solves each. Targets are hidden."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import field
from typing import Literal

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.schema import configuration
from sim.adapters.extras import extra_module
from sim.adapters.mujoco_world import MujocoWorld, PictureConfig
from sim.environment import EnvironmentTask
from sim.goals import ObjectGoal, ToolGoal
from sim.ground_truth import GroundTruth

_CAMERA = "corner4"
_INSTALL = " && pip install --no-deps metaworld==3.1.1`: it declares an older MuJoCo, which it does not need"
_EXPERT_STEPS = 100  # control steps in which the policies are done, and that one spends on a target
_HALF_SIZE = (0.02, 0.02, 0.02)  # m, of the puck
_PULLED = mujoco.mjtState.mjSTATE_MOCAP_POS | mujoco.mjtState.mjSTATE_MOCAP_QUAT
_REACH = ToolGoal("reach", moderate_radius=0.05, strict_radius=0.02, least_motion=0.1)
_CRITERIA = {  # moderate radii are Meta-World's own; how a puck or a drawer is turned shows nothing
    "reach": _REACH,
    "reach-wall": _REACH,
    "push": ObjectGoal("push", moderate_radius=0.05, strict_radius=0.02, strict_turn=math.pi, least_motion=0.06),
    "drawer-open": ObjectGoal("drawer-open", moderate_radius=0.03, strict_radius=0.015, strict_turn=math.pi, least_motion=0.06),
}


@configuration
class MetaworldConfig:
    """Meta-World draws 480 px with whole meshes, reflections, a shadow map of 4096 px and 4 samples a pixel."""

    kind: Literal["metaworld"] = "metaworld"
    env: Literal["reach", "reach-wall", "push", "drawer-open"] = "reach"
    picture: PictureConfig | None = field(default_factory=lambda: PictureConfig(size=128, decimate=0.9, shadow=512))


class Metaworld(MujocoWorld):
    """An `Environment`. Actions move the mocap body (m) and press the fingers (-1 opens, 1 closes); zeros leave both."""

    scripts = ("expert",)
    state_parts = MujocoWorld.state_parts | _PULLED

    def __init__(self, config: MetaworldConfig) -> None:
        module, policies = (extra_module(f"metaworld.{name}", "metaworld", _INSTALL) for name in ("env_dict", "policies"))
        env = self._env = module.ALL_V3_ENVIRONMENTS[f"{config.env}-v3"]()
        env._freeze_rand_vec, env.seeded_rand_vec = False, True  # starts are drawn from `env.np_random`
        env.model.site("goal").rgba[3] = 0
        self._policy = policies.ENV_POLICY_MAP[f"{config.env}-v3"]()
        placed, self._object = (("drawer",), "drawer_link") if config.env == "drawer-open" else ((), "obj")
        spec = mujoco.MjSpec.from_file(env.model_name)
        super().__init__(env.model, env.data, spec, config.picture, (_CAMERA,), "metaworld", placed)
        high = np.array([env.action_scale] * 3 + [1.0], np.float32)
        self.action_spec = ActionSpec("command", ("x", "y", "z", "gripper"), ("m", "m", "m", "1"), -high, high, env.dt)
        criterion = _CRITERIA[config.env]
        self.tasks = {
            "expert": EnvironmentTask(criterion, None, self._expert_pair, _EXPERT_STEPS),
            "near": EnvironmentTask(criterion),
        }
        self.about = {**self.about, "target": "hidden"}

    def reset(self, rng: np.random.Generator) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self._env.np_random = rng
        self._env.reset_model()
        self.refresh()

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        self._env.set_xyz_action(action[:3] / self.action_spec.high[:3])
        self._env.do_simulation([action[3], -action[3]], self._env.frame_skip)
        self.refresh()

    def script(self, name: str, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
        """Meta-World's policy, from one target in its range to the next."""
        while True:
            target = rng.uniform(self._env._random_reset_space.low, self._env._random_reset_space.high)[-3:]
            for _ in range(_EXPERT_STEPS):
                seen = self._env._get_curr_obs_combined_no_goal()
                with warnings.catch_warnings(action="ignore"):  # that it asks for more than the limits
                    yield np.clip(self._policy.get_action(np.hstack([seen, seen, target])), -1, 1) * self.action_spec.high

    def arm_state(self) -> ArmState:
        closing = (self.data.joint("r_close").qvel[0] - self.data.joint("l_close").qvel[0]) / 0.1
        return self.arm_at("endEffector", self.data.qpos[:7], self.data.qvel[:7], self.ground_truth().gripper, float(closing))

    def ground_truth(self) -> GroundTruth:
        closed = 1 - float(self._env._get_curr_obs_combined_no_goal()[3])
        thing = np.concatenate([self._env._get_pos_objects(), self.data.body(self._object).xquat])
        return GroundTruth(self.data.site("endEffector").xpos.copy(), thing, _HALF_SIZE, closed, touched=False)

    def _expert_pair(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A fresh start, and where its policy is when it is done: "the expert's last frame"."""
        self.reset(rng)
        start, moves = self.state, self.script("expert", rng)
        for _ in range(_EXPERT_STEPS):
            self.step(next(moves))
        return start, self.state
