"""Rigid transforms as 4x4 matrices, their small changes, and pictures of points."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import Intrinsics


def inverse(pose: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    result = np.eye(4)
    result[:3, :3] = pose[:3, :3].T
    result[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return result


def rotation(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Turn about `vector` by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-8:
        return np.eye(3) + cross
    return np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross


def rotation_vector(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """The turn of a rotation matrix: axis times angle, radians up to pi."""
    angle = float(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1)))
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    if angle > np.pi - 1e-4:  # the axis is that of the symmetric part
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        found = vectors[:, int(np.argmax(values))]
        return angle * found * (1 if found @ axis >= 0 else -1)
    return axis / 2 * (angle / np.sin(angle) if angle > 1e-6 else 1.0)


def moved(pose: Float[np.ndarray, "4 4"], change: Float[np.ndarray, "6"]) -> Float[np.ndarray, "4 4"]:
    """`pose` after a small change in its own frame: metres, then a rotation vector in radians."""
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = rotation(change[3:]), change[:3]
    return pose @ step


def pose(rotated: Float[np.ndarray, "3 3"], position: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotated, position
    return result


def from_quat(quat: Float[np.ndarray, "4"], position: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    """The pose of a unit quaternion wxyz and a position."""
    w, x, y, z = quat
    rotated = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    return pose(rotated, position)


def distance(first: Float[np.ndarray, "4 4"], second: Float[np.ndarray, "4 4"]) -> tuple[float, float]:
    """How far two poses are apart: metres and degrees."""
    turn = rotation_vector(first[:3, :3].T @ second[:3, :3])
    return float(np.linalg.norm(first[:3, 3] - second[:3, 3])), float(np.rad2deg(np.linalg.norm(turn)))


def project(
    lens: Intrinsics, points: Float[np.ndarray, "point 3"], distortion: tuple[float, ...] = (0.0,) * 5
) -> Float[np.ndarray, "point 2"]:
    """Pixels (from the picture's top left edge) of points in the camera's frame; distortion k1 k2 p1 p2 k3 (Brown and Conrady)."""
    k1, k2, p1, p2, k3 = distortion
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    bent_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([lens.fx * bent_x + lens.cx, lens.fy * bent_y + lens.cy], axis=1)


@dataclass(frozen=True)
class Fit:
    """The best parameters, their standard deviations, and the residuals there, unweighted."""

    parameters: Float[np.ndarray, " parameter"]
    std: Float[np.ndarray, " parameter"]
    residuals: Float[np.ndarray, " residual"]
    scale: float  # standard deviation of the residuals, weighted


def fit(residuals: Callable[[np.ndarray], np.ndarray], start: Float[np.ndarray, " parameter"], outlier: float) -> Fit:
    """Parameters that make the `residuals` small; those beyond `outlier` count linearly, so that a few bad ones do not decide."""
    from scipy.optimize import least_squares  # half a second, and whoever only reads a calibration needs it not

    found = least_squares(residuals, start, "3-point", loss="huber", f_scale=outlier, x_scale="jac", ftol=1e-12, xtol=1e-12, gtol=1e-12)
    weight = np.minimum(1.0, outlier / np.maximum(np.abs(found.fun), 1e-12))
    scale = float(np.sqrt(np.sum(weight * found.fun**2) / max(len(found.fun) - len(found.x), 1)))
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * scale**2  # its Jacobian leaves outliers out
    return Fit(found.x, np.sqrt(np.maximum(np.diag(covariance), 0)), found.fun, scale)
