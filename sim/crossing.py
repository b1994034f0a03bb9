"""A world where the outcome is a coin toss: a puck on its way to the goal meets a bump that lets it pass on one side or the other.

The short way leads along a corridor to the bump. As the puck comes, the bump gives way: to the right, and the puck passes towards the goal,
or to the left, and it slides into a pit. Which, no picture shows; how often, the bump's colour does. The long way leads round all that.
"""

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

import mujoco
import numpy as np
from jaxtyping import Float
from pydantic import Field

from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.schema import configuration
from sim.adapters.mujoco_world import MujocoWorld, PictureConfig
from sim.environment import EnvironmentTask
from sim.goals import ToolGoal
from sim.ground_truth import GroundTruth

_CAMERA = "top"
_SUBSTEPS, _FASTEST = 10, 0.22  # physics steps in a control step; m/s
_PATIENCE = 40  # control steps that the script spends on one corner
_PUCK, _BUMP = np.array([0.014, 0.01]), 0.02  # m: radius and half height; half the bump's side
_AT_BUMP, _GIVES, _LEFT_ALONE = (0.03, 0.0), 0.024, 0.085  # m: where it stands, how far it gives way, how near the puck is while it does
_COMES = (-0.028, 0.026)  # m: how far along the corridor, and how near its middle, the puck is when the coin is tossed
_STARTS = np.array([[-0.17, -0.03], [-0.13, 0.03]])  # m
_GOALS = np.array([[0.14, 0.05], [0.17, 0.08]])
_CORNERS = np.array([[-0.12, 0.172], [0.01, 0.172]])  # of the long way
_BEFORE, _PASSED = np.array([-0.1, 0.0]), 0.02  # of the corridor, m; how far aside the bump sends what it lets pass
_BLIND = 55  # control steps that the script steers with closed eyes, from before the toss on
_PIT, _PULL = -0.004, 3.2  # m: beyond the corridor and below this it pulls down, N, and nobody comes out
_SLOPE = (0.117, -0.1, 0.11, 0.005, -65)  # the wall between the pit and the goals: its middle, half its sides (m), and its turn (degrees)
_SEED_LIMIT = 2**31
_UNKNOWN = np.full(7, np.nan)
_RARE, _COMMON = np.array([0.1, 0.25, 0.95]), np.array([1.0, 0.85, 0.1])  # the bump's colour where it never and always lets to the goal

Odds = Annotated[float, Field(ge=0, le=1)]


@configuration
class CrossingConfig:
    """`odds` of passing towards the goal: which of them a start has is drawn, and the bump's colour shows it."""

    kind: Literal["crossing"] = "crossing"
    env: Literal["coin-toss"] = "coin-toss"
    odds: Annotated[tuple[Odds, ...], Field(min_length=1, max_length=16)] = (0.5,)
    picture: PictureConfig | None = field(default_factory=lambda: PictureConfig(size=64))


class Crossing(MujocoWorld):
    """An `Environment`. Actions are the puck's desired speeds; x is right in the picture and y up. It has no hand and no object.

    Beside MuJoCo's, a state has the seed of its tosses, how many there were, and the odds: so that state and actions decide the future.
    """

    scripts = ("through", "around")

    def __init__(self, config: CrossingConfig) -> None:
        spec = mujoco.MjSpec.from_string(_xml())
        model = spec.compile()
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        super().__init__(model, data, spec, config.picture, (_CAMERA,), "mujoco")
        high = np.full(2, _FASTEST, np.float32)
        self.action_spec = ActionSpec("command", ("x", "y"), ("m/s", "m/s"), -high, high, _SUBSTEPS * model.opt.timestep)
        self.tasks = {"cross": EnvironmentTask(ToolGoal("cross", moderate_radius=0.025, strict_radius=0.02), None, self._pair, 55)}
        self.about = {**self.about, "odds": list(config.odds)}
        self._every_odds, self._bump = config.odds, model.geom("bump").id
        self._tosses = np.array([0.0, 0.0, config.odds[0]])  # seed, how many, odds
        self.refresh()

    def __enter__(self) -> "Crossing":
        return self

    @property
    def state(self) -> Float[np.ndarray, " state"]:
        return np.concatenate([super().state, self._tosses])

    def set_state(self, state: Float[np.ndarray, " state"]) -> None:
        """See `MujocoWorld.set_state`."""
        super().set_state(state[: -len(self._tosses)])
        self._tosses = np.array(state[-len(self._tosses) :])
        self._paint()

    @property
    def odds(self) -> float:
        """Of passing towards the goal."""
        return float(self._tosses[2])

    @property
    def num_tosses(self) -> int:
        """Since the start."""
        return int(self._tosses[1])

    def reset(self, rng: np.random.Generator) -> None:
        """Half of the starts are before the corridor, the others anywhere."""
        self._place(rng, _STARTS if rng.random() < 0.5 else np.array([[-0.19, -0.19], [0.19, 0.19]]))

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        self.data.ctrl[:2] = action
        for _ in range(_SUBSTEPS):
            self._toss()
            self.data.qfrc_applied[1] = -_PULL * self._is_in_pit()
            mujoco.mj_step(self.model, self.data)
        self.refresh()

    def script(self, name: str, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
        """Round the corridor, or along it with closed eyes, to some place near the goals, and from there to others.

        Along the corridor nothing looks where the puck is until long after the toss: actions that answer it would tell how it fell, and
        who learns what follows from actions would learn to read it off them.
        """
        while True:
            end, (x, y) = rng.uniform(*_GOALS) + rng.normal(0, 0.01, 2), self.data.qpos[:2]
            if name == "through" and x < -0.02:
                yield from self._towards(_BEFORE)
                yield from self._blind(end, rng)
            else:
                num_passed = 2 if x > -0.02 else 1 if y > 0.15 else 0
                for corner in _CORNERS[num_passed:]:
                    yield from self._towards(corner)
                yield from self._towards(end)
                yield from _straying(int(rng.integers(3, 10)), rng)

    def arm_state(self) -> ArmState:
        return self.arm_at("puck", self.data.qpos[:2], self.data.qvel[:2])

    def ground_truth(self) -> GroundTruth:
        return GroundTruth(self.data.site("puck").xpos.copy(), _UNKNOWN, (0.0, 0.0, 0.0), gripper=0.0, touched=False)

    def _towards(self, place: Float[np.ndarray, "2"]) -> Iterator[Float[np.ndarray, " action"]]:
        """Straight on, as fast as it goes; not for ever, as something may be in the way."""
        for _ in range(_PATIENCE):
            off = place - self.data.qpos[:2]
            if np.abs(off).max() < 0.012:
                return
            yield np.clip(off / (2 * self.action_spec.control_dt), -_FASTEST, _FASTEST)

    def _blind(self, end: Float[np.ndarray, "2"], rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
        """`_BLIND` actions that were all chosen before the first: past the bump, then to where `end` is if the puck passes, or anywhere."""
        step = 0.9 * _FASTEST * self.action_spec.control_dt  # m
        speed, far = rng.choice([1.0, rng.uniform(0.6, 1.0)]), rng.uniform(0.1, 0.17)
        asides = np.repeat(rng.choice([0.0, rng.uniform(-0.1, 0.1), rng.uniform(-1.0, 1.0)], 2), 1 + int(far / (speed * step)) // 2)
        plan = [np.array([speed, aside]) * _FASTEST for aside in asides]
        if rng.random() < 0.6:
            way = end - self.data.qpos[:2] - np.array([far, _PASSED])
            num_steps = max(1, round(float(np.abs(way).max()) / step))
            plan += [way / (num_steps * 0.9 * self.action_spec.control_dt)] * num_steps
            plan += [np.zeros(2)] * int(rng.integers(0, 20))
        yield from plan[:_BLIND]
        yield from _straying(max(0, _BLIND - len(plan)), rng)

    def _toss(self) -> None:
        """Gives way to one side while the puck passes, and stands in the middle else."""
        x, y = self.data.qpos[:2]
        if self.data.ctrl[2] == 0.0 and 0.0 < x - _COMES[0] < 0.01 and abs(y) < _COMES[1]:
            seed, count, odds = self._tosses
            passes = np.random.default_rng((int(seed), int(count))).random() < odds
            self.data.ctrl[2] = -_GIVES if passes else _GIVES
            self._tosses = np.array([seed, count + 1, odds])
        elif np.hypot(x - _AT_BUMP[0], y) > _LEFT_ALONE:
            self.data.ctrl[2] = 0.0

    def _is_in_pit(self) -> bool:
        x, y = self.data.qpos[:2]
        slope = _SLOPE[1] + (x - _SLOPE[0]) * np.tan(np.deg2rad(_SLOPE[4]))
        falls = self.data.ctrl[2] > 0.0  # whatever it does about it
        return bool((x > -0.012 and y < slope) if falls else (x > 0.005 and y < min(_PIT, slope)))

    def _pair(self, number: int, rng: np.random.Generator) -> tuple[Float[np.ndarray, " state"], Float[np.ndarray, " state"]]:
        """A start before the corridor, and a goal beyond the bump of the same colour."""
        self._place(rng, _STARTS)
        self._tosses[2] = self._every_odds[number % len(self._every_odds)]
        self._paint()
        start, tosses = self.state, self._tosses.copy()
        self._place(rng, _GOALS)
        self._tosses = tosses
        self._paint()
        return start, self.state

    def _place(self, rng: np.random.Generator, among: Float[np.ndarray, "2 2"]) -> None:
        """Puts the puck, at rest, somewhere free in a rectangle. Seed and odds of the tosses to come are drawn too."""
        mujoco.mj_resetData(self.model, self.data)
        while True:
            self.data.qpos[:2] = rng.uniform(*among)
            mujoco.mj_forward(self.model, self.data)
            if self.data.ncon == 0:
                break
        self._tosses = np.array([float(rng.integers(_SEED_LIMIT)), 0.0, self._every_odds[int(rng.integers(len(self._every_odds)))]])
        self._paint()
        self.refresh()

    def _paint(self) -> None:
        self.model.geom_rgba[self._bump, :3] = _RARE + self.odds * (_COMMON - _RARE)


def _straying(num_steps: int, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
    """One direction after another, and now and then none, whatever comes of it."""
    while num_steps > 0:
        move = rng.uniform(-_FASTEST, _FASTEST, 2) * (rng.random() < 0.8)
        for _ in range(min(num_steps, int(rng.integers(3, 12)))):
            num_steps -= 1
            yield move


def _xml() -> str:
    """Walls are (middle, half sides, turn in degrees)."""
    walls = (
        (0.0, 0.205, 0.21, 0.005, 0), (0.0, -0.205, 0.21, 0.005, 0), (-0.205, 0.0, 0.005, 0.21, 0), (0.205, 0.0, 0.005, 0.21, 0),
        (-0.045, 0.088, 0.035, 0.062, 0), (-0.045, -0.113, 0.035, 0.087, 0), _SLOPE,
    )  # fmt: skip
    boxes = "".join(f'<geom type="box" pos="{x} {y} 0.01" size="{a} {b} 0.01" euler="0 0 {turn}"/>' for x, y, a, b, turn in walls)
    return f"""
<mujoco model="crossing">
  <option timestep="0.005" gravity="0 0 0" integrator="implicitfast"/>
  <default><geom rgba="0.45 0.47 0.5 1" friction="0 0 0" condim="1" solref="0.01 1"/></default>
  <visual><headlight ambient="0.6 0.6 0.6" diffuse="0.4 0.4 0.4" specular="0 0 0"/></visual>
  <worldbody>
    <camera name="{_CAMERA}" pos="0 0 0.63" fovy="36.9"/>
    <geom type="plane" size="0.3 0.3 0.1" rgba="0.13 0.14 0.17 1" contype="0" conaffinity="0"/>
    {boxes}
    <body name="puck" pos="0 0 0.01">
      <joint name="x" type="slide" axis="1 0 0" damping="4"/>
      <joint name="y" type="slide" axis="0 1 0" damping="4"/>
      <geom name="puck" type="cylinder" size="{_PUCK[0]} {_PUCK[1]}" rgba="0.9 0.2 0.15 1" mass="0.1"/>
      <site name="puck" rgba="0 0 0 0"/>
    </body>
    <body name="bump" pos="{_AT_BUMP[0]} {_AT_BUMP[1]} 0.01">
      <joint name="bump" type="slide" axis="0 1 0" damping="25"/>
      <geom name="bump" type="box" size="{_BUMP} {_BUMP} 0.0101" euler="0 0 45" mass="0.2"/>
    </body>
  </worldbody>
  <contact><exclude body1="world" body2="bump"/></contact>
  <actuator>
    <velocity joint="x" kv="40" forcerange="-2 2"/>
    <velocity joint="y" kv="40" forcerange="-2 2"/>
    <position joint="bump" kp="1500"/>
  </actuator>
</mujoco>"""
