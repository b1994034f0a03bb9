"""How much room an arm keeps from itself, the table and the walls of its box. Metres."""

from dataclasses import dataclass

import numpy as np

from robo_dream.errors import ConfigError

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Clearance:
    """How much room is kept. Metres, world frame."""

    links: float = 0.01  # between links of the arm, and between links and table
    hand: float = 0.0  # between hand and table: a hand that picks from the table must come close to it
    workspace: tuple[Corner, Corner] | None = None  # low and high corner of the box that every link and finger stays in; None: no box

    def __post_init__(self) -> None:
        for name in ("links", "hand"):
            if not -0.05 <= getattr(self, name) <= 0.2:
                raise ConfigError(f"clearance.{name} is {getattr(self, name)} m; allowed is -0.05 to 0.2")
        if self.workspace is not None and not np.less(*self.workspace).all():
            raise ConfigError(f"clearance.workspace is {self.workspace}; give the low corner and then the high one, in metres")
