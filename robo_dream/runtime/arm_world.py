"""An arm on a bench, or its twin, as an `Environment`: played by the code that plays simulated worlds, with the checks of `run`."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.control.cartesian import CartesianMoves
from robo_dream.control.episode import Bench, EpisodeEnd, EpisodeRun, Hold, Hooks, LoopConfig
from robo_dream.control.kinematics import Kinematics
from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ConfigError, ContractError, RoboDreamError, SafetyStopError
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.connect import Connected
from sim.environment import Actions, EnvironmentTask
from sim.ground_truth import GroundTruth
from sim.tabletop.behaviours.blind import BLIND, Memory, blind_play
from sim.tabletop.scene import Scene


class TooHotError(RoboDreamError):
    """A motor is above the limit; nothing is wrong with the arm, and it goes on when it has cooled down."""


class ArmWorld:
    """The arm of `bench`. `reset` begins an episode where the arm stands; what it does is kept by `recorder`, if there is one.

    `step` raises `SafetyStopError` where a check of the loop ends the episode, and `TooHotError` for a motor above `max_temperature`
    (degrees Celsius). Where pictures are not fit to act on, it holds still, whatever it is told: see `is_blind`. No state can be put back.
    """

    scripts = (BLIND,)
    tasks: Mapping[str, EnvironmentTask] = {}
    about: Mapping[str, Any] = {}

    def __init__(self, bench: Connected, cameras: Sequence[CameraSpec], loop: LoopConfig, max_temperature: float) -> None:
        self._bench, self._loop, self._max_temperature = bench, loop, max_temperature
        self.cameras = tuple(cameras)
        self.recorder: RunWriter | None = None
        self.memory = Memory()  # of the script, from one episode to the next
        self._run: EpisodeRun | None = None
        self._began = 0.0

    def __enter__(self) -> "ArmWorld":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Brings the arm to rest, which is connected as long as its bench is."""
        self._bench.arm.stop()

    @property
    def action_spec(self) -> ActionSpec:
        return self._bench.arm.action_spec

    @property
    def run(self) -> EpisodeRun:
        if self._run is None:
            raise ContractError("no episode has begun; `reset` begins one")
        return self._run

    @property
    def time(self) -> float:
        """Seconds since the episode began; 0 before the first."""
        return 0.0 if self._run is None else self._run.newest.time - self._began

    @property
    def is_blind(self) -> bool:
        """Whether the newest pictures are not fit to act on."""
        return bool(self.run.blind)

    @property
    def hold_action(self) -> Float[np.ndarray, " action"]:
        return self.run.hold_action

    def reset(self, rng: np.random.Generator) -> None:
        """An episode begins, from where the arm stands."""
        bench, recorder = self._bench, self.recorder
        truth = None if bench.view is None else bench.view.truth
        hooks = Hooks() if recorder is None else Hooks(on_step=recorder.on_step)
        self._run = EpisodeRun(Bench(bench.arm, bench.cameras, bench.clock, truth), self._loop, hooks)
        end = self._run.look()
        self._began = self._run.newest.time
        self._judge(end)
        if self.memory.pos is None and not self.memory.num_held and not self.memory.misses:
            self.memory.laid(self, misses=5)  # whoever laid something there did not see to the millimetre

    def step(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """One control step; gives what was applied."""
        run = self.run
        self._judge(run.take(Hold(run.blind) if run.blind else np.asarray(action, np.float32)))
        return run.applied[-1]

    def script(self, name: str, rng: np.random.Generator) -> Actions:
        if name != BLIND:
            raise ConfigError(f"no script {name!r} for an arm on a bench, which is told of no object; there is {BLIND}")
        return blind_play(self, rng, self.memory)

    def arm_state(self) -> ArmState:
        return self.run.newest.arm

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        return self.run.newest.frames[camera].image

    @property
    def state(self) -> Float[np.ndarray, " state"]:
        """Nothing of the world can be put back."""
        return np.zeros(0)

    def set_state(self, state: Float[np.ndarray, " state"]) -> NoReturn:
        raise ContractError("an arm on a bench cannot be put back into a state that it was in")

    def ground_truth(self) -> GroundTruth:
        """Where objects are, a twin knows; of a bench it is NaN. No script here reads it."""
        seen = self.run.newest
        poses = np.reshape(seen.truth.get("object_pose", np.full(7, np.nan)), (-1, 7))
        return GroundTruth(seen.arm.tool_pos, poses[0], (0.0, 0.0, 0.0), seen.arm.gripper, False, others=poses[1:])

    @property
    def scene(self) -> Scene:
        return self._bench.world.scene

    @property
    def kinematics(self) -> Kinematics:
        return self._bench.world.kinematics

    @property
    def moves(self) -> CartesianMoves:
        return self._bench.world.moves

    @property
    def joint_target(self) -> Float[np.ndarray, " joint_and_gripper"]:
        arm = self.run.newest.arm
        return np.append(arm.joint_pos if arm.joint_target is None else arm.joint_target, arm.target_gripper)

    @property
    def measured(self) -> Float[np.ndarray, " joint_and_gripper"]:
        arm = self.run.newest.arm
        return np.append(arm.joint_pos, arm.gripper)

    def _judge(self, end: EpisodeEnd | None) -> None:
        run = self.run
        if end is not None:
            raise SafetyStopError("; ".join(run.result(end).reasons))
        if said := heat(run.newest.arm, self._bench.joints.action_spec.names, self._max_temperature):
            raise TooHotError(said)


def heat(arm: ArmState, names: Sequence[str], limit: float) -> str:
    """Which motors are above `limit` degrees Celsius; empty where none is, or the arm tells no temperatures."""
    told = arm.motor_temperatures
    if told is None:
        return ""
    return " and ".join(f"motor {name} has {degrees:.0f} °C" for name, degrees in zip(names, told, strict=False) if degrees > limit)
