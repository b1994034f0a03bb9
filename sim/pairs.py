"""Pairs of start and goal: held-out ones for manifests, from episodes of seeds that no dataset has, and freely drawn ones."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import numpy as np

from robo_dream.errors import ConfigError
from robo_dream.evaluation.manifest import Manifest, Pair, choose_pairs
from sim.environment import Actions, Environment, EnvironmentTask, PairRule, ground_truth_at, task_named
from sim.ground_truth import GroundTruth
from sim.scripts import RANDOM, moves

FIRST_SEED = 1_000_000  # datasets count their seeds from 0
_MAX_DRAWS = 50


def build_manifest(
    environment: Environment,
    name: str,
    num_pairs: int,
    progress: Callable[[int, int], None] | None = None,
    first_seed: int = FIRST_SEED,
    rule: PairRule | None = None,
) -> Manifest:
    """`num_pairs` pairs of the task `name`, none of them solved at its start; the same arguments give the same manifest.

    With `rule` they are cut otherwise than the task says.
    """
    task = task_named(environment, name)
    task = task if rule is None else replace(task, pairs=rule)
    starts, goals, steps, episodes = [], [], [], []
    for seed in count(first_seed):
        for start, goal, apart in _pairs(environment, task, seed, seed - first_seed):
            starts.append(start)
            goals.append(goal)
            steps.append(apart)
            episodes.append(seed)
        if progress is not None:
            progress(min(len(starts), num_pairs), num_pairs)
        if len(starts) >= num_pairs:
            break
    ways, seeds = np.asarray(steps[:num_pairs], np.int64), np.asarray(episodes[:num_pairs], np.int64)
    return Manifest(name, np.stack(starts[:num_pairs]), np.stack(goals[:num_pairs]), ways, seeds, task.budget)


def drawn_pair(environment: Environment, name: str, rng: np.random.Generator, number: int = 0) -> Pair:
    """A start and a goal that is not met there: drawn freely, where the task can; else cut from a fresh scripted episode.

    `number` counts where goals are taken in turn. Raises `ConfigError` when none is found.
    """
    task = task_named(environment, name)
    for _ in range(_MAX_DRAWS):
        if task.draw is not None:
            start, goal = task.draw(number, rng)
            if not _is_solved(environment, task, start, goal):
                return Pair(name, start, goal, task.budget)
        else:
            for start, goal, _ in _pairs(environment, task, int(rng.integers(FIRST_SEED, 2**31)), number):
                return Pair(name, start, goal, task.budget)
    raise ConfigError(f"task {name!r} is solved at the start in {_MAX_DRAWS} draws; its goals are too easy for this world")


def _pairs(environment: Environment, task: EnvironmentTask, seed: int, number: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Start, goal and control steps between them (0 where nothing joins them) of one seed."""
    if task.pairs is not None:
        yield from _cut(environment, task, task.pairs, seed)
    elif task.draw is not None:
        start, goal = task.draw(number, np.random.default_rng(seed))
        if not _is_solved(environment, task, start, goal):
            yield start, goal, 0


def _is_solved(environment: Environment, task: EnvironmentTask, start: np.ndarray, goal: np.ndarray) -> bool:
    return task.criterion.moderate(ground_truth_at(environment, start), ground_truth_at(environment, goal))


def _cut(environment: Environment, task: EnvironmentTask, rule: PairRule, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    rng = np.random.default_rng(seed)
    actions = rule.play(rng) if rule.play is not None else _calm_script(environment, rng)
    states, truths, reached = [environment.state], [environment.ground_truth()], [False]
    for action in actions:
        environment.step(action)
        states.append(environment.state)
        truths.append(environment.ground_truth())
        reached.append(rule.reached is None or rule.reached())
        if len(states) > rule.num_steps:
            break
    candidates = [(start, goal) for start, goal in _candidates(task, rule, truths) if reached[goal]]
    chosen = choose_pairs(candidates, np.random.default_rng((seed, 1)) if rule.chosen_apart else rng, rule.most)
    yield from ((states[start], states[goal], goal - start) for start, goal in chosen)


def _calm_script(environment: Environment, rng: np.random.Generator) -> Actions:
    """One of the world's scripts, or random moves where it has none, without noise."""
    environment.reset(rng)
    name = str(rng.choice(environment.scripts)) if environment.scripts else RANDOM
    return (environment.action_spec.clip(np.asarray(action, np.float32)) for action in moves(environment, name, rng))


def _candidates(task: EnvironmentTask, rule: PairRule, truths: list[GroundTruth]) -> Iterator[tuple[int, int]]:
    criterion = task.criterion
    for goal in range(rule.nearest, len(truths)):
        there = truths[goal]
        if rule.may_end is not None and not rule.may_end(truths, goal):
            continue
        for start in range(max(0, goal - rule.farthest), goal - rule.nearest + 1):
            here = truths[start]
            if rule.may_start is not None and not rule.may_start(here):
                continue
            if criterion.moved(here, there) >= criterion.least_motion and not criterion.moderate(here, there):
                yield start, goal
