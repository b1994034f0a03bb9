"""Trainings and plans that are killed: nothing that was finished is lost, and what comes of it is what would have come."""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import run_kill
import train_kill


def test_a_training_that_is_killed_gives_the_same_checkpoint_to_the_bit_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    found = train_kill.killed(tmp_path, kills=1, stages=("representation", "dream", "release"), steps=6)
    assert found == {"kills/representation": 1, "kills/dream": 1, "kills/release": 1, "same_to_the_bit": 1, "left_over_files": 0}


def test_a_plan_that_is_killed_keeps_every_decision_that_it_had_written(tmp_path: Path) -> None:
    kill = run_kill.killed("plan", tmp_path, 0, random.Random(0))
    assert kill.came_in_time and kill.finished and not kill.lost and not kill.damaged
