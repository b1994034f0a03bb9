"""Success over time: first hit (moderate) and held (strict), counted after each control step."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robo_dream.errors import DataError
from robo_dream.renamed import OLD_VALUES


@dataclass(frozen=True)
class Progress:
    """How far an attempt has come after `step` control steps.

    `moderate_step` is the first step that met the moderate condition; `strict_step` the step at which the strict condition had been
    met for as many steps in a row as the task asks. None until then.
    """

    step: int = 0
    moderate_step: int | None = None
    strict_step: int | None = None
    held: int = 0  # steps in a row up to now that met the strict condition

    def after(self, moderate: bool, strict: bool, hold_steps: int) -> "Progress":
        """The progress one control step later, at which the two conditions were or were not met."""
        step, held = self.step + 1, self.held + 1 if strict else 0
        return Progress(
            step=step,
            moderate_step=step if self.moderate_step is None and moderate else self.moderate_step,
            strict_step=step if self.strict_step is None and held >= hold_steps else self.strict_step,
            held=held,
        )


@dataclass(frozen=True)
class Result:
    """One attempt at one pair. Distances in metres, times in seconds.

    `settings` is a hash of all that decides the outcome: what was measured with other settings never stands in the same method.
    """

    task: str
    method: str
    pair: int
    settings: str
    moderate: bool
    strict: bool
    steps: int
    distance: float  # left at the end
    decision_seconds: tuple[float, ...]
    end: str

    @property
    def key(self) -> tuple[str, str, int]:
        return self.task, self.method, self.pair


class ResultFile:
    """Appends results to a file. `results` holds those whose settings are as `settings` says, by (task, method), today."""

    def __init__(self, path: Path, settings: Mapping[tuple[str, str], str]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        known = read_results(path) if path.exists() else []
        self.results = {result.key: result for result in known if settings.get((result.task, result.method)) == result.settings}
        self.num_other = len(known) - len(self.results)
        _drop_torn_line(path)

    def add(self, result: Result) -> None:
        _append(self.path, asdict(result))
        self.results[result.key] = result


def read_results(path: Path) -> list[Result]:
    """Every complete result; a last line cut short by a crash is left out. Raises `DataError` for a damaged line."""
    results = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            said = json.loads(line)
            if "row" in said:  # of a release before 0.2
                old = said.pop("row")
                said["method"] = OLD_VALUES.get(old, old)
            results.append(Result(**{**said, "decision_seconds": tuple(said["decision_seconds"])}))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number} is no result ({error}); remove that line, its pair is then run again") from None
    return results


def _append(path: Path, result: Mapping[str, Any]) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(result).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _drop_torn_line(path: Path) -> None:
    data = path.read_bytes() if path.exists() else b""
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
