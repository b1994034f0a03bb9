"""Joints of an arm that picks one thing up and sets it down, as they would be recorded, and where the thing truly was."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CONTROL_DT = 0.1
TABLE, HIGH, AROUND = 0.02, 0.2, 0.55  # metres of the tool, and closure around the thing


@dataclass(frozen=True)
class Carried:
    """An episode: proprioception, and the true pose (x, y, z, yaw) of the thing."""

    proprio: Float[np.ndarray, "frame proprio"]
    pose: Float[np.ndarray, "frame 4"]


def carried(places: list[tuple[float, float, float]], rng: np.random.Generator, offset: float = 0.0, beside: float = 0.0) -> Carried:
    """The thing lies at the first of `places` (x, y, yaw), is carried to the others, held `offset` before and `beside` left of the hand."""
    tool, closure, yaw, truth = [], [], [], []
    here = np.array([0.0, 0.0, HIGH])
    at = np.array([*places[0][:2], TABLE, places[0][2]])

    def off(turn: float) -> np.ndarray:
        ahead, left = np.array([np.cos(turn), np.sin(turn), 0.0]), np.array([-np.sin(turn), np.cos(turn), 0.0])
        return offset * ahead + beside * left

    def move(to: np.ndarray, turn: float, steps: int, grip: float, holding: bool) -> None:
        nonlocal here, at
        for part in np.linspace(0, 1, steps + 1)[1:]:
            tool.append(here + part * (to - here))
            closure.append(grip)
            yaw.append(turn)
            if holding:
                at = np.array([*(tool[-1] + off(turn)), turn])
            truth.append(at)
        here = to

    def squeeze(levels: list[float], turn: float) -> None:
        for level in levels:
            tool.append(here)
            closure.append(level)
            yaw.append(turn)
            truth.append(at)

    for (at_x, at_y, turn), (by_x, by_y, to_turn) in itertools.pairwise(places):
        x, y, _ = np.array([at_x, at_y, 0.0]) - off(turn)
        to_x, to_y, _ = np.array([by_x, by_y, 0.0]) - off(to_turn)
        move(np.array([x, y, HIGH]), turn, 5, 0.0, False)
        move(np.array([x, y, TABLE]), turn, 5, 0.0, False)
        squeeze([0.3, AROUND, AROUND], turn)
        move(np.array([x, y, HIGH]), turn, 4, AROUND, True)
        move(np.array([to_x, to_y, HIGH]), to_turn, 5, AROUND, True)
        move(np.array([to_x, to_y, TABLE]), to_turn, 4, AROUND, True)
        squeeze([0.3, 0.0], to_turn)
        move(np.array([to_x, to_y, HIGH]), to_turn, 4, 0.0, False)
    move(np.array([*rng.uniform(-0.3, 0.3, 2), HIGH]), 0.0, 6, 0.0, False)
    proprio = np.zeros((len(tool), 11), np.float32)
    proprio[:, :3], proprio[:, 3], proprio[:, 4], proprio[:, 5] = np.stack(tool), np.cos(yaw), np.sin(yaw), closure
    return Carried(proprio, np.stack(truth))
