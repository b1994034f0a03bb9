"""Episodes of play: skills one after another, some clumsy, all shaken by noise, recorded as they happened."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, field
from itertools import islice
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robo_dream.errors import ConfigError
from robo_dream.schema import Fraction, Share, Unit, configuration
from sim.environment import Actions, Environment
from sim.scripts import Playing
from sim.tabletop.behaviours import skills
from sim.tabletop.behaviours.arrange import arrange
from sim.tabletop.start import StartRanges, VisualRandomization, VisualRandomizer, draw_start
from sim.tabletop.world import World

SKILLS = ("reach", "push", "drag", "lift", "wander", "plan", "arrange", "stray")  # "plan" labels what a planner did
CUT_AFTER = 3, 36  # control steps after which an interrupted skill ends, drawn from this range
SCRIPTED = tuple(skill for skill in SKILLS if skill != "plan")


@configuration
class PlayConfig:
    """How data is made on the tabletop. `mix` weighs skills by name; noise is a fraction of the action limits."""

    num_steps: Annotated[int, Field(ge=1, le=100_000), Unit("control steps")] = 130
    mix: Mapping[str, Share] = field(
        default_factory=lambda: {"reach": 0.2, "push": 0.2, "drag": 0.1, "lift": 0.2, "wander": 0.1, "arrange": 0.25}
    )
    clumsy_fraction: Fraction = 0.25  # of skills aim with an error
    clumsy_std: Annotated[float, Field(ge=0, le=1), Unit("m")] = 0.02
    interrupted: Mapping[str, Fraction] = field(default_factory=dict)  # by skill, the fraction of times that it ends early
    noisy_fraction: Fraction = 0.5  # of episodes carry action noise
    max_noise: Fraction = 0.3
    start: StartRanges = field(default_factory=StartRanges)
    look: VisualRandomization = field(default_factory=VisualRandomization)

    def __post_init__(self) -> None:
        if set(self.mix) - set(SCRIPTED) or sum(self.mix.values()) <= 0:
            raise ConfigError(f"mix is {dict(self.mix)}; give non-negative weights, not all 0, to some of {', '.join(SCRIPTED)}")
        if idle := sorted(skill for skill in self.interrupted if self.mix.get(skill, 0.0) <= 0):
            raise ConfigError(f"PlayConfig.interrupted names {idle}, which mix never plays; mix is {dict(self.mix)}")

    @property
    def picture_every(self) -> int:
        return 1

    def skills(self, environment: Environment) -> tuple[str, ...]:
        return SKILLS

    def require(self, environment: Environment) -> None:
        if not isinstance(environment, World):
            raise ConfigError("`play` is of the tabletop; other worlds follow scripts of their own: see `script`")
        if self.look != VisualRandomization() and environment.scene.config.randomization is not None:
            raise ConfigError(
                "both play.look and world.randomization vary the look; set play.look to zeros, or world.randomization to null"
            )

    def begin(self, environment: Environment, rng: np.random.Generator) -> Playing:
        self.require(environment)
        assert isinstance(environment, World)
        info: dict[str, Any] = {}
        if self.look != VisualRandomization():
            VisualRandomizer(environment, self.look).draw(rng)
        draw_start(environment, rng, self.start)
        if environment.variation is not None:
            info["variation"] = environment.variation.to_json()
            info["intrinsics"] = {name: asdict(environment.intrinsics(name)) for name in environment.camera_names}
        if self.look != VisualRandomization() or environment.variation is not None:  # cameras stand a little differently in each episode
            info["world_from_camera"] = {name: environment.world_from_camera(name).tolist() for name in environment.camera_names}
        noise_std = rng.uniform(0, self.max_noise) if rng.random() < self.noisy_fraction else 0.0
        return Playing(_shaken(environment, rng, self, noise_std), "play with the box", "play", info)


def calm_play(world: World, rng: np.random.Generator, mix: Mapping[str, float]) -> Actions:
    """Skills done well, without noise, from a random start: for held-out pairs."""
    draw_start(world, rng)
    return (move for _, move in play_moves(world, rng, PlayConfig(mix=mix, clumsy_fraction=0.0)))


def play_moves_of(world: World, rng: np.random.Generator, skill: str) -> Actions:
    """One skill, done well, time after time."""
    return (move for _, move in play_moves(world, rng, PlayConfig(mix={skill: 1.0}, clumsy_fraction=0.0)))


def _shaken(world: World, rng: np.random.Generator, config: PlayConfig, noise_std: float) -> Iterator[tuple[int, np.ndarray]]:
    high, noise = world.moves.spec.high, np.zeros(world.moves.spec.size)
    for label, move in play_moves(world, rng, config):
        noise = 0.7 * noise + 0.7 * rng.normal(0, noise_std, noise.shape)
        noise[4] = 0.0 if rng.random() < 0.95 else rng.normal(0, noise_std)  # a shaking hand drops everything
        yield label, np.clip(move + noise * high, -high, high).astype(np.float32)


def play_moves(world: World, rng: np.random.Generator, config: PlayConfig) -> Iterator[tuple[int, np.ndarray]]:
    """Skill after skill without end: label and tool move of each control step."""
    weights = np.array([config.mix.get(skill, 0.0) for skill in SKILLS])
    while True:
        label = int(rng.choice(len(SKILLS), p=weights / weights.sum()))
        miss = config.clumsy_std if rng.random() < config.clumsy_fraction else 0.0
        cut = config.interrupted.get(SKILLS[label], 0.0)
        is_cut = cut > 0 and rng.random() < cut
        for move in islice(_skill(label, world, rng, miss), int(rng.integers(*CUT_AFTER)) if is_cut else None):
            yield label, move
        if _out_of_reach(world):
            yield from ((label, move) for move in skills.squeeze(world, float(world.joint_target[-1]), config.num_steps))


def _skill(label: int, world: World, rng: np.random.Generator, miss: float) -> skills.Moves:
    match SKILLS[label]:
        case "reach":
            return skills.reach(world, rng)
        case "push":
            return skills.push(world, rng, miss)
        case "drag":
            return skills.drag(world, rng, miss)
        case "lift":
            return skills.lift(world, rng, miss)
        case "wander":
            return skills.wander(world, rng)
        case "arrange":
            return arrange(world, rng, miss)
        case "stray":
            return skills.stray(world, rng)
    raise AssertionError(f"no script for skill {SKILLS[label]!r}")


def _out_of_reach(world: World) -> bool:
    limits = world.scene.arm.limits
    pos = world.object_pose[:3]
    low = np.array(limits.workspace_low) - [0.02, 0.02, 0.1]
    high = np.array(limits.workspace_high) + [0.02, 0.02, 0.1]
    return bool((pos < low).any() or (pos > high).any())
