"""Faults that an emulated camera can have."""

from dataclasses import dataclass
from typing import Literal

CameraFaultKind = Literal["stall", "repeat", "unpaired", "drop", "loop", "unplug"]


@dataclass(frozen=True)
class CameraFault:
    """What goes wrong with the next `count` exposures.

    `stall`: the camera delivers nothing. `repeat`: the last one is delivered again beside it. `unpaired`: depth is that of two exposures
    before. `drop`: the exposure is counted but never delivered. `loop`: count and clock begin again from where they were ten exposures
    ago (once, whatever `count`). `unplug`: the camera is gone, and cannot be opened, for as long as so many exposures take.
    """

    kind: CameraFaultKind
    count: int = 1
