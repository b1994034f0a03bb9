"""Keys of a terminal that stop an arm."""

import os
import signal
import sys
import termios
import tty
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from robo_dream.errors import ConfigError

EMERGENCY = b" \x1be"  # space, escape, e


class Keys:
    """While entered, single keys of terminal `path` can be read as they are pressed; the terminal is put back afterwards. No path: none."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self.files: list[int] = []  # to wait for
        self._file = -1

    def __enter__(self) -> "Keys":
        if self._path is None:
            return self
        try:
            self.files = [os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)]
            self._before = termios.tcgetattr(self.files[0])
        except (OSError, termios.error) as error:
            raise ConfigError(f"{self._path} is no terminal ({error}); run from one, or without the emergency key") from error
        self._file = self.files[0]
        tty.setcbreak(self._file)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.files = []
        if self._file >= 0:
            with suppress(OSError, termios.error):  # a terminal that is gone needs nothing
                termios.tcsetattr(self._file, termios.TCSANOW, self._before)
            os.close(self._file)
            self._file = -1

    def read(self) -> str:
        """Why to stop, when a key for that was pressed; else nothing."""
        try:
            pressed = os.read(self.files[0], 64)
        except BlockingIOError:
            return ""
        except OSError:  # the terminal is gone, and with it whoever watched
            pressed = b""
        if not pressed:
            self.files = []
            return "the terminal of the emergency key is gone"
        keys = [key for key in pressed if key in EMERGENCY]
        return f"emergency key {bytes(keys[:1])!r}" if keys else ""


@dataclass(frozen=True)
class TerminalSettings:
    """How a terminal was before anybody read its keys."""

    path: Path
    attributes: list[Any]


def terminal_settings(path: Path | None) -> TerminalSettings | None:
    """None where there is no terminal."""
    if path is None:
        return None
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return TerminalSettings(path, termios.tcgetattr(file))
    except termios.error:
        return None
    finally:
        os.close(file)


def restore_terminal(settings: TerminalSettings | None) -> None:
    """Puts a terminal back, for a reader of its keys that was killed; nothing where it is gone."""
    if settings is None:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # a program in the background would be stopped for it
    try:
        with suppress(OSError, termios.error):
            file = os.open(settings.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                termios.tcsetattr(file, termios.TCSANOW, settings.attributes)
            finally:
                os.close(file)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def terminal() -> str | None:
    """The terminal this program was started from, if any."""
    return os.ttyname(sys.stdin.fileno()) if sys.stdin is not None and sys.stdin.isatty() else None
