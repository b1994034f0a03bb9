"""Putting the object just so, and trying again when it did not work: what planning from pictures keeps having to do."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robo_dream.control.cartesian import downward_yaw
from sim.tabletop.behaviours.skills import (
    CLOSED,
    OPEN,
    TRAVEL_Z,
    Moves,
    around,
    close,
    go,
    grasp_z,
    held_beside,
    let_go,
    nearest_face_yaw,
    push_z,
    rise,
    squeeze,
    table_spot,
)
from sim.tabletop.world import World

MAX_TRIES = 3
NEAR, SQUARE = 0.012, 0.15  # m and rad within which the object lies well
QUARTER = np.pi / 2
CARRY_Z = 0.06  # m
CARRY_LOW_Z = 0.045  # with one moving jaw, whose wedge lets what hangs in it slip down by some millimetres a step
LOST = 0.05  # m from the hand's middle at which the object is not in it
MAX_YAW = 0.85  # rad, of the hand; more than an eighth of a turn, so that it can be square to any box


@dataclass(frozen=True)
class Arrangement:
    """How things should lie in the end: the object's place and turn, the hand's position, yaw and closure."""

    spot: Float[np.ndarray, "2"]
    turn: float  # rad in [-pi / 4, pi / 4]; a box looks the same at every quarter
    hand: Float[np.ndarray, "3"]
    hand_yaw: float
    grip: float

    def lies_well(self, world: World) -> bool:
        pose = world.object_pose
        off = (nearest_face_yaw(pose) - self.turn + np.pi / 4) % QUARTER - np.pi / 4
        return bool(np.linalg.norm(pose[:2] - self.spot) < NEAR and abs(off) < SQUARE)


def arrange(world: World, rng: np.random.Generator, miss: float = 0.0) -> Moves:
    """Brings the object to a random place and turn and the hand to a random pose near it; tries again until it lies well."""
    yield from bring(world, rng, draw_arrangement(world, rng), miss)


def draw_arrangement(world: World, rng: np.random.Generator) -> Arrangement:
    """The object somewhere else on the table, or near by and turned; the hand as a fist beside it, or somewhere above."""
    least, most = (0.0, 0.04) if rng.random() < 0.3 else (0.04, 0.22)
    spot = table_spot(world, rng, away_from=world.object_pose[:2], least=least, most=most, margin=0.01)
    turn = float(rng.uniform(-np.pi / 4, np.pi / 4))
    away, yaw = rng.uniform(-np.pi, np.pi), float(np.clip(rng.normal(0, 0.4), -0.8, 0.8))
    beside = np.array([np.cos(away), np.sin(away)])
    limits = world.scene.arm.limits
    low, high = np.array(limits.workspace_low) + 0.005, np.array(limits.workspace_high) - 0.005
    if rng.random() < 0.5:
        hand = np.array([*(spot + beside * rng.uniform(0.065, 0.11)), rng.uniform(push_z(world), push_z(world) + 0.02)])
        return Arrangement(spot, turn, np.clip(hand, low, high), yaw, CLOSED)
    height = rng.uniform(TRAVEL_Z, TRAVEL_Z + 0.08)
    hand = np.array([*(spot + beside * rng.uniform(0.0, 0.12)), height])
    return Arrangement(spot, turn, np.clip(hand, low, high), yaw, float(rng.choice([OPEN, CLOSED])))


def bring(world: World, rng: np.random.Generator, desired: Arrangement, miss: float = 0.0) -> Moves:
    """Arranges things as desired. The object is always carried, which is slower than a push and misses less.

    What the hand does next depends on how things are, hardly on how they came to be so: who imitates it sees no more than that.
    Nothing is done badly on purpose; the states that a clumsy hand gets into are left to other skills, interrupted (`PlayConfig`).
    """
    for _ in range(MAX_TRIES):
        if not desired.lies_well(world):
            yield from _carry(world, rng, desired.spot, desired.turn, miss)
        elif world.ground_truth().in_hand:
            yield from let_go(world, rng)
        yield from _end(world, desired.hand, desired.hand_yaw, desired.grip)
        yield from squeeze(world, desired.grip, int(rng.integers(1, 4)))
        if desired.lies_well(world):
            break
    yield from squeeze(world, desired.grip, int(rng.integers(2, 7)))


def _end(world: World, pos: np.ndarray, yaw: float, grip: float) -> Moves:
    """Over everything to above the last pose, then down."""
    at = world.kinematics.forward(world.joint_target[:-1])
    if np.linalg.norm(at.pos - pos) > 0.04:
        yield from rise(world)
        yield from go(world, np.array([*pos[:2], max(TRAVEL_Z, pos[2])]), yaw, grip, tolerance=0.02, max_steps=_patience(world, pos, yaw))
    yield from go(world, pos, yaw, grip, max_steps=_patience(world, pos, yaw))


def _carry(world: World, rng: np.random.Generator, spot: np.ndarray, turn: float, miss: float) -> Moves:
    """Grasps the object, carries it just over the table, turned as it should be, puts it down where it then hangs right, and lets go."""
    if not world.ground_truth().in_hand:
        yield from _grasp(world, rng, miss)
    over = CARRY_Z if world.scene.arm.still_jaw is None else CARRY_LOW_Z
    for height in (over, grasp_z(world) + rng.uniform(0, 0.006)):
        for _ in range(2):  # the object slips in the hand on the way: look again
            at = world.kinematics.forward(world.joint_target[:-1])
            slip = world.object_pose[:2] - at.pos[:2]
            if np.linalg.norm(slip) > LOST:
                break
            held = nearest_face_yaw(world.object_pose) - downward_yaw(at.quat)
            yaw = _nearest_yaw(turn - held, downward_yaw(at.quat))
            slip += held_beside(world, yaw) - held_beside(world, downward_yaw(at.quat))
            there = np.array([*_reachable(world, spot - slip), height])
            if at.pos[2] < over - 0.01 < height:
                yield from go(world, np.array([*at.pos[:2], height]), downward_yaw(at.quat), CLOSED, tolerance=0.015, max_steps=4)
            yield from go(world, there, yaw, CLOSED, tolerance=0.008, max_steps=_patience(world, there, yaw))
    yield from let_go(world, rng)


def _grasp(world: World, rng: np.random.Generator, miss: float) -> Moves:
    """Takes the object from above, turned to its faces by the shortest way; straight down where the open hand is already over it."""
    seen, at = world.object_pose, world.kinematics.forward(world.measured[:-1])
    yaw = _nearest_yaw(nearest_face_yaw(seen), downward_yaw(at.quat))
    spot = seen[:2] + rng.normal(0, 0.004 + miss, 2)
    is_over = np.linalg.norm(at.pos[:2] - around(world, seen[:2], yaw)) < 0.015
    if is_over and abs(downward_yaw(at.quat) - yaw) < 0.2 and world.measured[-1] < 0.15:
        yaw, spot = downward_yaw(at.quat), at.pos[:2]
    else:
        yaw = float(np.clip(yaw + rng.normal(0, 0.05), -MAX_YAW, MAX_YAW))
        spot = around(world, spot, yaw)
        if at.pos[2] < TRAVEL_Z - 0.02:  # turning on the way up saves a second; opening there would knock the object
            up, grip = np.array([*at.pos[:2], TRAVEL_Z]), float(world.joint_target[-1])
            yield from go(world, up, yaw, grip, tolerance=0.03, turn_tolerance=np.pi, max_steps=8)
        over = np.array([*spot, TRAVEL_Z])
        yield from go(world, over, yaw, OPEN, tolerance=0.02, max_steps=_patience(world, over, yaw))
    yield from go(world, np.array([*spot, grasp_z(world) + rng.uniform(0, 0.01)]), yaw, OPEN, tolerance=0.008, max_steps=12)
    yield from close(world)


def _nearest_yaw(yaw: float, now: float) -> float:
    """The yaw of the hand nearest to `now` at which a box looks as at `yaw`, within the hand's limits."""
    options = [option for option in yaw + QUARTER * np.arange(-4, 5) if abs(option) <= MAX_YAW]
    return float(min(options, key=lambda option: abs(option - now)))


def _reachable(world: World, spot: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
    """The nearest place within the workspace."""
    limits = world.scene.arm.limits
    return np.clip(spot, limits.workspace_low[:2], limits.workspace_high[:2])


def _patience(world: World, pos: np.ndarray, yaw: float) -> int:
    """Steps that going there should take at most."""
    at = world.kinematics.forward(world.joint_target[:-1])
    return 4 + int(max(np.abs(pos - at.pos).max() / 0.02, abs(yaw - downward_yaw(at.quat)) / 0.07))
