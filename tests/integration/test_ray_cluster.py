"""Work on a Ray cluster of this machine: every piece once, whoever is killed, with the results of one process."""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_dream.config import load
from robo_dream.data.cache import open_dataset
from robo_dream.data.episode import Episode
from robo_dream.errors import ConfigError, MissingExtraError, RoboDreamError
from robo_dream.evaluation.results import Result
from robo_dream.runtime.collect import CollectConfig, collect, committed_seeds, dataset_spec, seeds_of
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts
from robo_dream.runtime.ray_cluster import RayRunner, spread

HERE = RayRunner(address="local")


def squaring(killed: Path | None) -> Callable[[int], int]:
    """Squares; the first who is to square 3 is killed meanwhile, and -1 is not squared."""

    def square(number: int) -> int:
        if number == 3 and killed is not None and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number < 0:
            raise RoboDreamError(f"{number} is negative")
        return number * number

    return square


@pytest.fixture(scope="module")
def ray() -> Any:
    """With this file's functions for the workers, who cannot import it."""
    found = pytest.importorskip("ray")
    found.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return found


def test_a_machine_without_ray_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"runner.kind is ray, and Ray is not installed .*'\.\[ray\]', or set runner.kind=local"):
        list(spread(HERE, partial(squaring, None), [1], workers=1))


def test_pieces_of_a_worker_that_is_killed_are_done_by_others_and_errors_come_back(tmp_path: Path, ray: Any) -> None:
    found = list(spread(HERE, partial(squaring, tmp_path / "killed"), range(12), workers=2))
    assert (tmp_path / "killed").exists() and sorted(found) == [number**2 for number in range(12)]
    with pytest.raises(RoboDreamError, match="-1 is negative"):
        list(spread(HERE, partial(squaring, None), [1, -1], workers=1))
    with pytest.raises(RoboDreamError, match=r"no Ray cluster to be reached at runner.address=auto .*start one"):
        list(spread(RayRunner(), partial(squaring, None), [1], workers=1))


def test_pairs_on_a_cluster_end_as_they_do_here(ray: Any) -> None:
    here = EvaluateConfig(tasks=("reach",), methods=("random",), num_pairs=3, workers=1)
    jobs = list(Evaluation.of(here).jobs())

    def ends(config: EvaluateConfig) -> list[Result]:
        return sorted((replace(result, decision_seconds=()) for result in attempts(config, jobs)), key=lambda one: one.pair)

    assert ends(replace(here, workers=2, runner=HERE)) == ends(here) and len(jobs) == 3


def workers_of_mine() -> list[int]:
    """The actors of the cluster that this process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if not (folder / "cmdline").read_bytes().startswith(b"ray::_Actor"):
                continue
            above = pid = int(folder.name)
            while above not in (0, os.getpid()):
                above = int((Path("/proc") / str(above) / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if above:
            found.append(pid)
    return found


def by_seed(out: Path) -> dict[int, tuple[Episode, bool]]:
    data = open_dataset(out)
    assert len({episode.seed for episode in data}) == len(data)
    return {data.episode(i).seed: (data.episode(i), data.is_train(i)) for i in range(len(data))}


def test_episodes_of_a_cluster_are_those_of_one_process_though_a_worker_is_killed(tmp_path: Path, ray: Any) -> None:
    small = ["num_episodes=6", "play.num_steps=10", "test_fraction=0.5", "play.look.colour=0.1", f"out={tmp_path}/here", "workers=1"]
    here = load(CollectConfig, "configs/collect/jaco_tiny.yaml", small)
    there = replace(here, out=tmp_path / "there", workers=2, runner=HERE)
    spec = dataset_spec(here)
    assert sorted(collect(here, spec, seeds_of(here))) == list(range(6))
    arriving = collect(there, spec, seeds_of(there))
    first = next(arriving)
    assert committed_seeds(there.out, spec) == {first}  # kept before it is told of
    os.kill(workers_of_mine()[0], signal.SIGKILL)
    assert sorted([first, *arriving]) == list(range(6))
    alone, together = by_seed(here.out), by_seed(there.out)
    assert alone.keys() == together.keys()
    for seed, (episode, is_train) in alone.items():
        other, also_train = together[seed]
        assert is_train == also_train and episode.info == other.info and episode.task == other.task
        for name in ("proprio", "actions", "object_pose", "sim_state", "times", "skill"):
            np.testing.assert_array_equal(getattr(episode, name), getattr(other, name))
        assert all(np.array_equal(pictures, other.images[name]) for name, pictures in episode.images.items())


def test_an_arm_is_not_played_on_a_cluster() -> None:
    with pytest.raises(ConfigError, match=r"runner.kind is ray, and an arm is played by its own machine; .*set runner.kind=local"):
        load(CollectConfig, "configs/collect/so101_arm.yaml", ["runner.kind=ray"])
