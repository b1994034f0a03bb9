"""An environment's arm, cameras and clock, behind the protocols that real ones have."""

from types import TracebackType

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState, Frame, Intrinsics
from robo_dream.errors import ContractError
from sim.environment import Environment, frame


class EnvironmentArm:
    """A `RobotArm`. An action sent lasts for one control step of the `EnvironmentClock`; after that zeros are sent, which hold still."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._pending = self._still = environment.action_spec.clip(np.zeros(environment.action_spec.size, np.float32))

    def __enter__(self) -> "EnvironmentArm":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def action_spec(self) -> ActionSpec:
        return self._environment.action_spec

    def state(self) -> ArmState:
        return self._environment.arm_state()

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        self._pending = self.action_spec.check(action)
        return self._pending

    def stop(self) -> None:
        self._pending = self._still

    def take(self) -> Float[np.ndarray, " action"]:
        """What the world is to do in its next control step."""
        action, self._pending = self._pending, self._still
        return action


class EnvironmentClock:
    """The world's own time; sleeping advances it in whole control steps, doing what its arm was told."""

    def __init__(self, environment: Environment, arm: EnvironmentArm) -> None:
        self._environment, self._arm = environment, arm

    def now(self) -> float:
        return self._environment.time

    def sleep_until(self, time: float) -> None:
        while self._environment.time < time - self._environment.action_spec.control_dt / 2:
            self._environment.step(self._arm.take())


class EnvironmentCamera:
    """Draws the world as it is when read. Raises `ContractError` for a camera that the world lacks."""

    def __init__(self, environment: Environment, name: str) -> None:
        specs = {camera.name: camera for camera in environment.cameras}
        if name not in specs:
            raise ContractError(f"no camera {name!r} in this world; it has {sorted(specs)}")
        self._environment, self._spec = environment, specs[name]
        self.name = name

    def __enter__(self) -> "EnvironmentCamera":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    @property
    def intrinsics(self) -> Intrinsics:
        unknown = float("nan")
        return self._spec.intrinsics or Intrinsics(self._spec.width, self._spec.height, unknown, unknown, unknown, unknown)

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        pose = self._spec.world_from_camera
        return np.full((4, 4), np.nan) if pose is None else np.array(pose)

    def read(self) -> Frame:
        return frame(self._environment, self.name)
