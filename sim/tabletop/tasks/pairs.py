"""Held-out start-goal pairs: scripted episodes of seeds that no dataset has, cut where a task's goal was reached and lay still."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from jaxtyping import Float

from robo_dream.evaluation.manifest import Manifest, choose_pairs
from sim.ground_truth import GroundTruth, ground_truth_of
from sim.tabletop.behaviours.play import PlayConfig, play_moves
from sim.tabletop.start import draw_start
from sim.tabletop.tasks.task import Task
from sim.tabletop.world import World

FIRST_SEED = 1_000_000  # datasets count their seeds from 0
MIX = {"reach": {"reach": 1.0}, "push": {"push": 0.7, "drag": 0.3}, "lift": {"lift": 1.0}, "place": {"drag": 0.3, "lift": 0.7}}
_PAIRS_AN_EPISODE = 2
_STILL = 0.002  # m that the object may have moved in the two steps before the goal


@dataclass(frozen=True)
class PairRule:
    """How far apart starts and goals are, in control steps."""

    nearest: int = 15
    farthest: int = 40
    num_steps: int = 100  # of an episode


def build_manifest(
    world: World,
    task: Task,
    num_pairs: int,
    rule: PairRule,
    progress: Callable[[int, int], None] | None = None,
    first_seed: int = FIRST_SEED,
) -> Manifest:
    """`num_pairs` pairs, none of them solved at its start; the same arguments give the same manifest."""
    starts, goals, steps, episodes = [], [], [], []
    for seed in count(first_seed):
        truths, states = _episode(world, task, seed, rule)
        rng = np.random.default_rng((seed, 1))
        for start, goal in choose_pairs(list(_candidates(task, truths, rule)), rng, _PAIRS_AN_EPISODE):
            starts.append(states[start])
            goals.append(states[goal])
            steps.append(goal - start)
            episodes.append(seed)
        if progress is not None:
            progress(min(len(starts), num_pairs), num_pairs)
        if len(starts) >= num_pairs:
            break
    ways, seeds = np.asarray(steps[:num_pairs], np.int64), np.asarray(episodes[:num_pairs], np.int64)
    return Manifest(task.name, np.stack(starts[:num_pairs]), np.stack(goals[:num_pairs]), ways, seeds)


def _episode(world: World, task: Task, seed: int, rule: PairRule) -> tuple[list[GroundTruth], list[Float[np.ndarray, " state"]]]:
    rng = np.random.default_rng(seed)
    draw_start(world, rng)
    truths, states = [ground_truth_of(world)], [world.state]
    for _, move in play_moves(world, rng, replace(PlayConfig(), mix=MIX[task.name], clumsy_fraction=0.0)):
        world.step_move(move)
        truths.append(ground_truth_of(world))
        states.append(world.state)
        if len(truths) > rule.num_steps:
            break
    return truths, states


def _candidates(task: Task, truths: list[GroundTruth], rule: PairRule) -> Iterator[tuple[int, int]]:
    for goal in range(rule.nearest, len(truths)):
        there = truths[goal]
        shift = np.linalg.norm(there.object_pose[:3] - truths[goal - 2].object_pose[:3])
        lies = there.lies_flat or task.name == "lift"
        if shift > _STILL or not lies or not task.moderate(there, there):
            continue
        for start in range(max(0, goal - rule.farthest), goal - rule.nearest + 1):
            here = truths[start]
            free = here.lies_flat and not here.in_hand
            if free and task.moved(here, there) >= task.least_motion and not task.moderate(here, there):
                yield start, goal
