"""OGBench's cube worlds: a UR5e with a two-finger hand, relative tool moves at 20 Hz, and oracles that pick and place."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import TOOL_MOVE_NAMES, ActionSpec, ArmState
from sim.environments.environment import EnvironmentTask
from sim.environments.extras import extra_module
from sim.environments.global_draws import global_draws_from
from sim.environments.mujoco_world import MujocoWorld, PictureConfig
from sim.moment import Moment
from sim.tasks.goals import ObjectGoal

_CAMERA = "front_pixels"
_GRIPPER_RANGE = 0.8  # rad, of the joint that closes the hand
_HALF_SIZE = (0.02, 0.02, 0.02)  # m, of a cube
_ORACLES = {"plan": ("plan.cube_plan", "CubePlanOracle"), "markov": ("markov.cube_markov", "CubeMarkovOracle")}
_OFFICIAL_BUDGET = 200  # control steps, the time limit of cube-single
_OFFICIAL_PICTURE = {"size": 64, "decimate": 0.0, "shadow": 4096, "samples": 4}


@dataclass(frozen=True)
class OgbenchConfig:
    """The picture is that of OGBench's visual tasks (one camera, an arm one can see through), drawn as `picture` says.

    OGBench's own is 64 px with whole meshes, a shadow map of 4096 px and 4 samples a pixel. At the same size the default differs from it
    by 0.9/255, 7.4/255 in the 16 x 16 px around the cube, and is drawn 7 times as fast (benchmarks/picture_cost.py). No picture (null):
    what was done and where things were, for demonstrations.
    """

    kind: Literal["ogbench"] = "ogbench"
    env: Literal["cube-single"] = "cube-single"
    picture: PictureConfig | None = field(default_factory=lambda: PictureConfig(size=128, decimate=0.9, shadow=512, samples=0))


class Ogbench(MujocoWorld):
    """An `Environment`. Actions are in metres and radians; they start from where the hand is, not from where it was told to be."""

    scripts = tuple(_ORACLES)

    def __init__(self, config: OgbenchConfig) -> None:
        module, xml = (extra_module(f"ogbench.manipspace.{name}", "ogbench") for name in ("envs.cube_env", "mjcf_utils"))
        # "pixels" only for its colours: success must not be seen, and it is we who draw
        self._env = module.CubeEnv(
            config.env.removeprefix("cube-"), ob_type="pixels", mode="data_collection", visualize_info=False, terminate_at_goal=False
        )
        self._env.compute_observation = lambda: None
        self._env.reset(seed=0)
        self._env.set_tasks()
        spec = mujoco.MjSpec.from_string(xml.to_string(self._env.mjcf_model), assets=xml.get_assets(self._env.mjcf_model))
        super().__init__(self._env.model, self._env.data, spec, config.picture, (_CAMERA,), "ogbench")
        high = np.asarray(self._env.action_high, np.float32)
        self.action_spec = ActionSpec("tool_move", TOOL_MOVE_NAMES, ("m", "m", "m", "rad", "1"), -high, high, self._env.control_timestep())
        cube = ObjectGoal("cube", moderate_radius=0.04, strict_radius=0.03)
        self.tasks = {"cube": EnvironmentTask(cube), "five_tasks": EnvironmentTask(cube, budget=_OFFICIAL_BUDGET, draw=self._official_pair)}
        self.about = {**self.about, "picture_of_ogbench": _OFFICIAL_PICTURE, "picture_difference": "see benchmarks/picture_cost.py"}

    def reset(self, rng: np.random.Generator) -> None:
        self._env.np_random = rng
        self._env.reset()
        self.refresh()

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        self._env.step(action / self.action_spec.high)
        self.refresh()

    def script(self, name: str, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
        module, oracle_class = _ORACLES[name]
        oracle = getattr(extra_module(f"ogbench.manipspace.oracles.{module}", "ogbench"), oracle_class)(env=self._env)
        self._env.np_random = rng
        while True:
            self._env.set_new_target(return_info=False)
            with global_draws_from(rng):
                oracle.reset(None, self._env.compute_ob_info())
            while not oracle.done:
                normalised = oracle.select_action(None, self._env.compute_ob_info())
                yield np.clip(normalised, -1, 1) * self.action_spec.high

    def arm_state(self) -> ArmState:
        info = self._env.compute_ob_info()
        opening, speed = (float(info[f"proprio/gripper_{what}"][0]) for what in ("opening", "vel"))
        return self.arm_at("ur5e/robotiq/pinch", info["proprio/joint_pos"], info["proprio/joint_vel"], opening, speed / _GRIPPER_RANGE)

    def moment(self) -> Moment:
        info = self._env.compute_ob_info()
        cube = np.concatenate([info["privileged/block_0_pos"], info["privileged/block_0_quat"]])
        return Moment(info["proprio/effector_pos"], cube, _HALF_SIZE, float(info["proprio/gripper_opening"][0]), touched=False)

    def _official_pair(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """OGBench's own five goals in turn, as its `reset` makes them, but that the goal's scene settles without random actions."""
        task = self._env.task_infos[number % len(self._env.task_infos)]
        goal = self._placed(task["goal_xyzs"][0], 0.0, rng, settle=2)
        near = task["init_xyzs"][0] + [*rng.uniform(-0.01, 0.01, 2), 0.0]
        return self._placed(near, rng.uniform(0, 2 * np.pi), rng), goal

    def _placed(self, pos: np.ndarray, yaw: float, rng: np.random.Generator, settle: int = 0) -> Float[np.ndarray, " state"]:
        """The arm at random and the cube where it is told."""
        self.reset(rng)
        self.data.joint("object_joint_0").qpos[:] = [*pos, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        self.refresh()
        for _ in range(settle):
            self.step(np.zeros(self.action_spec.size))
        return self.state
