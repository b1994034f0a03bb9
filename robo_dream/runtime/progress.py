"""Progress bars for library functions that report `progress(done, total)`, one bar after another."""

from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm


class Bars:
    """A new bar whenever the total changes or the count starts over; `names` by total, `name` for all others.

    With a `delay` (seconds) what takes no longer shows none.
    """

    def __init__(self, names: Mapping[int, str], name: str, unit: str, delay: float = 0.0) -> None:
        self._names, self._name, self._unit, self._delay = dict(names), name, unit, delay
        self._bar: tqdm | None = None

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None or self._bar.total != total or done < self._bar.n:
            self._close()
            first = done - 1 if done > 1 else 0  # a resumed stage begins where it was, which must not count as speed
            name = self._names.get(total, self._name)
            self._bar = tqdm(total=total, initial=first, desc=name, unit=self._unit, delay=self._delay, leave=self._delay == 0)
        self._bar.update(done - self._bar.n)

    def note(self, text: str) -> None:
        """Says `text` behind the bar that is drawn now."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def say(self, text: str) -> None:
        """A line to stdout, above the bar."""
        tqdm.write(text)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
