"""Whether each joint turns the way the model says, and how far its zero is off, from the pictures of a hand-eye calibration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from robo_dream.calibration.hand_eye import HandEye, Mount, View, solve
from robo_dream.calibration.poses import fit, inverse, moved, project
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import ContractError

_CLEARLY_BETTER = 0.5  # of the residual that is left when a joint's sign is flipped; a wrong sign leaves tens of pixels
_PRIOR = np.deg2rad(10)  # how far a zero may be off before it is not believed; keeps what cannot be seen at 0
_SEEN = np.deg2rad(0.5)  # a zero that the views pin down better than this
_OUTLIER = 2.0  # px


@dataclass(frozen=True)
class JointCheck:
    """For each joint: whether its sign is right, and by how much its reading is off (true angle minus reading, rad).

    A zero is `seen` when the views pin it down. Those of the first joint (with the camera on the world) and of the last one cannot be:
    turning camera or board instead looks the same.
    """

    flipped: tuple[int, ...]
    offset: Float[np.ndarray, " joint"]
    std: Float[np.ndarray, " joint"]
    seen: tuple[bool, ...]
    rms_px: float  # with signs and zeros corrected
    rms_px_before: float  # as read, by the closed form alone


def check_joints(
    joint_pos: Float[np.ndarray, "view joint"],
    views: Sequence[View],
    forward: Callable[[np.ndarray], np.ndarray],
    lens: Intrinsics,
    mount: Mount,
    distortion: tuple[float, ...] = (0.0,) * 5,
) -> JointCheck:
    """`forward` gives world_from_tool (4x4) of joint positions. Signs are compared with each other, the fewest flips explain the views.

    Raises `ContractError` when even the best signs and zeros do not fit.
    """
    before = best = _solved(joint_pos, views, forward, lens, mount, distortion)
    flipped: tuple[int, ...] = ()
    for _ in range(joint_pos.shape[1]):
        tried = {}
        for joint in set(range(joint_pos.shape[1])) - set(flipped):
            signs = np.ones(joint_pos.shape[1])
            signs[[*flipped, joint]] = -1
            tried[joint] = _solved(joint_pos * signs, views, forward, lens, mount, distortion)
        joint = min(tried, key=lambda name: _error(tried[name]), default=0)
        if not tried or _error(tried[joint]) > _CLEARLY_BETTER * _error(best):
            break
        flipped, best = (*flipped, joint), tried[joint]
    if best is None:
        raise ContractError("the views cannot be explained by any signs of the joints; is it the right arm model, and the right board?")
    signs = np.ones(joint_pos.shape[1])
    signs[list(flipped)] = -1
    offset, std, seen, rms = _offsets(joint_pos * signs, views, forward, lens, best, distortion)
    return JointCheck(tuple(sorted(flipped)), offset, std, tuple(seen.tolist()), rms, _error(before))


def _solved(
    joint_pos: np.ndarray, views: Sequence[View], forward: Callable[[np.ndarray], np.ndarray], lens: Intrinsics, mount: Mount,
    distortion: tuple[float, ...],
) -> HandEye | None:  # fmt: skip
    try:
        moved_views = [replace(view, world_from_tool=forward(pos)) for view, pos in zip(views, joint_pos, strict=True)]
        return solve(moved_views, lens, mount, distortion, refine=False)
    except (ContractError, np.linalg.LinAlgError):
        return None


def _error(found: HandEye | None) -> float:
    return float("inf") if found is None else found.rms_px


def _offsets(
    joint_pos: np.ndarray, views: Sequence[View], forward: Callable[[np.ndarray], np.ndarray], lens: Intrinsics, found: HandEye,
    distortion: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:  # fmt: skip
    """Camera, board and all zeros fitted together; the prior on the zeros weighs as one corner each. Then what the views tell of each."""

    def errors(change: np.ndarray) -> np.ndarray:
        from_world, on_tool = inverse(moved(found.camera, change[:6])), moved(found.board, change[6:12])
        parts = []
        for view, pos in zip(views, joint_pos, strict=True):
            hand = forward(pos + change[12:])
            camera_from_board = from_world @ (hand if found.mount == "world" else inverse(hand)) @ on_tool
            points = view.detection.points @ camera_from_board[:3, :3].T + camera_from_board[:3, 3]
            parts.append((project(lens, points, distortion) - view.detection.pixels).ravel())
        return np.concatenate(parts)

    def residuals(change: np.ndarray) -> np.ndarray:
        return np.concatenate([errors(change), change[12:] / _PRIOR])

    best = fit(residuals, np.zeros(12 + joint_pos.shape[1]), _OUTLIER)
    rms = float(np.sqrt(2 * np.mean(errors(best.parameters) ** 2)))
    std = best.std[12:]
    return best.parameters[12:], std, (std < _SEEN) & (std < _PRIOR * best.scale / 2), rms
