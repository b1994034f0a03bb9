"""A simulated world's arm, cameras and clock, behind the protocols that real ones have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec, ArmState, Camera, Clock, Frame, Intrinsics, RobotArm
from robo_dream.errors import ContractError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.limits import SafetyLimits
from sim.environment import Environment, Guarded, Simulation, frame


@dataclass(frozen=True)
class Devices:
    """What the loop drives and looks through."""

    arm: RobotArm
    cameras: Sequence[Camera]
    clock: Clock


def devices_of(
    environment: Environment, cameras: Sequence[str], limits: SafetyLimits, on_event: Callable[[SafetyEvent], None] | None = None
) -> Devices:
    """The environment's devices. Raises `ContractError` for a camera that it lacks."""
    seen = [EnvironmentCamera(environment, name) for name in cameras]
    if isinstance(environment, Guarded):
        return Devices(environment.guarded_arm(limits, on_event), seen, SimClock(environment))
    arm = EnvironmentArm(environment)
    return Devices(arm, seen, SimClock(arm))


def limits_in(environment: Environment, limits: SafetyLimits) -> SafetyLimits:
    """`limits` as they hold there: an arm without a guard cannot break, so a model that is wrong about the tool acts all the same."""
    return limits if isinstance(environment, Guarded) else replace(limits, max_tool_error=None)


class EnvironmentArm:
    """A `RobotArm`. An action sent lasts for one control step of the `SimClock`; after that zeros are sent, which hold still."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._pending = self._still = world.action_spec.clip(np.zeros(world.action_spec.size, np.float32))

    def __enter__(self) -> "EnvironmentArm":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def action_spec(self) -> ActionSpec:
        return self._world.action_spec

    @property
    def control_dt(self) -> float:
        return self._world.action_spec.control_dt

    @property
    def time(self) -> float:
        return self._world.time

    def state(self) -> ArmState:
        return self._world.arm_state()

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        self._pending = self.action_spec.check(action)
        return self._pending

    def stop(self) -> None:
        self._pending = self._still

    def advance(self) -> None:
        """One control step of the world, doing what was sent."""
        action, self._pending = self._pending, self._still
        self._world.step(action)


@runtime_checkable
class Advancing(Protocol):
    """What moves on by control steps, doing what it was last told."""

    @property
    def time(self) -> float: ...

    @property
    def control_dt(self) -> float: ...

    def advance(self) -> None: ...


class SimClock:
    """The world's own time; sleeping advances it in whole control steps."""

    def __init__(self, moving: Advancing) -> None:
        self._moving = moving

    def now(self) -> float:
        return self._moving.time

    def sleep_until(self, time: float) -> None:
        while self._moving.time < time - self._moving.control_dt / 2:
            self._moving.advance()


class EnvironmentCamera:
    """Draws the world as it is when read. Raises `ContractError` for a camera that the world lacks."""

    def __init__(self, world: Simulation, name: str) -> None:
        self._world, self.name = world, name
        _ = self._spec

    def __enter__(self) -> "EnvironmentCamera":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    @property
    def _spec(self) -> CameraSpec:
        """As it is now: a camera may be moved."""
        specs = {camera.name: camera for camera in self._world.cameras}
        if self.name not in specs:
            raise ContractError(f"no camera {self.name!r} in this world; it has {sorted(specs)}")
        return specs[self.name]

    @property
    def intrinsics(self) -> Intrinsics:
        spec, unknown = self._spec, float("nan")
        return spec.intrinsics or Intrinsics(spec.width, spec.height, unknown, unknown, unknown, unknown)

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        pose = self._spec.world_from_camera
        return np.full((4, 4), np.nan) if pose is None else np.array(pose)

    def read(self) -> Frame:
        return frame(self._world, self.name)
