"""What an emulated arm was told, and when: what tests look at afterwards."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Command:
    """One command that came over the wire: its name in the arm's protocol and its decoded arguments."""

    time: float  # monotonic seconds at which it had been read
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


class CommandLog:
    """Grows by one for each command; any thread may read it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._commands: list[Command] = []

    def add(self, name: str, **arguments: Any) -> None:
        with self._lock:
            self._commands.append(Command(self._clock(), name, arguments))

    def all(self, name: str | None = None) -> list[Command]:
        """Every command so far, or those of one name."""
        with self._lock:
            return [command for command in self._commands if name in (None, command.name)]

    def clear(self) -> None:
        with self._lock:
            self._commands.clear()
