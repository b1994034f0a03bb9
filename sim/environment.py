"""What robo_dream needs of a world that somebody else wrote, and what is built of that for every such world alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec, ArmState, Frame, Observation
from robo_dream.errors import ContractError
from sim.ground_truth import GroundTruth
from sim.tabletop.tasks.task import Criterion

DrawPair = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class EnvironmentTask:
    """When a goal counts as met, and how far away goals are, in control steps.

    Pairs are cut from held-out scripted episodes, `steps_apart` from each other; or `draw` gives the states of pair number n.
    """

    criterion: Criterion
    steps_apart: int = 25
    budget: int = 50
    draw: DrawPair | None = None


@runtime_checkable
class Environment(Protocol):
    """A world with cameras that can be put back into any state it was in. For adapters see dm_control.py and ogbench.py.

    `state` decides the whole future: after `set_state(state)` the same actions give the same states and pictures, bit for bit.
    """

    @property
    def action_spec(self) -> ActionSpec: ...

    @property
    def cameras(self) -> tuple[CameraSpec, ...]: ...

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

    @property
    def time(self) -> float:
        """Seconds of the world's own clock."""
        ...

    @property
    def state(self) -> Float[np.ndarray, " state"]: ...

    def set_state(self, state: Float[np.ndarray, " state"]) -> None: ...

    def reset(self, rng: np.random.Generator) -> None:
        """Puts the world at a random start; `rng` is all that decides which."""
        ...

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        """One control step; `action` is within the spec's limits."""
        ...

    def script(self, name: str, rng: np.random.Generator) -> Iterator[Float[np.ndarray, " action"]]:
        """Actions without end, each for the state that the world is in when it is asked for."""
        ...

    def arm_state(self) -> ArmState:
        """What joints say. Where the world has no such thing, zeros."""
        ...

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]: ...

    def ground_truth(self) -> GroundTruth:
        """What is true, for labels and scores. Planners never see it."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> "Environment": ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...


def frame(environment: Environment, camera: str) -> Frame:
    """A picture of this very moment."""
    return Frame(environment.time, environment.image(camera), round(environment.time / environment.action_spec.control_dt))


def observe(environment: Environment, frames: Mapping[str, Frame] | None = None) -> Observation:
    """All that can be seen, felt and known now; what is known is apart, in `truth`. With `frames` nothing is drawn anew."""
    if frames is None:
        frames = {camera.name: frame(environment, camera.name) for camera in environment.cameras}
    return Observation(environment.time, frames, environment.arm_state(), truth(environment))


def truth(environment: Environment) -> dict[str, np.ndarray]:
    return {"object_pose": environment.ground_truth().object_poses.reshape(-1), "sim_state": environment.state}


def goal_observation(environment: Environment, state: Float[np.ndarray, " state"]) -> Observation:
    """The goal's picture, and the arm at rest there: speed or command would tell how it was reached. The world is left as it was."""
    before = environment.state
    environment.set_state(state)
    seen = observe(environment)
    environment.set_state(before)
    return replace(seen, arm=at_rest(seen.arm))


def at_rest(arm: ArmState) -> ArmState:
    return replace(
        arm, joint_vel=np.zeros_like(arm.joint_vel), target_pos=arm.tool_pos, target_yaw=arm.tool_yaw, target_gripper=arm.gripper,
        joint_target=None,
    )  # fmt: skip


def ground_truth_at(environment: Environment, state: Float[np.ndarray, " state"]) -> GroundTruth:
    """What is true at `state`; the world is left as it was."""
    before = environment.state
    environment.set_state(state)
    moment = environment.ground_truth()
    environment.set_state(before)
    return moment


def task_named(environment: Environment, name: str) -> EnvironmentTask:
    """Raises `ContractError` for a task that this world does not have."""
    if name not in environment.tasks:
        raise ContractError(f"this world has no task {name!r}; it has {', '.join(environment.tasks)}")
    return environment.tasks[name]
