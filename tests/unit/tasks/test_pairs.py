"""Held-out pairs: made the same way twice on one machine, and valid where they are frozen.

Frozen pairs are read, never made again: another kind of processor rounds another way, and a scripted episode takes another course.
"""

from pathlib import Path

import numpy as np
import pytest

from robo_dream.evaluation.manifest import read_manifest
from sim.environment import ground_truth_at
from sim.pairs import build_manifest
from sim.tabletop.environment import Tabletop
from sim.tabletop.tasks.catalogue import TASKS

MANIFESTS = Path("configs/manifests")


def test_a_manifest_made_twice_on_one_machine_is_the_same() -> None:
    made = []
    for _ in range(2):
        with Tabletop() as world:
            made.append(build_manifest(world, "push", 2))
    assert made[0].sha256 == made[1].sha256


@pytest.mark.parametrize("name", sorted(TASKS))
def test_frozen_pairs_are_unsolved_far_enough_apart_and_reachable(name: str) -> None:
    with Tabletop() as world:
        task, manifest = TASKS[name], read_manifest(MANIFESTS / f"{name}.safetensors", len(world.state))
        limits = world.scene.arm.limits
        for pair in range(0, len(manifest), 5):
            here, there = ground_truth_at(world, manifest.starts[pair]), ground_truth_at(world, manifest.goals[pair])
            assert not task.moderate(here, there), f"pair {pair} is solved at its start"
            assert task.moderate(there, there), f"pair {pair} is not solved at its own goal"
            assert task.moved(here, there) >= task.least_motion, f"the goal of pair {pair} is where its start is"
            assert 0 < manifest.steps[pair] <= manifest.budget(pair)
            low, high = np.array(limits.workspace_low) - 0.02, np.array(limits.workspace_high) + 0.02
            assert (low <= there.tool_pos).all() and (there.tool_pos <= high).all(), f"the tool of goal {pair} is out of reach"
