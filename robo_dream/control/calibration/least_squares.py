"""Robust non-linear least squares over a few numbers: Levenberg-Marquardt with Huber's weights."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_STEP = 1e-6  # of the central differences; parameters are metres and radians
_ITERATIONS = 60


@dataclass(frozen=True)
class Fit:
    """The best parameters, their standard deviations, and the residuals there, unweighted."""

    parameters: Float[np.ndarray, " parameter"]
    std: Float[np.ndarray, " parameter"]
    residuals: Float[np.ndarray, " residual"]
    scale: float  # standard deviation of the residuals, weighted


def fit(residuals: Callable[[np.ndarray], np.ndarray], start: Float[np.ndarray, " parameter"], outlier: float) -> Fit:
    """Parameters that make the `residuals` small; those beyond `outlier` count linearly, so that a few bad ones do not decide."""
    at, damping = np.array(start, np.float64), 1e-3
    here = residuals(at)
    jacobian = _jacobian(residuals, at)
    for _ in range(_ITERATIONS):
        weight = _weights(here, outlier)
        normal, slope = jacobian.T @ (weight[:, None] * jacobian), jacobian.T @ (weight * here)
        step = -np.linalg.solve(normal + damping * (np.diag(np.diag(normal)) + 1e-12 * np.eye(len(at))), slope)
        there = residuals(at + step)
        if _cost(there, outlier) < _cost(here, outlier):
            at, here, damping = at + step, there, max(damping / 10, 1e-12)
            if np.abs(step).max() < 1e-10:
                break
            jacobian = _jacobian(residuals, at)
        elif damping > 1e8:
            break
        else:
            damping *= 10
    weight = _weights(here, outlier)
    freedom = max(len(here) - len(at), 1)
    scale = float(np.sqrt(np.sum(weight * here**2) / freedom))
    covariance = np.linalg.pinv(jacobian.T @ (weight[:, None] * jacobian)) * scale**2
    return Fit(at, np.sqrt(np.maximum(np.diag(covariance), 0)), here, scale)


def _weights(residuals: np.ndarray, outlier: float) -> np.ndarray:
    return np.minimum(1.0, outlier / np.maximum(np.abs(residuals), 1e-12))


def _cost(residuals: np.ndarray, outlier: float) -> float:
    size = np.abs(residuals)
    return float(np.sum(np.where(size < outlier, size**2 / 2, outlier * (size - outlier / 2))))


def _jacobian(residuals: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    columns = [(residuals(at + step) - residuals(at - step)) / (2 * _STEP) for step in _STEP * np.eye(len(at))]
    return np.stack(columns, axis=1)
