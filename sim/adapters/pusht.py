"""Push-T: a disc pushes a T about a table that is seen from above, at 10 Hz. Not MuJoCo; the T that shows the goal is hidden."""

import math
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.schema import Unit, configuration
from sim.adapters.extras import extra_module
from sim.adapters.vector_world import VectorWorld
from sim.environment import EnvironmentTask
from sim.goals import ObjectGoal
from sim.ground_truth import GroundTruth

_METRE = 1000.0  # pixels of Push-T's table, which so is 51.2 cm wide, and its T 12 cm
_FARTHEST = 0.1  # m from the disc that it can be told to go; in a control step it does a quarter of that
_MIDDLE = (0.1, 0.41)  # m; the script keeps the disc there, as it would press the T through the walls
_HALF_SIZE = (0.06, 0.06, 0.01)  # m, of the T
_JUDGE = ObjectGoal("push", moderate_radius=0.03, strict_radius=0.02, strict_turn=math.radians(20), least_motion=0.06)
_AWAY = np.array([-1000.0, -1000.0, 0.0])  # where the goal's T cannot be seen


@configuration
class PushTConfig:
    kind: Literal["pusht"] = "pusht"
    env: Literal["push-t"] = "push-t"
    size: Annotated[int, Field(ge=32, le=1024, multiple_of=16), Unit("px")] = 96  # pixels of a picture's side; a multiple of 16


class PushT(VectorWorld):
    """An `Environment`. Actions say how far from the disc it is to go; zeros brake. x is right, y down the picture.

    A state is seconds; place and speed of the disc; angle, place, speed and spin of the T, in Push-T's pixels. Contacts that pymunk would
    remember from one control step to the next are forgotten.
    """

    scripts = ("push",)

    def __init__(self, config: PushTConfig) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        self._env = extra_module("gym_pusht.envs.pusht", "pusht").PushTEnv()
        self._env._get_coverage = lambda: 0.0  # success is ours to judge, and this one is slow
        super().__init__(CameraSpec("top", config.size, config.size), np.zeros(11))
        high = np.full(2, _FARTHEST, np.float32)
        self.action_spec = ActionSpec("command", ("x", "y"), ("m", "m"), -high, high, 1 / self._env.control_hz)
        self.tasks = {"push": EnvironmentTask(_JUDGE)}
        self.about: Mapping[str, Any] = {"package": f"gym-pusht {metadata.version('gym-pusht')}", "goal": "hidden", "contacts": "forgotten"}
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        self._env.np_random = rng
        self._env.reset()
        self._renew(0.0)

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        self._env.step(np.clip(self._state[1:3] + _METRE * action, 0, 512))
        self._renew(self.time + self.action_spec.control_dt)

    def place(self, state: Float[np.ndarray, " state"]) -> None:
        self._env._setup()
        self._env.goal_pose, disc, tee = _AWAY, self._env.agent, self._env.block
        numbers = state.tolist()
        disc.position, disc.velocity = numbers[1:3], numbers[3:5]
        tee.angle = numbers[5]  # before its position: it turns about its centre of mass, which is not its position
        tee.position, tee.velocity, tee.angular_velocity = numbers[6:8], numbers[8:10], numbers[10]
        for body in (disc, tee):
            self._env.space.reindex_shapes_for_body(body)  # or the picture shows them where they were

    def draw(self, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        return self._env._get_img(self._env._draw(), width, height)

    def script(self, name: str, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
        """Drives through points on the T and beyond, one after the other."""
        while True:
            moment = self.ground_truth()
            beyond = moment.tool_pos + rng.uniform(1, 2) * (moment.object_pose[:3] + 0.04 * rng.normal(size=3) - moment.tool_pos)
            for _ in range(rng.integers(5, 20)):
                yield self.action_spec.clip(np.clip(beyond[:2], *_MIDDLE) - self._state[1:3] / _METRE)

    def arm_state(self) -> ArmState:
        """The targets are where the disc will be in a control step at its present speed."""
        place, speed = (np.append(numbers, 0.0) / _METRE for numbers in (self._state[1:3], self._state[3:5]))
        target = place + self.action_spec.control_dt * speed
        return ArmState(self.time, place[:2], speed[:2], place, np.array([1.0, 0, 0, 0]), 0.0, 0.0, target, 0.0, 0.0)

    def ground_truth(self) -> GroundTruth:
        half, *place = self._state[5:8] * [0.5, 1 / _METRE, 1 / _METRE]
        pose = np.array([*place, 0, np.cos(half), 0, 0, np.sin(half)])
        return GroundTruth(np.append(self._state[1:3] / _METRE, 0.0), pose, _HALF_SIZE, gripper=0.0, touched=False, object_symmetry=1)

    def _renew(self, time: float) -> None:
        disc, tee = self._env.agent, self._env.block
        self.set_state(np.array([time, *disc.position, *disc.velocity, tee.angle, *tee.position, *tee.velocity, tee.angular_velocity]))
