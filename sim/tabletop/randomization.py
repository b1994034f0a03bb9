"""What varies from episode to episode in a scene: looks, physics and objects, all drawn from one seed, or built as the scene says.

Some looks are kept from training: bands of hues, patterns, a side from which the lamp shines, and everything stronger than its range. A
scene whose `held_out` names them has those alone, so that a model meets what it cannot have seen. Each aspect has random numbers of its
own: switching one off changes nothing about the others.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from pydantic import Field

from robo_dream.config import dump
from robo_dream.data.camera_effects import CameraEffectRanges, CameraEffects, drawn_strength
from robo_dream.errors import ConfigError
from robo_dream.schema import Fraction, Unit, configuration
from sim.tabletop.objects import Kind
from sim.tabletop.patterns import HELD_OUT, TRAINED, Colour, Pattern

Aspect = Literal["colours", "patterns", "lights", "cameras", "effects"]
ASPECTS: tuple[str, ...] = get_args(Aspect)
MOST_SEEDS = 2**48  # a float64 of the state holds each
HELD_OUT_HUES = ((0.11, 0.19), (0.45, 0.56), (0.72, 0.83))  # yellow, cyan, violet
HUE_MARGIN = 0.02  # between those and the hues that training has
HELD_OUT_SIDES = (np.deg2rad(200.0), np.deg2rad(340.0))  # where the lamp stands, seen from above, counted from ahead of the arm
_SIDE_MARGIN = np.deg2rad(10.0)
# Each has random numbers of its own; new ones go to the end, so that a seed keeps its meaning.
_STREAMS = (*ASPECTS, "shadows", "distractors", "objects", "physics", "chances", "target")
_LEAST_CONTRAST = 0.35  # between object and table, as a distance in RGB
_MIDDLE = np.array([0.43, 0.0, 0.0])  # what the lamp points at
_LAMP_FAR = 1.65  # m

Times = Annotated[float, Field(ge=0.01, le=100), Unit("1")]
Scale = Annotated[float, Field(ge=0.5, le=1.5), Unit("1")]
Delay = Annotated[float, Field(ge=0, le=0.5), Unit("s")]
Play = Annotated[float, Field(ge=0, le=0.2), Unit("rad")]


@configuration
class VisualRanges:
    """How much pictures vary. Fractions of episodes: `colours` of objects, table, background and arm; `patterns` on table and objects;
    `lamp_moved` and `shadows`. At most: `light` of brightness, `camera_pos`, `camera_turn`, `focal_length`, and `distractors`, things
    that stand about the table, out of the arm's reach, and touch nothing.
    """

    colours: Fraction = 0.0
    patterns: Fraction = 0.0
    lamp_moved: Fraction = 0.0
    light: Fraction = 0.0
    shadows: Fraction = 0.0
    camera_pos: Annotated[float, Field(ge=0, le=0.3), Unit("m")] = 0.0
    camera_turn: Annotated[float, Field(ge=0, le=0.5), Unit("rad")] = 0.0
    focal_length: Annotated[float, Field(ge=0, le=0.3), Unit("1")] = 0.0
    effects: CameraEffectRanges = field(default_factory=CameraEffectRanges)
    distractors: Annotated[int, Field(ge=0, le=12)] = 0


@configuration
class PhysicsRanges:
    """Ranges from which physics is drawn. `mass`, `friction` and `size` are of the object, as multiples of the scene's, mass and friction
    log-uniform, size once level and once upright; `delay` and `backlash` of the arm's joints."""

    mass: tuple[Times, Times] = (1.0, 1.0)
    friction: tuple[Times, Times] = (1.0, 1.0)
    size: tuple[Scale, Scale] = (1.0, 1.0)
    delay: tuple[Delay, Delay] = (0.0, 0.0)
    backlash: tuple[Play, Play] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("mass", "friction", "size", "delay", "backlash"):
            low, high = getattr(self, name)
            if low > high:
                raise ConfigError(f"PhysicsRanges.{name} is a range from {low} to {high}; give the lower end first")


Kinds = Annotated[tuple[Kind, ...], Field(min_length=1, max_length=20)]


@configuration
class Randomization:
    """What of a scene is drawn anew for each episode; `kinds` are what an object may be, one named twice twice as often.

    `any_object`: an episode is about any of the scene's objects, not the first; all their poses are told, in the scene's order.
    `held_out` names the aspects that are as training never has them.
    """

    visual: VisualRanges = field(default_factory=VisualRanges)
    physics: PhysicsRanges = field(default_factory=PhysicsRanges)
    kinds: Kinds = ("box",)
    any_object: bool = False
    held_out: tuple[Aspect, ...] = ()

    def __post_init__(self) -> None:
        visual = self.visual
        varied = {
            "colours": visual.colours, "patterns": visual.patterns, "lights": visual.lamp_moved or visual.light,
            "cameras": visual.camera_pos or visual.camera_turn or visual.focal_length, "effects": visual.effects.is_on,
        }  # fmt: skip
        if idle := [aspect for aspect in self.held_out if not varied[aspect]]:
            raise ConfigError(
                f"Randomization.held_out names {', '.join(idle)}, which visual does not vary; give it a range there, as training has it"
            )

    @property
    def fingerprint(self) -> int:
        """A number of what a seed is read by, `held_out` apart. What is at its default does not count, so that there may be more."""
        said = _changed(dump(replace(self, held_out=())), dump(Randomization()))
        return zlib.crc32(json.dumps(said, sort_keys=True).encode())

    @property
    def has_lag(self) -> bool:
        """Whether joints may follow late or with play."""
        return self.physics.delay[1] > 0 or self.physics.backlash[1] > 0


@dataclass(frozen=True)
class DrawnObject:
    """What one object is; `size` is level and upright, and with the others a multiple of what the scene says."""

    kind: str
    size: tuple[float, float]
    mass: float
    friction: float
    colour: Colour | None  # None: the scene's
    pattern: Pattern


@dataclass(frozen=True)
class DrawnCamera:
    """How a camera differs: metres, a rotation vector (rad), a multiple of its focal length, and what it does to pictures."""

    shift: tuple[float, float, float]
    turn: tuple[float, float, float]
    focal_length: float
    effects: CameraEffects


@dataclass(frozen=True)
class Distractor:
    """A thing that is only seen. `place` is in 0..1 of the free part of the table; half sizes in metres."""

    shape: str
    size: tuple[float, float, float]
    place: tuple[float, float]
    turn: float
    colour: Colour


@dataclass(frozen=True)
class Variation:
    """Everything that is drawn for an episode. None is the scene's own."""

    seed: int
    held_out: tuple[str, ...]
    objects: tuple[DrawnObject, ...]
    cameras: Mapping[str, DrawnCamera]
    table: Colour | None
    table_pattern: Pattern
    background: Colour | None
    arm: Colour  # a multiple of each channel
    lamp: tuple[float, float, float] | None  # where it stands, m
    brightness: tuple[float, float]  # of the lamp and of the light from everywhere, as multiples
    has_shadows: bool
    distractors: tuple[Distractor, ...]
    delay: float
    backlash: float
    target: int  # the object that the episode is about

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def draw_variation(
    config: Randomization, seed: int, held_out: Sequence[str], objects: Sequence[Colour], table: Colour, cameras: Sequence[str]
) -> Variation:
    """What `seed` gives a scene whose objects and table have these colours. The same arguments give the same variation, everywhere."""
    visual, physics = config.visual, config.physics
    rng = {name: np.random.default_rng((seed, number)) for number, name in enumerate(_STREAMS)}
    unseen = {aspect: aspect in held_out for aspect in ASPECTS}
    chances = dict(zip(("colours", "patterns", "lamp", "shadows"), rng["chances"].random(4), strict=True))
    is_coloured = chances["colours"] < (visual.colours if not unseen["colours"] else 1)
    is_patterned = chances["patterns"] < (visual.patterns if not unseen["patterns"] else 1)

    table_colour = _surface(rng["colours"], unseen["colours"]) if is_coloured else None
    background = _surface(rng["colours"], unseen["colours"]) if is_coloured else None
    arm = tuple(float(part) for part in 1 + 0.3 * rng["colours"].uniform(-1, 1, 3)) if is_coloured else (1.0, 1.0, 1.0)
    ground = table_colour or table
    drawn = []
    for colour in objects:
        own = _apart(rng["colours"], unseen["colours"], ground) if is_coloured else None
        pattern = _pattern(rng["patterns"], unseen["patterns"], own or colour) if is_patterned else Pattern()
        drawn.append(
            DrawnObject(
                kind=config.kinds[int(rng["objects"].integers(len(config.kinds)))],
                size=(_between(rng["physics"], physics.size), _between(rng["physics"], physics.size)),
                mass=_times(rng["physics"], physics.mass),
                friction=_times(rng["physics"], physics.friction),
                colour=own,
                pattern=pattern,
            )
        )
    is_moved = visual.lamp_moved > 0 and (chances["lamp"] < visual.lamp_moved or unseen["lights"])
    return Variation(
        seed=seed,
        held_out=tuple(held_out),
        objects=tuple(drawn),
        cameras={name: _camera(visual, rng, unseen) for name in cameras},
        table=table_colour,
        table_pattern=_pattern(rng["patterns"], unseen["patterns"], ground) if is_patterned else Pattern(),
        background=background,
        arm=(arm[0], arm[1], arm[2]),
        lamp=_lamp(rng["lights"], unseen["lights"]) if is_moved else None,
        brightness=(_gain(rng["lights"], visual.light, unseen["lights"]), _gain(rng["lights"], visual.light, unseen["lights"])),
        has_shadows=bool(chances["shadows"] < visual.shadows),
        distractors=_distractors(rng["distractors"], rng["colours"], visual.distractors, unseen["colours"]),
        delay=_between(rng["physics"], physics.delay),
        backlash=_between(rng["physics"], physics.backlash),
        target=int(rng["target"].integers(len(objects))) if config.any_object else 0,
    )


def _changed(said: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """What of a block is not at its default."""
    parts = {name: _changed(value, default[name]) if isinstance(value, Mapping) else value for name, value in said.items()}
    return {name: value for name, value in parts.items() if value != ({} if isinstance(value, Mapping) else default[name])}


def is_held_out_hue(hue: float) -> bool:
    return any(low <= hue <= high for low, high in HELD_OUT_HUES)


def _between(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(rng.uniform(*ends))


def _times(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]))))


def _gain(rng: np.random.Generator, most: float, is_held_out: bool) -> float:
    """A multiple of brightness, as likely below 1 as above."""
    strength, sign = drawn_strength(rng, is_held_out, 1)[0], rng.choice([-1.0, 1.0])
    return float((1 + most) ** (sign * strength))


def _hue(rng: np.random.Generator, is_held_out: bool) -> float:
    while True:
        hue = float(rng.uniform(0, 1))
        if is_held_out and is_held_out_hue(hue):
            return hue
        if not is_held_out and not any(low - HUE_MARGIN < hue < high + HUE_MARGIN for low, high in HELD_OUT_HUES):
            return hue


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    """Of hue, saturation and value in 0..1."""
    ramp = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    red, green, blue = (float(part) for part in value * (1 - saturation * (1 - ramp)))
    return red, green, blue


def _surface(rng: np.random.Generator, is_held_out: bool) -> Colour:
    """Of a table or a wall: not too bright a hue."""
    return _rgb(_hue(rng, is_held_out), float(rng.uniform(0.15, 0.5)), float(rng.uniform(0.35, 0.9)))


def _vivid(rng: np.random.Generator, is_held_out: bool) -> Colour:
    return _rgb(_hue(rng, is_held_out), float(rng.uniform(0.55, 1.0)), float(rng.uniform(0.4, 1.0)))


def _apart(rng: np.random.Generator, is_held_out: bool, ground: Colour) -> Colour:
    """One that is seen on `ground`."""
    while True:
        colour = _vivid(rng, is_held_out)
        if np.linalg.norm(np.subtract(colour, ground)) > _LEAST_CONTRAST:
            return colour


def _pattern(rng: np.random.Generator, is_held_out: bool, first: Colour) -> Pattern:
    """With a darker or lighter tone of `first`, whose hue it keeps."""
    kinds = HELD_OUT if is_held_out else TRAINED
    tone = float(rng.uniform(0.45, 0.75)) if rng.random() < 0.5 else float(rng.uniform(1.25, 1.6))
    tone = min(tone, 1 / max(max(first), 1e-6)) if max(first) * 1.1 < 1 else min(tone, 0.75)
    red, green, blue = (float(tone * part) for part in first)
    return Pattern(str(rng.choice(kinds)), (red, green, blue), int(rng.integers(2, 7)), int(rng.integers(2**31)))


def _lamp(rng: np.random.Generator, is_held_out: bool) -> tuple[float, float, float]:
    low, high = HELD_OUT_SIDES
    around = rng.uniform(low, high) if is_held_out else high + _SIDE_MARGIN + rng.uniform(0, 2 * np.pi - (high - low) - 2 * _SIDE_MARGIN)
    up = rng.uniform(np.deg2rad(40), np.deg2rad(85))
    x, y, z = _MIDDLE + _LAMP_FAR * np.array([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)])
    return float(x), float(y), float(z)


def lamp_side(lamp: tuple[float, float, float]) -> float:
    """Where a lamp stands, seen from above, in 0..2 pi."""
    return float(np.arctan2(lamp[1] - _MIDDLE[1], lamp[0] - _MIDDLE[0]) % (2 * np.pi))


def lamp_direction(lamp: tuple[float, float, float]) -> Float[np.ndarray, "3"]:
    """To the middle of the table."""
    return (_MIDDLE - lamp) / np.linalg.norm(_MIDDLE - lamp)


def _camera(visual: VisualRanges, rng: Mapping[str, np.random.Generator], unseen: Mapping[str, bool]) -> DrawnCamera:
    here, is_held_out = rng["cameras"], unseen["cameras"]
    strength = drawn_strength(here, is_held_out, 2)
    return DrawnCamera(
        shift=_direction(here, visual.camera_pos * float(strength[0])),
        turn=_direction(here, visual.camera_turn * float(strength[1])),
        focal_length=_gain(here, visual.focal_length, is_held_out),
        effects=visual.effects.draw(rng["effects"], unseen["effects"]),
    )


def _direction(rng: np.random.Generator, length: float) -> tuple[float, float, float]:
    arrow = rng.standard_normal(3)
    x, y, z = arrow * length / np.linalg.norm(arrow)
    return float(x), float(y), float(z)


SHAPES = ("box", "cylinder", "sphere", "capsule", "ellipsoid")


def _distractors(rng: np.random.Generator, colours: np.random.Generator, most: int, is_held_out: bool) -> tuple[Distractor, ...]:
    found = []
    for _ in range(int(rng.integers(most + 1)) if most else 0):
        sizes = rng.uniform((0.012, 0.012, 0.012), (0.035, 0.035, 0.045))
        found.append(
            Distractor(
                shape=str(rng.choice(SHAPES)),
                size=(float(sizes[0]), float(sizes[1]), float(sizes[2])),
                place=(float(rng.random()), float(rng.random())),
                turn=float(rng.uniform(-np.pi, np.pi)),
                colour=_vivid(colours, is_held_out),
            )
        )
    return tuple(found)
