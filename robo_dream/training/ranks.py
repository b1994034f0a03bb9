"""Spearman's rank correlation."""

import numpy as np
from jaxtyping import Float


def spearman(a: Float[np.ndarray, " number"], b: Float[np.ndarray, " number"]) -> float:
    """Correlation of ranks (ties share their mean rank); NaN when one of the two is constant."""
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (a, b)]
    if min(np.ptp(rank) for rank in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse]
