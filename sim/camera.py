"""A camera of a MuJoCo world, behind the same protocol as a real one."""

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import Frame, Intrinsics
from sim.world import World


class SimCamera:
    """Draws the world as it is at the moment of reading; raises `ContractError` for a camera that the scene lacks."""

    def __init__(self, world: World, name: str) -> None:
        world.camera(name)
        self._world = world
        self.name = name

    def __enter__(self) -> "SimCamera":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    @property
    def intrinsics(self) -> Intrinsics:
        return self._world.intrinsics(self.name)

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        return self._world.world_from_camera(self.name)

    def read(self) -> Frame:
        return self._world.frame(self.name)
