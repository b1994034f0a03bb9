"""Faults that an emulated arm can have: what goes wrong, when and for how long. They can be scheduled or injected at any time."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from robo_dream.errors import ConfigError

FaultKind = Literal["late", "lost", "corrupt", "truncated", "mute", "unplug", "error", "stop"]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    `late` replies come `delay` seconds late, `lost` ones never; `corrupt` ones have a wrong byte, `truncated` ones end early. A `mute`
    joint answers nothing. `unplug` takes the wire away. `error` makes the arm report `code` (an error of its own protocol: overload,
    limit, ...). `stop` is a controller that has stopped moving (protective stop, emergency stop, torque lost).

    It begins `start` seconds after it was injected (or after the emulator started) and lasts `duration` seconds, or strikes `count`
    replies after it has let `skip` pass, whichever ends first.
    """

    kind: FaultKind
    start: float = 0.0  # s
    duration: float = math.inf  # s
    skip: int = 0
    count: int | None = None
    delay: float = 0.05  # s
    joint: int | None = None  # counted from the base, the gripper last; None is every one
    code: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ConfigError(f"no fault of kind {self.kind!r}; there are {', '.join(get_args(FaultKind))}")
        if not (self.start >= 0 and self.duration > 0 and self.delay >= 0 and self.skip >= 0 and (self.count is None or self.count > 0)):
            raise ConfigError(f"{self} must have a positive duration and count and nothing negative")


@dataclass(frozen=True)
class Faults:
    """A schedule of faults, counted from the start of the emulator; empty is an arm that works."""

    schedule: tuple[Fault, ...] = ()


class FaultInjector:
    """Decides, reply by reply, what goes wrong. Any thread may inject while another asks."""

    def __init__(self, faults: Faults | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._faults: list[_Pending] = []
        for fault in (faults or Faults()).schedule:
            self.inject(fault)

    def inject(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(_Pending(fault, self._clock() + fault.start))

    def clear(self) -> None:
        """Everything works from now on."""
        with self._lock:
            self._faults.clear()

    def strike(self, kind: FaultKind, joint: int | None = None) -> Fault | None:
        """The fault of that kind which strikes this reply (of that joint), None when all is well. Asking counts as one reply."""
        with self._lock:
            for pending in self._faults:
                if pending.concerns(kind, joint, self._clock()):
                    pending.seen += 1
                    if pending.seen > pending.fault.skip:
                        return pending.fault
        return None

    def lasts(self, kind: FaultKind, joint: int | None = None) -> Fault | None:
        """The fault of that kind which is present now; asking counts nothing."""
        with self._lock:
            for pending in self._faults:
                if pending.concerns(kind, joint, self._clock()) and pending.seen >= pending.fault.skip:
                    return pending.fault
        return None


@dataclass
class _Pending:
    fault: Fault
    begins: float
    seen: int = 0  # replies since it began

    def concerns(self, kind: FaultKind, joint: int | None, now: float) -> bool:
        fault = self.fault
        spent = fault.count is not None and self.seen >= fault.skip + fault.count
        same_joint = fault.joint is None or joint is None or fault.joint == joint
        return fault.kind == kind and same_joint and not spent and self.begins <= now < self.begins + fault.duration
