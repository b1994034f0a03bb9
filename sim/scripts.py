"""Scripted episodes: a world is put at a start, played, and what was seen and done is kept. In every world, scripts and random moves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from robo_dream.data.episode import Episode
from robo_dream.embodiment import Observation
from robo_dream.errors import ConfigError
from robo_dream.schema import Fraction, Share, Unit, configuration
from sim.environment import Environment, observation_of

RANDOM = "random"  # what every world can be played by
STRAYS = 3, 25  # control steps that an interruption takes, drawn from this range
_KEPT = 0.7  # of a random move from one control step to the next


Steps = Annotated[int, Field(ge=1, le=100_000), Unit("control steps")]


@dataclass(frozen=True)
class Playing:
    """An episode that has begun: actions without end, each with the number of its skill, and what is kept of it in words."""

    actions: Iterator[tuple[int, np.ndarray]]
    task: str
    behavior: str
    info: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Play(Protocol):
    """How episodes are made: `ScriptConfig` in every world, `PlayConfig` on the tabletop."""

    @property
    def num_steps(self) -> int: ...

    @property
    def picture_every(self) -> int: ...

    def skills(self, environment: Environment) -> tuple[str, ...]:
        """What the episodes' labels mean."""
        ...

    def require(self, environment: Environment) -> None:
        """Raises `ConfigError` for what cannot be played there."""
        ...

    def begin(self, environment: Environment, rng: np.random.Generator) -> Playing:
        """Puts `environment` at a start; `rng` decides all."""
        ...


@configuration
class ScriptConfig:
    """How data is made. `mix` weighs scripts by name, and `random`, a whole episode each; noise is a fraction of the action limits.

    A script hardly fails, so its data show neither what a planner gets into when its imagination errs (an empty fist where the cube
    should be) nor the way out. An interruption strays for a moment, labelled `random`: still, in one direction, or at random; then
    the script begins anew from there.
    """

    num_steps: Annotated[int, Field(ge=2, le=100_000), Unit("control steps")] = 150
    mix: Mapping[str, Share] = field(default_factory=lambda: {RANDOM: 1.0})
    noisy_fraction: Fraction = 0.5  # of scripted episodes carry action noise
    max_noise: Fraction = 0.3
    interruptions: Annotated[float, Field(ge=0)] = 0.0  # of a scripted episode, how many on average
    picture_every: Steps = 1  # control steps between new pictures: drawing takes time, and training looks once a block

    def __post_init__(self) -> None:
        if self.interruptions > self.num_steps / STRAYS[1]:
            raise ConfigError(
                f"ScriptConfig.interruptions is {self.interruptions}; in {self.num_steps} steps there is room for 0 to "
                f"{self.num_steps / STRAYS[1]:g}"
            )
        if sum(self.mix.values()) <= 0:
            raise ConfigError(f"mix is {dict(self.mix)}; give non-negative weights, not all 0")

    def skills(self, environment: Environment) -> tuple[str, ...]:
        return behaviours(environment)

    def require(self, environment: Environment) -> None:
        if unknown := sorted(set(self.mix) - set(behaviours(environment))):
            raise ConfigError(f"script.mix names {unknown}; this world has {', '.join(behaviours(environment))}")

    def begin(self, environment: Environment, rng: np.random.Generator) -> Playing:
        self.require(environment)
        names = behaviours(environment)
        environment.reset(rng)
        weights = np.array([self.mix.get(name, 0.0) for name in names])
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        noise_std = rng.uniform(0, self.max_noise) if rng.random() < self.noisy_fraction else 0.0
        played = _played(environment, name, noise_std, self, rng)
        task = f"{name} script" if name != RANDOM else "random moves"
        return Playing(((names.index(label), action) for label, action in played), task, name)


def behaviours(environment: Environment) -> tuple[str, ...]:
    """By what the world can be played; the skills of its datasets."""
    return (*environment.scripts, RANDOM)


def scripted_episode(environment: Environment, seed: int, play: Play) -> Episode:
    """One episode; the same seed gives the same episode. Raises `ConfigError` for what the world cannot be played by."""
    playing = play.begin(environment, np.random.default_rng(seed))
    seen, actions, labels = [observation_of(environment)], [], []
    for label, action in playing.actions:
        environment.step(action)
        actions.append(action)
        labels.append(label)
        is_new = len(actions) % play.picture_every == 0
        seen.append(observation_of(environment, None if is_new else seen[-1].frames))
        if len(actions) == play.num_steps:
            break
    return _as_episode(environment, seen, actions, [*labels, labels[-1]], seed, playing)


def moves(environment: Environment, name: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Actions without end of a script, or at random: smooth, and now and then at the limits. Raises `ConfigError` for no such script."""
    if name not in behaviours(environment):
        raise ConfigError(f"no script {name!r} in this world; there are {', '.join(behaviours(environment))}")
    if name != RANDOM:
        yield from environment.script(name, rng)
    spec, unit = environment.action_spec, np.zeros(environment.action_spec.size)
    while True:
        unit = _KEPT * unit + _KEPT * rng.normal(0, 1, unit.shape)
        yield 0.5 * (spec.low + spec.high) + 0.5 * (spec.high - spec.low) * np.clip(unit, -1, 1)


def _played(
    environment: Environment, script: str, noise_std: float, config: ScriptConfig, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Actions without end, each with the name of what it belongs to."""
    spec = environment.action_spec

    def shaken(name: str, action: np.ndarray) -> tuple[str, np.ndarray]:
        noise = 0.0 if name == RANDOM else noise_std * rng.normal(0, 1, spec.size)
        return name, spec.clip((action + noise * 0.5 * (spec.high - spec.low)).astype(np.float32))

    chances = rng.spawn(1)[0]  # of its own, so that until it is first interrupted a script does what it would have done
    while script != RANDOM and config.interruptions > 0:
        until, strays = int(chances.geometric(config.interruptions / config.num_steps)), int(chances.integers(STRAYS[0], STRAYS[1] + 1))
        yield from (shaken(script, action) for action in islice(moves(environment, script, rng), until))
        yield from (shaken(RANDOM, action) for action in islice(_stray(environment, chances), strays))
    yield from (shaken(script, action) for action in moves(environment, script, rng))


def _stray(environment: Environment, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Still, in one direction, or at random: one is as likely as another."""
    spec = environment.action_spec
    match rng.integers(3):
        case 0:
            yield from repeat(np.zeros(spec.size))
        case 1:
            yield from repeat(rng.uniform(spec.low, spec.high))
        case _:
            yield from moves(environment, RANDOM, rng)


def _as_episode(
    world: Environment, seen: list[Observation], actions: list[np.ndarray], labels: list[int], seed: int, playing: Playing
) -> Episode:
    return Episode(
        images={camera.name: np.stack([o.frames[camera.name].image for o in seen]) for camera in world.cameras},
        proprio=np.stack([o.arm.proprio for o in seen]),
        actions=np.stack(actions).astype(np.float32),
        object_pose=np.stack([o.truth["object_pose"] for o in seen]).astype(np.float32),
        sim_state=np.stack([o.truth["sim_state"] for o in seen]).astype(np.float64),
        times=np.array([o.time for o in seen], np.float64),
        skill=np.array(labels, np.int64),
        task=playing.task,
        seed=seed,
        behavior=playing.behavior,
        info=playing.info,
    )
