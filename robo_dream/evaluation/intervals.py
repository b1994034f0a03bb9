"""How sure a success rate, or anything else that was measured on some cases, is."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a rate (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    low, high = stats.binomtest(successes, trials).proportion_ci(0.95, "wilson")
    return float(low), float(high)


def paired_difference(
    first: Bool[np.ndarray, " pair"], second: Bool[np.ndarray, " pair"], seed: int = 0, num_draws: int = 10_000
) -> tuple[float, float, float]:
    """Difference of two rates on the same pairs, and its 95 % bootstrap interval over pairs (Efron 1979)."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    if len(difference) < 2:
        return float(difference.mean()), float(difference.mean()), float(difference.mean())
    draws = stats.bootstrap((difference,), np.mean, n_resamples=num_draws, method="percentile", rng=np.random.default_rng(seed))
    low, high = draws.confidence_interval
    return float(difference.mean()), float(low), float(high)


def bootstrap(
    statistic: Callable[[Int[np.ndarray, " case"]], float], num_cases: int, seed: int = 0, num_draws: int = 2000
) -> tuple[float, float]:
    """The 95 % bootstrap interval (Efron 1979) of `statistic`, a function of which cases are looked at; draws without a value are left out.

    Cases must be what is independent, such as episodes rather than their frames.
    """
    rng = np.random.default_rng(seed)
    draws = [statistic(rng.integers(0, num_cases, num_cases)) for _ in range(num_draws)]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


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
