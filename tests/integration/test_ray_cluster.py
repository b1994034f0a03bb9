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

import pytest

from robo_dream.errors import MissingExtraError, RoboDreamError
from robo_dream.evaluation.results import Result
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
