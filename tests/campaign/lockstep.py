"""Time that passes only when somebody waits, and moves physics and wires along: a busy computer changes nothing."""

from collections.abc import Callable
from types import TracebackType

from robo_dream.safety.guard import Ruling
from robo_dream.safety.guard_thread import GuardThread
from sim.emulators.plant import Plant

_REST = 1.0  # s that a stop may take beyond braking until commands are at rest


class Lockstep:
    """A clock. Who waits by it moves `plant`, and calls each of `lives` after every step of physics."""

    def __init__(self) -> None:
        self.time = 100.0  # s
        self.lives: list[Callable[[], None]] = []
        self._plant: Plant | None = None
        self._step, self._next_step = 0.004, self.time

    def now(self) -> float:
        return self.time

    def attach(self, plant: Plant) -> None:
        self._plant = plant
        self._step = float(plant.world.model.opt.timestep)
        self._next_step = self.time + self._step

    def wait(self, seconds: float) -> None:
        self.sleep_until(self.time + seconds)

    def sleep_until(self, time: float) -> None:
        while self._next_step <= time:
            self.time = max(self.time, self._next_step)
            self._next_step += self._step
            if self._plant is not None:
                self._plant.advance(self._step)
            for live in self.lives:
                live()
        self.time = max(self.time, time)


class SteppedGuard(GuardThread):
    """The guard of the product without its thread: a `Beat` ticks it."""

    def __enter__(self) -> "SteppedGuard":
        self._driver.__enter__()
        self._made = self._given if not callable(self._given) else self._given(self._driver.action_spec)
        self._thread = _Here()
        self.tick()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stop("leaving" if value is None else f"{type(value).__name__}: {value}")
        finally:
            self._driver.__exit__(kind, value, trace)

    def stop(self, reason: str = "told to stop") -> None:
        self.guard.stop(reason)
        end = self._clock.now() + self.braking_seconds + _REST
        while not self.guard.is_still:
            if self._clock.now() > end:
                return self._driver.stop()
            began = self._clock.now()
            self.tick()
            self._clock.sleep_until(began + self._driver.action_spec.control_dt)


class _Here:
    """What stands for the guard's thread: the one that ticks."""

    @staticmethod
    def is_alive() -> bool:
        return True


class Beat:
    """A clock whose sleeping ticks `arm` at the rate of its driver, and does what was planned for a moment when that has come."""

    def __init__(self, lockstep: Lockstep, arm: SteppedGuard, period: float) -> None:
        self._lockstep, self._arm, self._period = lockstep, arm, period
        self._next = lockstep.time + period
        self._planned: list[tuple[float, Callable[[], None]]] = []
        self.ruling: Ruling | None = None

    def now(self) -> float:
        return self._lockstep.time

    def plan(self, time: float, do: Callable[[], None]) -> None:
        self._planned = sorted([*self._planned, (time, do)], key=lambda one: one[0])

    def sleep_until(self, time: float) -> None:
        while True:
            planned = self._planned[0][0] if self._planned else float("inf")
            due = min(time, self._next, planned)
            self._lockstep.sleep_until(due)
            if planned <= due:
                self._planned.pop(0)[1]()
            elif self._next <= due:
                self.ruling = self._arm.tick()
                self._next = max(self._next + self._period, self._lockstep.time)  # commands that were missed are not sent in a burst
            else:
                return
