"""Where a camera stands, from pictures of a board while the arm moves the board, or the camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from robo_dream.calibration.calibration_board import Detection
from robo_dream.calibration.poses import fit, inverse, moved, pose, project, rotation_vector
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import ContractError

Mount = Literal["world", "tool"]
"""What the camera is fixed to. On the world (eye to hand) the tool carries the board; on the tool (eye in hand) the world does."""

_MIN_VIEWS = 4
_MIN_PAIR_TURN = np.deg2rad(5)  # between two views that say something about rotation
_MIN_SPREAD = np.deg2rad(6)  # root mean square turn about the second axis; about one axis alone the pose is not determined
_OUTLIER = 2.0  # px
_WRONG_VIEW = 4.0  # times the median view's error, and at least a pixel: the arm was not where it said, or the board not found right


@dataclass(frozen=True)
class View:
    """One picture of the board: the tool by the arm's own word, and what the camera saw."""

    world_from_tool: Float[np.ndarray, "4 4"]
    detection: Detection
    camera_from_board: Float[np.ndarray, "4 4"]  # from this picture alone


@dataclass(frozen=True)
class HandEye:
    """Where camera and board are, and how well all views agree on it.

    For a camera on the world: `camera` is world_from_camera, `board` tool_from_board. On the tool: tool_from_camera, world_from_board.
    """

    mount: Mount
    camera: Float[np.ndarray, "4 4"]
    board: Float[np.ndarray, "4 4"]
    rms_px: float  # of the corners of all views
    worst_px: float  # root mean square of the worst view
    rms_mm: float  # between the board's middle by the arm and by the camera alone
    worst_mm: float
    std_mm: float  # of the camera's place, from the corners' scatter; systematic errors of the arm come on top
    std_deg: float
    num_views: int  # that were used
    num_dropped: int  # that contradicted all others
    spread_deg: float  # root mean square turn about the axis about which the views turn second most


def solve(
    views: Sequence[View], lens: Intrinsics, mount: Mount, distortion: tuple[float, ...] = (0.0,) * 5, refine: bool = True
) -> HandEye:
    """The camera's pose that explains every corner of every view best.

    Starts from the closed form of Park and Martin (1994) and then minimises the corners' distances in the pictures (Tabb and Ahmad
    Yousef 2017); without `refine` it stops at the closed form. Raises `ContractError` when the views are too few or turn about one axis
    only.
    """
    if len(views) < _MIN_VIEWS:
        raise ContractError(f"{len(views)} pictures show the board; at least {_MIN_VIEWS} are needed, 12 or more are good")
    hands = [view.world_from_tool if mount == "world" else inverse(view.world_from_tool) for view in views]
    camera, board, spread = _closed_form(hands, [view.camera_from_board for view in views])

    def residuals(change: np.ndarray) -> np.ndarray:
        before, after = inverse(moved(camera, change[:6])), moved(board, change[6:])
        return np.concatenate([_errors(view, before @ hand @ after, lens, distortion) for view, hand in zip(views, hands, strict=True)])

    std = np.full(12, np.nan)
    if refine:
        found = fit(residuals, np.zeros(12), _OUTLIER)
        camera, board, std = moved(camera, found.parameters[:6]), moved(board, found.parameters[6:]), found.std
    squares = [float(np.mean(np.sum(_errors(view, inverse(camera) @ hand @ board, lens, distortion).reshape(-1, 2) ** 2, axis=1)))
               for view, hand in zip(views, hands, strict=True)]  # fmt: skip
    limit = max(_WRONG_VIEW**2 * float(np.median(squares)), 1.0)
    kept = [view for view, square in zip(views, squares, strict=True) if square <= limit]
    if refine and _MIN_VIEWS <= len(kept) < len(views):
        found = solve(kept, lens, mount, distortion)
        return replace(found, num_dropped=found.num_dropped + len(views) - len(kept))
    apart = [_apart(view, inverse(camera) @ hand @ board) for view, hand in zip(views, hands, strict=True)]
    counts = [len(view.detection.ids) for view in views]
    return HandEye(
        mount=mount, camera=camera, board=board, rms_px=float(np.sqrt(np.average(squares, weights=counts))),
        worst_px=float(np.sqrt(max(squares))), rms_mm=1000 * float(np.sqrt(np.mean(np.square(apart)))), worst_mm=1000 * max(apart),
        std_mm=1000 * float(np.linalg.norm(std[:3])), std_deg=float(np.rad2deg(np.linalg.norm(std[3:6]))),
        num_views=len(views), num_dropped=0, spread_deg=float(np.rad2deg(spread)),
    )  # fmt: skip


def _closed_form(
    hands: Sequence[np.ndarray], boards: Sequence[np.ndarray]
) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "4 4"], float]:
    """Camera, board and the spread of turns from hand_i @ board = camera @ boards_i."""
    pairs = [(inverse(hands[j]) @ hands[i], inverse(boards[j]) @ boards[i]) for i in range(len(hands)) for j in range(i)]
    turns = [(rotation_vector(a[:3, :3]), rotation_vector(b[:3, :3])) for a, b in pairs]
    chosen = [k for k, (a, _) in enumerate(turns) if np.linalg.norm(a) > _MIN_PAIR_TURN and np.linalg.norm(a) < np.pi - 0.1]
    ours = np.array([turns[k][0] for k in chosen]).reshape(-1, 3)
    theirs = np.array([turns[k][1] for k in chosen]).reshape(-1, 3)
    strengths = np.linalg.svd(ours, compute_uv=False) / np.sqrt(max(len(ours), 1)) if len(ours) else np.zeros(3)
    if strengths[1] < _MIN_SPREAD:
        raise ContractError(
            f"the tool turned by {np.rad2deg(strengths[0]):.1f} and {np.rad2deg(strengths[1]):.1f} degrees about its two foremost axes; "
            f"at least {np.rad2deg(_MIN_SPREAD):.0f} about both are needed: tilt it to several sides as well as turning it"
        )
    u, _, vt = np.linalg.svd(ours.T @ theirs)  # Kabsch: the rotation that brings their axes onto ours
    turned = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    rows = np.concatenate([pairs[k][0][:3, :3] - np.eye(3) for k in chosen])
    right = np.concatenate([turned @ pairs[k][1][:3, 3] - pairs[k][0][:3, 3] for k in chosen])
    board = pose(turned, np.linalg.lstsq(rows, right, rcond=None)[0])
    cameras = [hand @ board @ inverse(seen) for hand, seen in zip(hands, boards, strict=True)]
    u, _, vt = np.linalg.svd(sum(camera[:3, :3] for camera in cameras))
    middle = pose(u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt, np.median([camera[:3, 3] for camera in cameras], axis=0))
    return middle, board, float(strengths[1])


def _errors(view: View, camera_from_board: np.ndarray, lens: Intrinsics, distortion: tuple[float, ...]) -> np.ndarray:
    points = view.detection.points @ camera_from_board[:3, :3].T + camera_from_board[:3, 3]
    return (project(lens, points, distortion) - view.detection.pixels).ravel()


def _apart(view: View, camera_from_board: np.ndarray) -> float:
    """Metres between the middle of the seen corners by the arm and by the camera alone."""
    middle = np.append(view.detection.points.mean(axis=0), 1.0)
    return float(np.linalg.norm((camera_from_board @ middle - view.camera_from_board @ middle)[:3]))
