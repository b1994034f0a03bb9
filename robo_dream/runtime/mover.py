"""Who chooses the moves of a run: a model on this computer, one on another, or a script. Needs no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from robo_dream.control.choosing import Policy
from robo_dream.recording.record import GoalRecord
from robo_dream.runtime.connect import CameraSetup, Connected
from robo_dream.viewer.pictures import Draw


@dataclass(frozen=True)
class Aimed:
    """A policy towards a goal, what is kept of that, and what `made_by` says in run.json of who decides."""

    policy: Policy
    goal: GoalRecord
    made_by: Mapping[str, Any]
    model_config: Mapping[str, Any] = field(default_factory=dict)  # device, compiled and precision, where `RunConfig` does not say it


@dataclass(frozen=True)
class Mover:
    """`setup` is what it looks through. `require` raises where arm and world are not its own; `aimed` is asked when all is connected."""

    setup: CameraSetup
    require: Callable[[Connected], None]
    aimed: Callable[[Connected], Aimed]
    draw: Draw | None = None  # of what is imagined; None: nobody here can
    said: str = ""
