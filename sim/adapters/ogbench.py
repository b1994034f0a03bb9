"""OGBench's table worlds: a UR5e with a two-finger hand, relative tool moves at 20 Hz, and oracles that pick, place, press and pull."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, Literal

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import TOOL_MOVE_NAMES, ActionSpec, ArmState
from robo_dream.errors import ContractError
from robo_dream.schema import configuration
from sim.adapters.extras import extra_module, global_draws_from
from sim.adapters.mujoco_world import MujocoWorld, PictureConfig
from sim.environment import EnvironmentTask
from sim.goals import ObjectGoal
from sim.ground_truth import GroundTruth

_CAMERA = "front_pixels"
_GRIPPER_RANGE = 0.8  # rad, of the joint that closes the hand
_HALF_SIZE = (0.02, 0.02, 0.02)  # m, of a cube
_ON = 0.1  # m by which a button that is on counts as higher: where things are is all that judges and models know of them
_BUDGETS = {"cube-single": 200, "cube-double": 500, "scene": 750, "puzzle-3x3": 500}  # control steps, OGBench's own limits
_OFFICIAL_PICTURE = {"size": 64, "decimate": 0.0, "shadow": 4096, "samples": 4}


@configuration
class OgbenchConfig:
    """The picture is that of OGBench's visual tasks (one camera, an arm one can see through), drawn as `picture` says.

    OGBench's own is 64 px with whole meshes, a shadow map of 4096 px and 4 samples a pixel. At the same size the default differs from it
    by 0.9/255, 7.4/255 in the 16 x 16 px around the cube, and is drawn 7 times as fast (benchmarks/picture_cost.py). No picture (null):
    what was done and where things were, for demonstrations.
    """

    kind: Literal["ogbench"] = "ogbench"
    env: Literal["cube-single", "cube-double", "scene", "puzzle-3x3"] = "cube-single"
    picture: PictureConfig | None = field(default_factory=lambda: PictureConfig(size=128, decimate=0.9, shadow=512, samples=0))


class Ogbench(MujocoWorld):
    """An `Environment`. Actions are in metres and radians; they start from where the hand is, not from where it was told to be.

    Its objects are the cubes, then the handles of drawer and window, then the buttons. Which buttons are on is part of the state.
    """

    scripts = ("plan", "markov")

    def __init__(self, config: OgbenchConfig) -> None:
        family, _, variant = config.env.partition("-")
        module, xml = (extra_module(f"ogbench.manipspace.{name}", "ogbench") for name in (f"envs.{family}_env", "mjcf_utils"))
        # "pixels" only for its colours: success must not be seen, and it is we who draw
        self._env = getattr(module, f"{family.capitalize()}Env")(
            variant or family, ob_type="pixels", mode="data_collection", visualize_info=False, terminate_at_goal=False
        )
        self._oracle_options = {"gripper_always_closed": True} if family == "puzzle" else {}  # as OGBench's own collection has it
        self._env.compute_observation = lambda: None
        self._env.reset(seed=0)
        self._env.set_tasks()
        spec = mujoco.MjSpec.from_string(xml.to_string(self._env.mjcf_model), assets=xml.get_assets(self._env.mjcf_model))
        super().__init__(self._env.model, self._env.data, spec, config.picture, (_CAMERA,), "ogbench")
        high = np.asarray(self._env.action_high, np.float32)
        self.action_spec = ActionSpec("tool_move", TOOL_MOVE_NAMES, ("m", "m", "m", "rad", "1"), -high, high, self._env.control_timestep())
        goal = ObjectGoal(family, moderate_radius=0.04, strict_radius=0.03)
        official = EnvironmentTask(goal, None, self._official_pair, _BUDGETS[config.env])
        self.tasks = {family: EnvironmentTask(goal), "five_tasks": official}
        self.about = {**self.about, "picture_of_ogbench": _OFFICIAL_PICTURE, "picture_difference": "see benchmarks/picture_cost.py"}

    @property
    def state(self) -> Float[np.ndarray, " state"]:
        return np.append(super().state, self._buttons)

    def set_state(self, state: Float[np.ndarray, " state"]) -> None:
        if np.shape(state) != (size := len(self.state),):  # before anything is moved
            raise ContractError(f"the stored state has shape {np.shape(state)}; this world needs ({size},): made with another one?")
        rest, buttons = np.split(np.asarray(state, np.float64), [size - len(self._buttons)])
        self._push(buttons)
        super().set_state(rest)

    def reset(self, rng: np.random.Generator) -> None:
        self._env.np_random = rng
        self._env.reset()
        self.refresh()

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        self._env.step(action / self.action_spec.high)
        self.refresh()

    def script(self, name: str, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
        self._env.np_random = rng
        stack = {"p_stack": rng.uniform(0, 0.25)} if self._num_cubes > 1 else {}  # as OGBench's own collection has it
        while True:
            self._env.set_new_target(return_info=False, **stack)
            thing = str(self._env.compute_ob_info()["privileged/target_task"])
            module = extra_module(f"ogbench.manipspace.oracles.{name}.{thing}_{name}", "ogbench")
            oracle = getattr(module, f"{thing.capitalize()}{name.capitalize()}Oracle")(env=self._env, **self._oracle_options)
            with global_draws_from(rng):
                oracle.reset(None, self._env.compute_ob_info())
            while not oracle.done:
                normalised = oracle.select_action(None, self._env.compute_ob_info())
                yield np.clip(normalised, -1, 1) * self.action_spec.high

    def arm_state(self) -> ArmState:
        info = self._env.compute_ob_info()
        opening, speed = (float(info[f"proprio/gripper_{what}"][0]) for what in ("opening", "vel"))
        return self.arm_at("ur5e/robotiq/pinch", info["proprio/joint_pos"], info["proprio/joint_vel"], opening, speed / _GRIPPER_RANGE)

    def ground_truth(self) -> GroundTruth:
        info = self._env.compute_ob_info()
        cubes = [np.concatenate([info[f"privileged/block_{i}_{what}"] for what in ("pos", "quat")]) for i in range(self._num_cubes)]
        handles = [info[name] for name in ("privileged/drawer_handle_pos", "privileged/window_handle_pos") if name in info]
        boxes = [self.data.body(f"buttonbox_{i}").xpos for i in range(len(self._buttons))]
        others = [*handles, *(pos + [0, 0, _ON * is_on] for pos, is_on in zip(boxes, self._buttons, strict=True))]
        poses = np.stack([*cubes, *(np.array([*pos, 1.0, 0.0, 0.0, 0.0]) for pos in others)])
        grip = float(info["proprio/gripper_opening"][0])
        return GroundTruth(info["proprio/effector_pos"], poses[0], _HALF_SIZE, grip, touched=False, others=poses[1:])

    @property
    def _num_cubes(self) -> int:
        return getattr(self._env, "_num_cubes", 0)

    @property
    def _buttons(self) -> np.ndarray:
        """1 for each that is on."""
        return getattr(self._env, "_cur_button_states", np.zeros(0))

    def _push(self, states: np.ndarray) -> None:
        if len(states):
            self._env._cur_button_states[:] = states
            self._env._apply_button_states()

    def _official_pair(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """OGBench's own five goals in turn, as its `reset` makes them, but that the goal's scene settles without random actions."""
        task, cubes = self._env.task_infos[number % len(self._env.task_infos)], np.arange(self._num_cubes)
        order = rng.permutation(cubes) if len(cubes) > 1 else cubes
        there, here = (_arrangement(task, which) for which in ("goal", "init"))
        goal = self._arranged(there, [[*there["xyzs"][i], 0.0] for i in order], rng, settle=2)
        near = [[*(here["xyzs"][i] + [*rng.uniform(-0.01, 0.01, 2), 0.0]), rng.uniform(0, 2 * np.pi)] for i in order]
        for name, low, high in (("drawer_pos", -0.16, 0.0), ("window_pos", 0.0, 0.2)):
            if name in here:
                here[name] = np.clip(here[name] + rng.uniform(-0.01, 0.01), low, high)
        return self._arranged(here, near, rng), goal

    def _arranged(
        self, things: Mapping[str, Any], cubes: list[list[float]], rng: np.random.Generator, settle: int = 0
    ) -> Float[np.ndarray, " state"]:
        """The arm at random, `cubes` (x, y, z, yaw) and all other things where they are told."""
        self.reset(rng)
        for i, (*pos, yaw) in enumerate(cubes):
            self.data.joint(f"object_joint_{i}").qpos[:] = [*pos, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        for name in ("drawer", "window"):
            if f"{name}_pos" in things:
                self.data.joint(f"{name}_slide").qpos[0] = things[f"{name}_pos"]
        self._push(np.ravel(things.get("button_states", ())))
        self.refresh()
        for _ in range(settle):
            self.step(np.zeros(self.action_spec.size))
        return self.state


def _arrangement(task: Mapping[str, Any], which: Literal["goal", "init"]) -> dict[str, Any]:
    """Where things are at one end of a task: `xyzs` of cubes, and what else its world has."""
    if which in task:
        return {**task[which], "xyzs": task[which]["block_xyzs"]}
    return {"xyzs": (), **{name.removeprefix(f"{which}_"): value for name, value in task.items() if name.startswith(f"{which}_")}}
