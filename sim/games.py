"""Episodes of games: played at random, looking at nothing, until the game is over or broken off."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from robo_dream.data.episode import Episode
from robo_dream.embodiment import ActionSpec
from sim.environment import Game

HELD = (3, 8, 24)  # control steps that a random choice is held at most, drawn for each game: held briefly, a player never sees the corners
_LONGER = 8  # control steps that a sweep may last beyond the least
Choices = Callable[[ActionSpec, np.random.Generator], Iterator[Float[np.ndarray, " action"]]]


def random_choices(spec: ActionSpec, rng: np.random.Generator, held: Sequence[int] = HELD) -> Iterator[Float[np.ndarray, " action"]]:
    """Without end: one of the choices, for 1 to at most as many control steps as one of `held` says for the whole game."""
    longest = int(rng.choice(held)) if len(held) > 1 else held[0]
    while True:
        action = spec.chosen(int(rng.integers(spec.size)))
        for _ in range(int(rng.integers(1, longest + 1))):
            yield action


def random_sweeps(spec: ActionSpec, rng: np.random.Generator, least: int) -> Iterator[Float[np.ndarray, " action"]]:
    """Without end: the first choice and the last in turn, as from wall to wall, each for `least` control steps or up to 8 more."""
    side = int(rng.integers(2))
    while True:
        for _ in range(int(rng.integers(least, least + _LONGER + 1))):
            yield spec.chosen(side * (spec.size - 1))
        side = 1 - side


def random_game(game: Game, seed: int, most_steps: int, choices: Choices = random_choices) -> Episode:
    """One game of at most `most_steps` control steps; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    game.reset(rng)
    return game_of_choices(game, seed, most_steps, choices(game.action_spec, rng), "random")


def game_of_choices(game: Game, seed: int, most_steps: int, choices: Iterator[Float[np.ndarray, " action"]], behavior: str) -> Episode:
    """What is seen from where `game` stands while `choices` are played, each asked for when it is needed."""
    images, times = {camera.name: [game.image(camera.name)] for camera in game.cameras}, [game.time]
    actions, rewards, terminated = [], [], False
    for action in choices:
        outcome = game.play(action)
        for name, seen in images.items():
            seen.append(game.image(name))
        times.append(game.time)
        actions.append(action)
        rewards.append(outcome.reward)
        terminated = outcome.terminated
        if terminated or len(actions) == most_steps:
            break
    frames = len(times)
    return Episode(
        images={name: np.stack(seen) for name, seen in images.items()},
        proprio=np.zeros((frames, 0), np.float32),
        actions=np.stack(actions).astype(np.float32),
        object_pose=np.full((frames, 7), np.nan, np.float32),
        sim_state=np.zeros((frames, 0)),
        times=np.array(times),
        skill=np.zeros(frames, np.int64),
        task=f"as many {game.counts} as can be had",
        seed=seed,
        behavior=behavior,
        rewards=np.array(rewards, np.float32),
        terminated=terminated,
    )
