"""Pairs are cut where the task says, and, where a script marks it, only where it has arrived."""

from dataclasses import replace

import numpy as np

from sim.adapters.dm_control import DmControlConfig, Reacher
from sim.environment import PairRule, ground_truth_at
from sim.pairs import build_manifest, drawn_pair


def test_goals_are_cut_only_where_the_script_says_that_it_has_arrived() -> None:
    with Reacher(DmControlConfig(picture=None)) as world:
        arrived: list[bool] = []

        def at_rest() -> bool:
            arrived.append(bool(np.abs(world.data.qvel).max() < 0.5))
            return arrived[-1]

        marked = build_manifest(world, "reach", 6, rule=PairRule(reached=at_rest))
        anywhere = build_manifest(world, "reach", 6)
        assert any(arrived) and not all(arrived)

        def speed(state: np.ndarray) -> float:
            world.set_state(state)
            return float(np.abs(world.data.qvel).max())

        assert max(map(speed, marked.goals)) < 0.5 < max(map(speed, anywhere.goals))
        assert set(marked.steps) == {25}


def test_a_drawn_pair_is_not_solved_and_is_cut_where_the_task_cannot_draw() -> None:
    with Reacher(DmControlConfig(picture=None)) as world:
        task = world.tasks["reach"]
        assert task.draw is None
        pairs = [drawn_pair(world, "reach", np.random.default_rng(seed)) for seed in (1, 1, 2)]
        assert np.array_equal(pairs[0].goal, pairs[1].goal) and not np.array_equal(pairs[0].goal, pairs[2].goal)
        for pair in pairs:
            assert not task.criterion.moderate(ground_truth_at(world, pair.start), ground_truth_at(world, pair.goal))
        world.tasks["drawn"] = replace(task, pairs=None, draw=lambda number, rng: (pairs[0].start, pairs[0].goal))
        assert np.array_equal(drawn_pair(world, "drawn", np.random.default_rng(0)).goal, pairs[0].goal)
