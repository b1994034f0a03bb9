"""Signals that end a program through everything that stops an arm."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from robo_dream.errors import RoboDreamError

ENDING = (signal.SIGTERM, signal.SIGHUP)  # told to end; the terminal, or the ssh that it came through, is gone


_WHY = {signal.SIGTERM: "told to end (SIGTERM)", signal.SIGHUP: "the terminal, or the ssh that it came through, is gone (SIGHUP)"}


def why(error: BaseException) -> str:
    """Why a program leaves an arm, in words: a signal, Ctrl-C, or what went wrong."""
    if isinstance(error, KeyboardInterrupt):
        return "Ctrl-C (SIGINT)"
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code - 128 in ENDING:
        return _WHY[signal.Signals(error.code - 128)]
    return str(error) if isinstance(error, RoboDreamError) else f"{type(error).__name__}: {error}"


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP raise `SystemExit`, as Ctrl-C raises `KeyboardInterrupt`. The first one alone: the way out is long
    enough for a second to come, and must not be cut short. Of the main thread only."""

    def end(signum: int, frame: FrameType | None) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + signum)

    before = {number: signal.signal(number, end) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
