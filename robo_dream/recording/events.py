"""What the guard clipped, held and stopped, and why: one line of JSON an event, beside a run's steps.

Lines are appended one by one and durable each, so a crash costs at most the line being written. Reading leaves out what is damaged.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from robo_dream.errors import DataError
from robo_dream.foreign import BUDGET, parse_json, read_bytes

EVENTS = "events.jsonl"


@dataclass(frozen=True)
class SafetyEvent:
    """One clip, hold or stop. `time` is in seconds of the arm's clock; `numbers` are what was measured and what was allowed."""

    time: float
    kind: str  # "refused", "clip", "blocked", "hold", "stop", "latched stop", "emergency stop", "reset"
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None  # control step, where it is known

    def to_line(self) -> bytes:
        data = {"time": self.time, "step": self.step, "kind": self.kind, "reason": self.reason, "numbers": dict(self.numbers)}
        return json.dumps(data).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "SafetyEvent":
        """Raises `ValueError` for a line that is no event."""
        try:
            data = parse_json(line, "the line")
            numbers = {str(name): float(value) for name, value in data["numbers"].items()}
            step = None if data["step"] is None else int(data["step"])
            return cls(float(data["time"]), str(data["kind"]), str(data["reason"]), numbers, step)
        except (KeyError, TypeError, AttributeError, OverflowError, DataError) as error:
            raise ValueError(f"not an event: {error!r}") from None


def append_line(path: Path, line: bytes) -> None:
    """Adds one line, durable on return; raises `OSError`. A line that an earlier crash cut short is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def events_at(root: Path, step: int) -> tuple[SafetyEvent, ...]:
    """The events of control step `step` of the run in `root`, as far as they are written."""
    path = root / EVENTS
    return tuple(event for event in _read_once(path, path.stat().st_size) if event.step == step) if path.is_file() else ()


@lru_cache(maxsize=4)
def _read_once(path: Path, size: int) -> tuple[SafetyEvent, ...]:
    """A time line asks for each step in turn; the file only grows, so its size tells whether it is the same."""
    return read_events(path)[0]


def read_events(path: Path) -> tuple[tuple[SafetyEvent, ...], int]:
    """The events in `path`, in the order in which they were written, and how many lines are damaged. None where there is no file."""
    events, num_damaged = [], 0
    for line in read_bytes(path, BUDGET.text).splitlines() if path.exists() else ():
        try:
            events.append(SafetyEvent.from_line(line))
        except ValueError:
            num_damaged += 1
    return tuple(events), num_damaged
