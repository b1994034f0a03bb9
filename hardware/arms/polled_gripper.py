"""A gripper on a slow line of its own: asked and told in a thread, so that the arm's commands never wait for it."""

import threading
import time
from collections.abc import Callable

from robo_dream.errors import ArmError

_STEP = 1 / 255  # closure; a smaller change is not worth a command


class PolledGripper:
    """`read` gives the closure (0 open, 1 closed), `write` sends the hand to one; both may raise `ArmError` or `OSError`.

    A closure that is older than `max_age` seconds, or an error of the thread, is raised by `closure`.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], float],
        write: Callable[[float], None],
        period: float,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._read, self._write = read, write
        self._period, self._max_age = period, max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: float | None = None
        self._told: float | None = None
        self._closure, self._time = 0.0, -max_age
        self._failure = ""
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._keep(self._read())
        self._thread.start()

    def close(self, timeout: float = 1.0) -> None:
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def move(self, closure: float) -> float:
        """Goes there as soon as the line is free; returns the closure within 0 to 1."""
        with self._lock:
            self._wanted = min(max(closure, 0.0), 1.0)
            return self._wanted

    def hold(self) -> None:
        """Stays where it is, if it was moving."""
        with self._lock:
            if self._wanted is not None:
                self._wanted = self._closure

    def closure(self) -> float:
        with self._lock:
            age = self._clock() - self._time
            failure = self._failure or (f"{self._name} has not answered for {age:.2f} s; check its cable" if age > self._max_age else "")
            if failure:
                raise ArmError(failure)
            return self._closure

    def _run(self) -> None:
        while not self._leave.wait(self._period):
            with self._lock:
                desired = self._wanted
            try:
                if desired is not None and (self._told is None or abs(desired - self._told) >= _STEP):
                    self._write(desired)
                    self._told = desired
                self._keep(self._read())
            except Exception as error:  # told to whoever asks next
                with self._lock:
                    self._failure = str(error) if isinstance(error, ArmError) else f"{self._name} does not answer any more: {error}"
                return

    def _keep(self, closure: float) -> None:
        with self._lock:
            self._closure, self._time = closure, self._clock()
