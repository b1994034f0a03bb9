"""What adapters of worlds without MuJoCo share: a state that is one vector, from which the simulator is set anew after every step."""

from abc import ABC, abstractmethod
from types import TracebackType

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.data.spec import CameraSpec
from robo_dream.errors import ContractError


class VectorWorld(ABC):
    """The part of an `Environment` with one camera. What a simulator remembers besides the vector is forgotten, so it decides all."""

    def __init__(self, camera: CameraSpec, state: Float[np.ndarray, " state"]) -> None:
        """`state` is some state, seconds first."""
        self.cameras = (camera,)
        self._state = state

    @abstractmethod
    def place(self, state: Float[np.ndarray, " state"]) -> None:
        """Makes the simulator anew, at `state`."""

    @abstractmethod
    def draw(self, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]: ...

    def __enter__(self) -> "VectorWorld":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """There is nothing to free."""
        return

    @property
    def time(self) -> float:
        return float(self._state[0])

    @property
    def state(self) -> Float[np.ndarray, " state"]:
        return self._state.copy()

    def set_state(self, state: Float[np.ndarray, " state"]) -> None:
        """Raises `ContractError` when the state belongs to another world."""
        if np.shape(state) != (size := self._state.shape):
            raise ContractError(f"the stored state has shape {np.shape(state)}; this world needs {size}: made with another one?")
        self._state = np.array(state, np.float64)
        self.place(self._state)

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        spec = self.cameras[0]
        if camera != spec.name:
            raise ContractError(f"no camera {camera!r} in this world; it has {spec.name!r}")
        return self.draw(spec.width, spec.height)
