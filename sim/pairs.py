"""Held-out start-goal pairs in worlds that others wrote: scripted episodes of seeds that no dataset has, or goals that come with it."""

from collections.abc import Callable
from itertools import count

import numpy as np

from robo_dream.evaluation.manifest import Manifest, choose_pairs
from sim.environment import Environment, EnvironmentTask, ground_truth_at, task_named
from sim.scripts import RANDOM, moves
from sim.tabletop.tasks.pairs import FIRST_SEED

_EPISODE_STEPS = 150
_PAIRS_AN_EPISODE = 1  # so that every pair is of an episode of its own


def build_manifest(
    environment: Environment,
    name: str,
    num_pairs: int,
    progress: Callable[[int, int], None] | None = None,
    first_seed: int = FIRST_SEED,
) -> Manifest:
    """`num_pairs` pairs of the task `name`, none of them solved at its start; the same arguments give the same manifest."""
    task = task_named(environment, name)
    starts, goals, episodes = [], [], []
    for seed in count(first_seed):
        for start, goal in _drawn(environment, task, seed, first_seed) if task.draw else _cut(environment, task, seed):
            starts.append(start)
            goals.append(goal)
            episodes.append(seed)
        if progress is not None:
            progress(min(len(starts), num_pairs), num_pairs)
        if len(starts) >= num_pairs:
            break
    steps = np.full(num_pairs, 0 if task.draw else task.steps_apart, np.int64)
    seeds = np.asarray(episodes[:num_pairs], np.int64)
    return Manifest(name, np.stack(starts[:num_pairs]), np.stack(goals[:num_pairs]), steps, seeds, task.budget)


def _drawn(environment: Environment, task: EnvironmentTask, seed: int, first_seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    assert task.draw is not None
    start, goal = task.draw(seed - first_seed, np.random.default_rng(seed))
    here, there = ground_truth_at(environment, start), ground_truth_at(environment, goal)
    return [] if task.criterion.moderate(here, there) else [(start, goal)]


def _cut(environment: Environment, task: EnvironmentTask, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Start and goal from one episode of one of the world's scripts."""
    rng = np.random.default_rng(seed)
    environment.reset(rng)
    name = str(rng.choice(environment.scripts)) if environment.scripts else RANDOM
    states, truths = [environment.state], [environment.ground_truth()]
    for action in moves(environment, name, rng):
        environment.step(environment.action_spec.clip(np.asarray(action, np.float32)))
        states.append(environment.state)
        truths.append(environment.ground_truth())
        if len(states) > _EPISODE_STEPS:
            break
    apart, criterion = task.steps_apart, task.criterion
    ways = [(start, start + apart) for start in range(len(states) - apart)]
    candidates = [
        (start, goal)
        for start, goal in ways
        if not criterion.moderate(truths[start], truths[goal]) and criterion.moved(truths[start], truths[goal]) >= criterion.least_motion
    ]
    return [(states[start], states[goal]) for start, goal in choose_pairs(candidates, rng, _PAIRS_AN_EPISODE)]
