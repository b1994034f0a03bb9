"""What an episode of the loop leaves behind."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import Observation
from robo_dream.imagination import ImaginationRecord


class EpisodeEnd(StrEnum):
    """Why an episode ended."""

    DONE = "DONE"  # the caller's `is_done` said so
    BUDGET = "BUDGET"  # all control steps were used
    SAFETY = "SAFETY"  # a safety check refused to go on; see `Episode.reasons`


@dataclass(frozen=True)
class Episode:
    """Observations (one more than actions), the actions as chosen and as applied, and every decision.

    `holds` tells for each control step whether the arm was told to hold still for want of a plan. `decision_seconds` runs
    from having the observation to having the plan, encoding included, by the planner's clock.
    """

    observations: tuple[Observation, ...]
    sent: Float[np.ndarray, "time action"]
    applied: Float[np.ndarray, "time action"]
    holds: tuple[bool, ...]
    records: tuple[ImaginationRecord, ...]
    decision_seconds: tuple[float, ...]
    end: EpisodeEnd
    reasons: tuple[str, ...]
