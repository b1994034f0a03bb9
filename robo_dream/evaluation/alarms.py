"""How well a number raises an alarm: higher where something is wrong than where all is well."""

import numpy as np
from jaxtyping import Float


def auroc(wrong: Float[np.ndarray, " case"], well: Float[np.ndarray, " other_case"]) -> float:
    """The chance that a case that is wrong has the higher number, ties counting half (Mann and Whitney 1947); NaN without cases."""
    if not len(wrong) or not len(well):
        return float("nan")
    ordered = np.sort(well)
    below, up_to = (np.searchsorted(ordered, wrong, side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(ordered)))


def threshold_at(well: Float[np.ndarray, " case"], false_alarms: float) -> float:
    """The number above which at most the share `false_alarms` of what is well lies."""
    ordered = np.sort(well)
    return float(ordered[len(ordered) - 1 - int(false_alarms * len(ordered))])


def caught_at(wrong: Float[np.ndarray, " case"], well: Float[np.ndarray, " other_case"], false_alarms: float) -> float:
    """The share of what is wrong that lies above that threshold; NaN without cases."""
    if not len(wrong) or not len(well):
        return float("nan")
    return float((wrong > threshold_at(well, false_alarms)).mean())
