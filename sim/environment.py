"""What robo_dream needs of a simulated world, and what is built of that for every such world alike."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec, ArmState, Frame, Observation, RobotArm
from robo_dream.errors import ConfigError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.limits import SafetyLimits
from sim.goals import Criterion
from sim.ground_truth import GroundTruth

Actions = Iterator[Float[np.ndarray, " action"]]
DrawPair = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class PairRule:
    """How held-out pairs of start and goal are cut from scripted episodes. Counts are control steps."""

    nearest: int = 25  # from start to goal
    farthest: int = 25
    num_steps: int = 150  # of an episode
    most: int = 1  # pairs of an episode
    play: Callable[[np.random.Generator], Actions] | None = None  # puts the world at a start and plays; None: a script of its own
    reached: Callable[[], bool] | None = None  # asked after every step: whether the script is where it was going; goals are cut only there
    may_start: Callable[[GroundTruth], bool] | None = None
    may_end: Callable[[Sequence[GroundTruth], int], bool] | None = None  # of an episode, at a step
    chosen_apart: bool = False  # pairs are chosen by random numbers of their own, not by those that the episode left


@dataclass(frozen=True)
class EnvironmentTask:
    """When a goal counts as met, where pairs of start and goal come from, and how many control steps an attempt is allowed.

    Held-out pairs are cut as `pairs` says; where it is None, `draw` gives the states of pair number n. Where there is `draw`, goals can be
    drawn freely too. `budget` None: 2.5 times the steps that a goal is away. `shown_at_rest`: the arm at the goal is said to be at rest, as
    speed or command would tell how it was reached; else it is shown as the episode had it.
    """

    criterion: Criterion
    pairs: PairRule | None = PairRule()
    draw: DrawPair | None = None
    budget: int | None = 50
    shown_at_rest: bool = True


@runtime_checkable
class Playable(Protocol):
    """A world with cameras that is acted in, be it by an arm or not."""

    @property
    def action_spec(self) -> ActionSpec: ...

    @property
    def cameras(self) -> tuple[CameraSpec, ...]: ...

    @property
    def time(self) -> float:
        """Seconds of the world's own clock."""
        ...

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What a step of a game brought: its reward, and whether the game is over."""

    reward: float
    terminated: bool


@runtime_checkable
class Game(Playable, Protocol):
    """A world without arm, objects and goals, played for reward until it is over.

    It cannot be put back into a state, so nothing is planned in it by trying. See `sim/adapters/vizdoom.py`.
    """

    @property
    def about(self) -> Mapping[str, Any]:
        """What a dataset's recipe should say: package and version, and what was changed in the picture."""
        ...

    @property
    def counts(self) -> str:
        """What rewards add up to, as its players call it."""
        ...

    @property
    def ticks_per_step(self) -> int:
        """Ticks of the game's own clock in a control step."""
        ...

    @property
    def longest_steps(self) -> int:
        """Control steps after which whoever plays breaks off, which is no end of the game's own."""
        ...

    def reset(self, rng: np.random.Generator) -> None:
        """Begins a game; `rng` is all that decides which."""
        ...

    def play(self, action: Float[np.ndarray, " action"]) -> Outcome:
        """One control step. Raises `ContractError` for an action that the spec does not allow, and after the game is over."""
        ...


@runtime_checkable
class Simulation(Playable, Protocol):
    """A world with an arm that can be put back into any state it was in.

    `state` decides the whole future: after `set_state(state)` the same actions give the same states and pictures, bit for bit.
    """

    @property
    def state(self) -> Float[np.ndarray, " state"]: ...

    def set_state(self, state: Float[np.ndarray, " state"]) -> None: ...

    def step(self, action: Float[np.ndarray, " action"]) -> Any:
        """One control step; `action` is within the spec's limits."""
        ...

    def arm_state(self) -> ArmState:
        """What joints say. Where the world has no such thing, zeros."""
        ...

    def ground_truth(self) -> GroundTruth:
        """What is true, for labels and scores. Planners never see it."""
        ...


@runtime_checkable
class Environment(Simulation, Protocol):
    """What can be collected in, trained for, planned in, evaluated on and replayed. See `sim/tabletop/` and `sim/adapters/`."""

    @property
    def scripts(self) -> tuple[str, ...]:
        """Names of scripted behaviours; none where nobody wrote one. Every world can also be played at random."""
        ...

    @property
    def tasks(self) -> Mapping[str, EnvironmentTask]: ...

    @property
    def about(self) -> Mapping[str, Any]:
        """What a dataset's recipe should say: package and version, and what was changed in the picture."""
        ...

    def reset(self, rng: np.random.Generator) -> None:
        """Puts the world at a random start; `rng` is all that decides which."""
        ...

    def script(self, name: str, rng: np.random.Generator) -> Actions:
        """Actions without end, each for the state that the world is in when it is asked for."""
        ...


@runtime_checkable
class Guarded(Protocol):
    """An environment whose arm stands behind the guard that a real one has; without this, its arm takes actions as they are."""

    def guarded_arm(self, limits: SafetyLimits, on_event: Callable[[SafetyEvent], None] | None = None) -> RobotArm: ...

    @property
    def time(self) -> float: ...

    @property
    def control_dt(self) -> float: ...

    def advance(self) -> None:
        """One control step, doing what the arm was told."""
        ...


def frame(world: Playable, camera: str) -> Frame:
    """A picture of this very moment."""
    return Frame(world.time, world.image(camera), round(world.time / world.action_spec.control_dt))


def observation_of(world: Simulation, frames: Mapping[str, Frame] | None = None) -> Observation:
    """All that can be seen, felt and known now; what is known is apart, in `truth`. With `frames` nothing is drawn anew."""
    if frames is None:
        frames = {camera.name: frame(world, camera.name) for camera in world.cameras}
    return Observation(world.time, frames, world.arm_state(), truth(world))


def truth(world: Simulation) -> dict[str, np.ndarray]:
    return {"object_pose": world.ground_truth().object_poses.reshape(-1), "sim_state": world.state}


def goal_observation(world: Simulation, state: Float[np.ndarray, " state"], shown_at_rest: bool = True) -> Observation:
    """What cameras and joints say at the goal, the arm at rest or as it was. The world is left as it was."""
    before = world.state
    world.set_state(state)
    seen = observation_of(world)
    world.set_state(before)
    return replace(seen, arm=at_rest(seen.arm)) if shown_at_rest else seen


def at_rest(arm: ArmState) -> ArmState:
    return replace(
        arm, joint_vel=np.zeros_like(arm.joint_vel), target_pos=arm.tool_pos, target_yaw=arm.tool_yaw, target_gripper=arm.gripper,
        joint_target=None,
    )  # fmt: skip


def ground_truth_at(world: Simulation, state: Float[np.ndarray, " state"]) -> GroundTruth:
    """What is true at `state`; the world is left as it was."""
    before = world.state
    world.set_state(state)
    there = world.ground_truth()
    world.set_state(before)
    return there


def task_named(environment: Environment, name: str) -> EnvironmentTask:
    """Raises `ConfigError` for a task that this world does not have."""
    if name not in environment.tasks:
        raise ConfigError(f"this world has no task {name!r}; it has {', '.join(environment.tasks)}")
    return environment.tasks[name]
