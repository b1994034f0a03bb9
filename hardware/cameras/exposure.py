"""What a camera hands over for one exposure, before anybody has judged it, and the protocol of what hands it over."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.embodiment import Intrinsics

Domain = Literal["monotonic", "epoch", "device", "arrival"]
"""Whose seconds a stamp counts: this computer's monotonic or wall clock, the camera's own clock, or none but the arrival here."""

Pictures = tuple[UInt8[np.ndarray, "height width 3"], Float[np.ndarray, "height width"] | None]


@dataclass(frozen=True)
class Exposure:
    """One exposure as it arrived. `pictures` makes the RGB image and depth (metres), copied, when somebody wants them."""

    number: int | None  # the camera's own count, None when it has none
    stamp: float  # s in `domain`; the middle of the exposure where the camera tells, else its end
    domain: Domain
    arrival: float  # s, monotonic
    pictures: Callable[[], Pictures]
    pair_gap: float | None = 0.0  # s between colour and depth; None when one of them is missing


@runtime_checkable
class ExposureSource(Protocol):
    """A camera, file or emulator that yields exposures; used by one thread at a time."""

    @property
    def label(self) -> str:
        """What it is, with its serial number or path, as errors name it."""
        ...

    @property
    def period(self) -> float:
        """Seconds from one exposure to the next."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether it can be opened again after a loss; a recording that ends cannot."""
        ...

    @property
    def may_loop(self) -> bool:
        """Whether it may begin again from its start, as a repeated recording does."""
        ...

    def open(self) -> None:
        """Raises `CameraError` naming it and what there is instead."""
        ...

    def grab(self, timeout: float) -> Exposure | None:
        """The next exposure, None when none came within `timeout` seconds; raises `CameraError` when it is lost or has ended."""
        ...

    def close(self) -> None:
        """Safe to call at any time and more than once."""
        ...

    @property
    def intrinsics(self) -> Intrinsics:
        """Of the pictures that it yields; NaN before the first exposure has come, where only that tells."""
        ...
