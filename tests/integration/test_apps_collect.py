"""The real `robo-dream collect`: killed, resumed, and the same whatever the number of workers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robo_dream.data.cache import open_dataset
from robo_dream.data.episode import Episode

ROOT = Path(__file__).parents[2]


def collect(out: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "robo_dream.cli.main", "collect", f"out={out}", "play.num_steps=12", *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def by_seed(out: Path) -> dict[int, tuple[Episode, bool]]:
    data = open_dataset(out)
    return {data.episode(i).seed: (data.episode(i), data.is_train(i)) for i in range(len(data))}


def kills(number: int) -> dict[str, object]:
    command = [sys.executable, str(ROOT / "benchmarks/collect_kill.py"), f"--kills={number}", "--seconds=2", "--steps=10"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_number_of_workers_changes_no_episode_and_no_split(tmp_path: Path) -> None:
    for workers in (1, 2):
        done = collect(tmp_path / str(workers), "num_episodes=5", "test_fraction=0.5", f"workers={workers}", "play.look.colour=0.1")
        assert done.returncode == 0, done.stderr
    alone, together = by_seed(tmp_path / "1"), by_seed(tmp_path / "2")
    assert sorted(alone) == sorted(together) == [0, 1, 2, 3, 4]
    for seed, (first, is_train) in alone.items():
        second, also_train = together[seed]
        assert is_train == also_train
        assert np.array_equal(first.sim_state, second.sim_state) and np.array_equal(first.actions, second.actions)
        assert all(np.array_equal(first.images[name], second.images[name]) for name in first.images)
        assert first.info == second.info and "world_from_camera" in first.info
    assert {is_train for _, is_train in alone.values()} == {True, False}


def test_the_same_command_goes_on_and_another_recipe_is_refused(tmp_path: Path) -> None:
    assert collect(tmp_path, "num_episodes=2", "workers=1").returncode == 0
    more = collect(tmp_path, "num_episodes=3", "workers=1")
    assert more.returncode == 0, f"{more.returncode}: {more.stdout}{more.stderr}"
    assert "1 to go" in more.stdout and sorted(by_seed(tmp_path)) == [0, 1, 2]
    other = collect(tmp_path, "num_episodes=4", "play.clumsy_fraction=0.5")
    assert other.returncode == 2 and "another play" in other.stderr and "out=" in other.stderr


def test_a_kill_loses_no_finished_episode() -> None:
    figures = kills(2)
    assert figures["lost"] == 0 and figures["missing_or_odd"] == [] and figures["equal_to_undisturbed"]


@pytest.mark.slow
def test_twenty_kills_lose_no_finished_episode() -> None:
    figures = kills(20)
    assert figures["lost"] == 0 and figures["missing_or_odd"] == [] and figures["equal_to_undisturbed"]
