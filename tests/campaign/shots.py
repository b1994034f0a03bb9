"""Every fault of the campaign on every driver, as often as asked, and the table of what came of it."""

import contextlib
import io
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import numpy as np

from . import arm_faults, planner_faults
from .benches import KINDS
from .runs import Outcome, drawn_limits


@dataclass(frozen=True)
class Shot:
    """One fault on one driver, with a seed that decides all that is random in it; every other one under limits that it draws, too."""

    driver: str
    case: arm_faults.Case | planner_faults.Case
    seed: int

    def fire(self) -> Outcome:
        run = arm_faults.run_case if isinstance(self.case, arm_faults.Case) else planner_faults.run_case
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.redirect_stdout(io.StringIO()):  # SDKs print
            limits = drawn_limits(np.random.default_rng([self.seed, 1])) if self.seed % 2 else None
            return run(self.case, self.driver, self.seed, Path(folder) / "record", limits)


def arm_shots(driver: str, num: int, seed: int) -> Iterator[Shot]:
    """Each fault between commander and arm, `num` times."""
    return (Shot(driver, case, _seed(seed, driver, case.fault, i)) for case in arm_faults.cases(driver) for i in range(num))


def planner_shots(driver: str, num: int, seed: int) -> Iterator[Shot]:
    """Each fault of planner, cameras, operator and program, `num` times."""
    return (Shot(driver, case, _seed(seed, driver, case.fault, i)) for case in planner_faults.cases() for i in range(num))


def missing(driver: str) -> str:
    """The module that this driver needs and that is not installed, if any."""
    extra = KINDS[driver].extra
    return extra if extra and find_spec(extra) is None else ""


def table(outcomes: list[Outcome]) -> str:
    """A line for each promise, fault and driver: how many, how many unsafe, and the slowest stop against what was stated (s)."""
    lines = ["| promise | fault | driver | faults | unsafe | late | bad records | slowest stop | stated |", "|---" * 9 + "|"]

    def key(one: Outcome) -> tuple[str, str, str]:
        return one.promise, one.fault, one.driver

    for (promise, fault, driver), group in groupby(sorted(outcomes, key=key), key):
        found = list(group)
        stops = [(one.took, one.stated) for one in found if one.stated is not None and one.took is not None]
        slowest, stated = max(stops, key=lambda stop: stop[0] - stop[1]) if stops else (None, None)
        times = "| — | — |" if slowest is None else f"| {slowest:.3f} | {stated:.3f} |"
        counts = f"| {len(found)} | {sum(map(bool, (one.unsafe for one in found)))} | {sum(one.is_late for one in found)} "
        lines.append(f"| {promise} | {fault} | {driver} {counts}| {sum(bool(one.record) for one in found)} {times}")
    return "\n".join(lines)


def _seed(seed: int, driver: str, fault: str, number: int) -> int:
    return zlib.crc32(f"{seed} {driver} {fault} {number}".encode())
