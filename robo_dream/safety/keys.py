"""Keys of a terminal that stop an arm."""

import os
import sys
import termios
import tty
from types import TracebackType

from robo_dream.errors import ConfigError

EMERGENCY = b" \x1be"  # space, escape, e


class Keys:
    """While entered, single keys of terminal `path` can be read as they are pressed; the terminal is put back afterwards. No path: none."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self.files: list[int] = []  # to wait for

    def __enter__(self) -> "Keys":
        if self._path is None:
            return self
        try:
            self.files = [os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)]
            self._before = termios.tcgetattr(self.files[0])
        except (OSError, termios.error) as error:
            raise ConfigError(f"{self._path} is no terminal ({error}); run from one, or without the emergency key") from error
        tty.setcbreak(self.files[0])
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for file in self.files:
            termios.tcsetattr(file, termios.TCSANOW, self._before)
            os.close(file)
        self.files = []

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


def terminal() -> str | None:
    """The terminal this program was started from, if any."""
    return os.ttyname(sys.stdin.fileno()) if sys.stdin is not None and sys.stdin.isatty() else None
