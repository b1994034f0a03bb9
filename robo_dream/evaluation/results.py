"""Results as they come in: one JSON line a pair and row, appended durably, so that a stopped evaluation goes on where it was."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robo_dream.errors import DataError


@dataclass(frozen=True)
class Result:
    """One attempt at one pair. Distances in metres, times in seconds."""

    task: str
    row: str
    pair: int
    moderate: bool
    strict: bool
    steps: int
    distance: float  # left at the end
    decision_seconds: tuple[float, ...]
    end: str

    @property
    def key(self) -> tuple[str, str, int]:
        return self.task, self.row, self.pair


class ResultFile:
    """Appends results to a file that begins with a line saying what is measured."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Raises `DataError` when the file belongs to another evaluation."""
        self.path, self.results = path, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            header, results = read_results(path)
            different = sorted(key for key in about if header.get("identity", {}).get(key) != about[key])
            if different:
                raise DataError(f"{path} was measured with other {', '.join(different)}; choose another `out`, or remove the file")
            self.results = {result.key: result for result in results}
            _drop_torn_line(path)
        else:
            _append(path, {"identity": dict(about)})

    def add(self, result: Result) -> None:
        _append(self.path, asdict(result))
        self.results[result.key] = result


def read_results(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """The header and every complete result; a last line cut short by a crash is left out."""
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        rows = [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise DataError(f"{path} holds a damaged line: {error}; remove that line, its pair is then run again") from error
    if not rows:
        return {}, []
    return rows[0], [Result(**{**row, "decision_seconds": tuple(row["decision_seconds"])}) for row in rows[1:]]


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(row).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _drop_torn_line(path: Path) -> None:
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
