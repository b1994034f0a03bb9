"""Changes that no training had, planted in the tabletop: each is the same for a seed, however often it is planted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

from sim.tabletop.environment import Tabletop
from sim.tabletop.objects import Kind
from sim.tabletop.randomization import Randomization
from sim.tabletop.scene import SceneConfig

Pictures = Mapping[str, UInt8[np.ndarray, "height width 3"]]
Repaint = Callable[[Tabletop, np.random.Generator], None]
Spoil = Callable[[Pictures, np.random.Generator], Pictures]

COLOURS = ((0.15, 0.3, 0.85), (0.15, 0.65, 0.2), (0.9, 0.8, 0.15), (0.6, 0.2, 0.75), (0.9, 0.9, 0.9), (0.1, 0.1, 0.1))
SHIFT, TURN = 0.02, np.deg2rad(2.0)  # m, rad
LAMP = 0.4  # of its brightness; the exposure stays as it was
HAZE = 150  # of 255


@dataclass(frozen=True)
class Smear:
    """A greasy spot on a lens: in pixels how far it reaches and blurs, and how much of the light it scatters."""

    radius: tuple[float, float]
    blur: float
    veil: float


@dataclass(frozen=True)
class Planted:
    """One kind of change: what is compiled into the scene, what is painted before an episode, and what becomes of its pictures."""

    said: str
    repaint: Repaint | None = None
    spoil: Spoil | None = None
    kinds: tuple[Kind, ...] = ("box",)

    @contextmanager
    def world(self, scene: SceneConfig) -> Iterator[Tabletop]:
        """The scene in which it can be planted."""
        varied = scene if self.kinds == ("box",) else replace(scene, randomization=Randomization(kinds=self.kinds))
        with Tabletop(varied) as world:
            yield world

    def plant(self, world: Tabletop, state_size: int, seed: int) -> Float[np.ndarray, " part"]:
        """Makes `world` what it is in the episode of `seed`; returns what is put behind states of the usual scene, `state_size` long."""
        model, built = world.model, world.as_built
        if self.kinds != ("box",):
            world.vary(seed)
        else:
            model.geom_rgba[:], model.light_diffuse[:] = built.colour, built.light
            model.cam_pos[:], model.cam_quat[:] = built.camera_pos, built.camera_quat
        if self.repaint is not None:
            self.repaint(world, np.random.default_rng((seed, 13)))
        return world.state[state_size:]

    def spoilt(self, pictures: Pictures, seed: int) -> Pictures:
        """What cameras deliver of `pictures`; of one seed always in the same way."""
        return pictures if self.spoil is None else self.spoil(pictures, np.random.default_rng((seed, 17)))


def displaced(world: Tabletop, rng: np.random.Generator) -> None:
    """Each camera by so much and no less, in another direction."""
    for camera in range(world.model.ncam):
        world.model.cam_pos[camera] += SHIFT * _direction(rng)
        turn = np.array([np.cos(TURN / 2), *(np.sin(TURN / 2) * _direction(rng))])
        world.model.cam_quat[camera] = _product(turn, world.model.cam_quat[camera].copy())


def recoloured(world: Tabletop, rng: np.random.Generator) -> None:
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    for index in range(world.model.ngeom):
        name = world.model.geom(index).name
        if name == "object" or name.startswith("object_part"):
            world.model.geom_rgba[index, :3] = colour


def dimmed(world: Tabletop, rng: np.random.Generator) -> None:
    world.model.light_diffuse[:] *= LAMP


def swapped(pictures: Pictures, rng: np.random.Generator) -> Pictures:
    return dict(zip(pictures, list(pictures.values())[::-1], strict=True))


def smeared(smear: Smear) -> Spoil:
    """One camera's lens, at a place in the middle half of its picture."""

    def spoil(pictures: Pictures, rng: np.random.Generator) -> Pictures:
        names = list(pictures)
        name = names[int(rng.integers(len(names)))]
        picture = pictures[name].astype(np.float32)
        height, width = picture.shape[:2]
        across, down, radius = rng.uniform(width / 4, 3 * width / 4), rng.uniform(height / 4, 3 * height / 4), rng.uniform(*smear.radius)
        rows, columns = np.mgrid[:height, :width]
        spot = np.clip(1.5 * (1 - np.hypot(columns - across, rows - down) / radius), 0, 1)[..., None]
        through = (1 - smear.veil) * gaussian_filter(picture, (smear.blur, smear.blur, 0)) + smear.veil * HAZE
        return {**pictures, name: np.rint(picture * (1 - spot) + through * spot).astype(np.uint8)}

    return spoil


_UNKNOWN: tuple[Kind, ...] = ("cylinder", "mug", "l_shape")

PLANTED = {
    "displaced_camera": Planted("cameras displaced by 2 cm and 2°", repaint=displaced),
    "new_colour": Planted("object of another colour", repaint=recoloured),
    "unknown_object": Planted("object of another kind and colour", repaint=recoloured, kinds=_UNKNOWN),
    "swapped_cameras": Planted("cameras swapped", spoil=swapped),
    "lens_smear": Planted("lens smeared, a third of the picture", spoil=smeared(Smear((30, 40), 6.0, 0.4))),
    "frozen_light": Planted("lamp at 40 %, exposure as before", repaint=dimmed),
    "known_colour": Planted("object of another kind, same red", kinds=_UNKNOWN),
    "small_smear": Planted("lens smeared, an eighth, lightly", spoil=smeared(Smear((18, 26), 5.0, 0.25))),
}
"""By name. The last two are hardly harmful: what they do to beliefs stands beside how often they are found."""
ASKED = tuple(PLANTED)[:6]


def _direction(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    arrow = rng.standard_normal(3)
    return arrow / np.linalg.norm(arrow)


def _product(first: Float[np.ndarray, "4"], second: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    w, xyz, v, uvw = first[0], first[1:], second[0], second[1:]
    return np.array([w * v - xyz @ uvw, *(w * uvw + v * xyz + np.cross(xyz, uvw))])
