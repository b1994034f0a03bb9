"""Kinds of objects of simple geometry: the boxes and cylinders that each is made of, and the weight of the whole."""

from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import BOX

Kind = Literal["box", "cylinder", "mug", "l_shape"]
Size = tuple[float, float, float]

ROUND = 0  # `GroundTruth.object_symmetry` of what looks alike however it is turned
SYMMETRY = {"box": BOX, "cylinder": ROUND, "mug": 1, "l_shape": 1}
_BOX, _CYLINDER = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
_HANDLE = 0.3  # of a mug's radius: how far its handle stands out, and twice how wide that is
_MOUTH = 0.0005  # m that the dark disc on a mug stands above its rim


@dataclass(frozen=True)
class Part:
    """A geom: MuJoCo's type and half sizes, its middle in the object's frame; `is_solid` or paint; `shade` of the object's colour."""

    type: mujoco.mjtGeom
    size: Size
    pos: Size = (0.0, 0.0, 0.0)
    is_solid: bool = True
    shade: float = 1.0

    @property
    def half_extent(self) -> Float[np.ndarray, "3"]:
        return np.array([self.size[0], self.size[0], self.size[1]] if self.type == _CYLINDER else self.size)

    @property
    def radius(self) -> float:
        """Of the smallest sphere around its middle that holds it."""
        return float(np.hypot(*self.size[:2]) if self.type == _CYLINDER else np.linalg.norm(self.size))

    @property
    def volume(self) -> float:
        x, y, z = self.size
        return float(2 * np.pi * x * x * y if self.type == _CYLINDER else 8 * x * y * z)

    @property
    def inertia(self) -> Float[np.ndarray, "3"]:
        """About its own axes, of 1 kg."""
        if self.type == _CYLINDER:
            radius, half = self.size[:2]
            level = radius**2 / 4 + half**2 / 3
            return np.array([level, level, radius**2 / 2])
        squares = np.square(self.size)
        return (squares.sum() - squares) / 3


@dataclass(frozen=True)
class Weight:
    """Of a body: kilograms, the centre of mass (m), the principal moments (kg m^2) and the turn of their axes (wxyz)."""

    mass: float
    centre: Float[np.ndarray, "3"]
    inertia: Float[np.ndarray, "3"]
    quat: Float[np.ndarray, "4"]


def parts_of(kind: str, half_size: Size) -> tuple[Part, ...]:
    """The parts of an object within a box of `half_size` metres: for all but a box the smaller of the level sizes counts."""
    x, y, z = half_size
    radius = min(x, y)
    match kind:
        case "box":
            return (Part(_BOX, half_size),)
        case "cylinder":
            return (Part(_CYLINDER, (radius, z, 0.0)),)
        case "mug":
            body = radius / (1 + _HANDLE / 2)  # body and handle together are as long as the box
            out, bar, middle = body * _HANDLE, body * _HANDLE / 3, -body * _HANDLE / 2
            return (
                Part(_CYLINDER, (body, z, 0.0), (middle, 0.0, 0.0)),
                Part(_CYLINDER, (0.85 * body, _MOUTH, 0.0), (middle, 0.0, z), is_solid=False, shade=0.2),
                Part(_BOX, (out / 2 + bar, bar, bar), (middle + body + out / 2 - bar, 0.0, 0.55 * z)),
                Part(_BOX, (out / 2 + bar, bar, bar), (middle + body + out / 2 - bar, 0.0, -0.55 * z)),
                Part(_BOX, (bar, bar, 0.55 * z + bar), (middle + body + out - bar, 0.0, 0.0)),
            )
        case "l_shape":
            half = radius / 2
            return (Part(_BOX, (radius, half, z), (0.0, -half, 0.0)), Part(_BOX, (half, half, z), (-half, half, 0.0)))
    raise AssertionError(f"no object of the kind {kind!r}")


def bounds_of(kind: str, half_size: Size) -> Size:
    """Half the size of the box around the object's origin that holds it."""
    x, y, z = half_size
    return half_size if kind == "box" else (min(x, y), min(x, y), z)


def weight_of(parts: tuple[Part, ...], mass: float) -> Weight:
    """`mass` kilograms spread evenly over the solid parts."""
    solid = [part for part in parts if part.is_solid]
    share = np.array([part.volume for part in solid])
    share = mass * share / share.sum()
    middles = np.array([part.pos for part in solid])
    centre = share @ middles / mass
    total = np.zeros((3, 3))
    for kilograms, part, middle in zip(share, solid, middles - centre, strict=True):
        total += kilograms * (np.diag(part.inertia) + middle @ middle * np.eye(3) - np.outer(middle, middle))
    moments, axes = np.linalg.eigh(total)
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(axes).reshape(9))
    return Weight(mass, centre, moments, quat)
