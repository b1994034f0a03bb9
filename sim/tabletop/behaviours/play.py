"""Episodes of play: skills one after another, some clumsy, all shaken by noise, recorded as they happened."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from itertools import islice
from typing import Annotated

import numpy as np
from pydantic import Field

from robo_dream.data.episode import Episode
from robo_dream.embodiment import Observation
from robo_dream.errors import ConfigError
from robo_dream.schema import Fraction, Share, Unit, configuration
from sim.tabletop.behaviours import skills
from sim.tabletop.behaviours.arrange import arrange
from sim.tabletop.start import StartRanges, VisualRandomization, VisualRandomizer, draw_start
from sim.tabletop.world import World

SKILLS = ("reach", "push", "drag", "lift", "wander", "plan", "arrange", "stray")  # "plan" labels what a planner did
CUT_AFTER = 3, 36  # control steps after which an interrupted skill ends, drawn from this range
_SCRIPTED = tuple(skill for skill in SKILLS if skill != "plan")


@configuration
class PlayConfig:
    """How data is made. `mix` weighs skills by name; noise is a fraction of the action limits."""

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
        if set(self.mix) - set(_SCRIPTED) or sum(self.mix.values()) <= 0:
            raise ConfigError(f"mix is {dict(self.mix)}; give non-negative weights, not all 0, to some of {', '.join(_SCRIPTED)}")
        if idle := sorted(skill for skill in self.interrupted if self.mix.get(skill, 0.0) <= 0):
            raise ConfigError(f"PlayConfig.interrupted names {idle}, which mix never plays; mix is {dict(self.mix)}")


def play_episode(world: World, seed: int, config: PlayConfig, look: VisualRandomizer | None = None) -> Episode:
    """One episode; the same seed gives the same episode."""
    rng = np.random.default_rng(seed)
    if look is not None:
        look.draw(rng)
    draw_start(world, rng, config.start)
    noise_std = rng.uniform(0, config.max_noise) if rng.random() < config.noisy_fraction else 0.0
    noise = np.zeros(world.moves.spec.size)
    high = world.moves.spec.high
    observations, actions, labels = [world.observe()], [], []
    for label, move in play_moves(world, rng, config):
        noise = 0.7 * noise + 0.7 * rng.normal(0, noise_std, noise.shape)
        noise[4] = 0.0 if rng.random() < 0.95 else rng.normal(0, noise_std)  # a shaking hand drops everything
        action = np.clip(move + noise * high, -high, high).astype(np.float32)
        world.step_move(action)
        actions.append(action)
        labels.append(label)
        observations.append(world.observe())
        if len(actions) == config.num_steps:
            break
    return as_episode(world, observations, actions, [*labels, labels[-1]], "play with the box", seed, "play")


def as_episode(
    world: World, observations: list[Observation], actions: list[np.ndarray], labels: list[int], task: str, seed: int, behaviour: str
) -> Episode:
    """What was recorded, in the form in which datasets keep it."""
    cameras = [camera.name for camera in world.scene.config.cameras]
    return Episode(
        images={name: np.stack([o.frames[name].image for o in observations]) for name in cameras},
        proprio=np.stack([o.arm.proprio for o in observations]),
        actions=np.stack(actions).astype(np.float32),
        object_pose=np.stack([o.truth["object_pose"] for o in observations]).astype(np.float32),
        sim_state=np.stack([o.truth["sim_state"] for o in observations]),
        times=np.array([o.time for o in observations]),
        skill=np.asarray(labels, np.int64),
        task=task,
        seed=seed,
        behavior=behaviour,
    )


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
    pos = world.object_poses[0, :3]
    low = np.array(limits.workspace_low) - [0.02, 0.02, 0.1]
    high = np.array(limits.workspace_high) + [0.02, 0.02, 0.1]
    return bool((pos < low).any() or (pos > high).any())
