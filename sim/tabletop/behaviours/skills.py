"""Skills as generators of tool moves: each `yield` is one control step, after which the world has moved on."""

from collections.abc import Generator, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robo_dream.control.cartesian import CartesianMoves, downward_yaw
from robo_dream.control.kinematics import Kinematics
from robo_dream.embodiment import BOX, upright_turn
from sim.tabletop.scene import Scene
from sim.tabletop.world import World

Moves = Iterator[Float[np.ndarray, " action"]]

TRAVEL_Z = 0.13  # m, the fingers clear the object
PUSH_Z = 0.03  # or half of a lower object
GRASP_Z = 0.028  # likewise, a little below its middle
_GAP = 0.006  # m beside the object, where a jaw that does not move goes down
OPEN, CLOSED = 0.0, 1.0


@runtime_checkable
class Body(Protocol):
    """An arm, as far as skills need it that heed no object: a `World`'s, or one on a bench."""

    @property
    def scene(self) -> Scene: ...

    @property
    def kinematics(self) -> Kinematics: ...

    @property
    def moves(self) -> CartesianMoves: ...

    @property
    def joint_target(self) -> Float[np.ndarray, " joint_and_gripper"]:
        """Where it was last told to be."""
        ...

    @property
    def measured(self) -> Float[np.ndarray, " joint_and_gripper"]: ...


def push_z(world: World) -> float:
    """Height at which the tool pushes the object without tipping it over."""
    return min(PUSH_Z, world.half_size()[2])


def grasp_z(world: World) -> float:
    """Height of the tool with the object between the fingers."""
    below = 0.002 if world.scene.arm.still_jaw is None else 0.006  # a wedge holds better what is deep in it
    return min(GRASP_Z, world.half_size()[2] - below)


def held_beside(world: World, yaw: float, gap: float = 0.0) -> Float[np.ndarray, "2"]:
    """Level, from the tool to the middle of what is held: beside it in a hand with one moving jaw, `gap` metres off the other."""
    still = world.scene.arm.still_jaw
    left = np.array([-np.sin(yaw), np.cos(yaw)])
    return np.zeros(2) if still is None else left * (still + world.half_size()[1] + gap)


def around(world: World, spot: Float[np.ndarray, "2"], yaw: float) -> Float[np.ndarray, "2"]:
    """Where the tool goes down with the object, at `spot`, between its open jaws."""
    return spot - held_beside(world, yaw, _GAP)


def toward(world: Body, pos: np.ndarray, yaw: float, grip: float) -> Float[np.ndarray, " action"]:
    """The tool move that brings the commanded tool to a pose, shortened to the limits without bending its path."""
    at = world.kinematics.forward(world.joint_target[:-1])
    turn = (yaw - downward_yaw(at.quat) + np.pi) % (2 * np.pi) - np.pi
    high = world.moves.spec.high
    shift = pos - at.pos
    shift *= min(1.0, float(high[0] / max(np.abs(shift).max(), 1e-9)))
    return np.array([*shift, np.clip(turn, -high[3], high[3]), np.clip(grip - world.joint_target[-1], -high[4], high[4])])


def go(
    world: Body,
    pos: np.ndarray,
    yaw: float,
    grip: float,
    tolerance: float = 0.012,
    max_steps: int = 40,
    turn_tolerance: float = 0.12,
) -> Moves:
    """Moves there in a straight line until the measured tool is within `tolerance` metres and `turn_tolerance` rad."""
    for _ in range(max_steps):
        at = world.kinematics.forward(world.measured[:-1])
        if np.linalg.norm(at.pos - pos) < tolerance and abs(downward_yaw(at.quat) - yaw) < turn_tolerance:
            return
        yield toward(world, pos, yaw, grip)


def squeeze(world: Body, grip: float, num_steps: int) -> Moves:
    """Holds the commanded pose while the hand opens or closes."""
    at = world.kinematics.forward(world.joint_target[:-1])
    for _ in range(num_steps):
        yield toward(world, at.pos, downward_yaw(at.quat), grip)


def reach(world: Body, rng: np.random.Generator) -> Moves:
    """Goes to a random pose of the workspace and stays a moment."""
    limits = world.scene.arm.limits
    pos = rng.uniform(limits.workspace_low, limits.workspace_high)
    pos[2] = min(rng.uniform(0.03, 0.28), limits.workspace_high[2])
    yaw, grip = rng.uniform(-0.7, 0.7), rng.choice([OPEN, OPEN, CLOSED])
    yield from go(world, pos, yaw, grip)
    yield from squeeze(world, grip, int(rng.integers(1, 7)))


def push(world: World, rng: np.random.Generator, miss: float = 0.0) -> Moves:
    """Pushes the object with the closed hand to a random spot, correcting sideways, then stops and often lets go of it."""
    seen = world.object_pose[:2] + rng.normal(0, miss, 2)
    spot = table_spot(world, rng, away_from=seen, least=0.06, most=0.2)
    heading = (spot - seen) / np.linalg.norm(spot - seen)
    side = np.array([-heading[1], heading[0]]) * rng.normal(0, 0.008)
    yaw = float(np.clip(rng.normal(0, 0.4), -0.8, 0.8))
    behind = seen - heading * rng.uniform(0.075, 0.095) + side
    heading = yield from push_from(world, rng, behind, spot, yaw, side, miss)
    yield from squeeze(world, CLOSED, int(rng.integers(2, 8)))
    if rng.random() < 0.7:
        tool = world.kinematics.forward(world.joint_target[:-1]).pos
        back = tool[:2] - heading * 0.03
        yield from go(world, np.array([*back, push_z(world) + 0.01]), yaw, CLOSED, max_steps=5)
        yield from go(world, np.array([*back, TRAVEL_Z]), yaw, CLOSED)


def push_from(
    world: World, rng: np.random.Generator, behind: np.ndarray, spot: np.ndarray, yaw: float, side: np.ndarray, miss: float = 0.0
) -> Generator[Float[np.ndarray, " action"], None, Float[np.ndarray, "2"]]:
    """Goes down at `behind` and pushes the object to `spot`, `side` metres off its middle; returns the last heading."""
    heading = spot - behind
    yield from go(world, np.array([*behind, TRAVEL_Z]), yaw, CLOSED)
    yield from go(world, np.array([*behind, push_z(world)]), yaw, CLOSED)
    for _ in range(30):
        seen = world.object_pose[:2] + rng.normal(0, miss / 2, 2)
        left = spot - seen
        if left @ heading < 0.006:
            break
        tool = world.kinematics.forward(world.joint_target[:-1]).pos[:2]
        heading = left / np.linalg.norm(left)
        off = (seen - tool) - ((seen - tool) @ heading) * heading  # how far the object lies to the side of the push
        aim = tool + heading * min(0.025, float(np.linalg.norm(left)) + 0.004) + 0.4 * off + 0.2 * side
        yield toward(world, np.array([*aim, push_z(world)]), yaw, CLOSED)
    return heading


def drag(world: World, rng: np.random.Generator, miss: float = 0.0) -> Moves:
    """Grasps the object, slides and turns it on the table to a random pose, lets go and rises."""
    yield from grasp(world, rng, miss)
    spot = table_spot(world, rng, away_from=world.object_pose[:2], least=0.05, most=0.25)
    yaw = float(rng.uniform(-0.8, 0.8))
    yield from go(world, np.array([*spot, grasp_z(world) + rng.uniform(0, 0.006)]), yaw, CLOSED, tolerance=0.008)
    yield from squeeze(world, CLOSED, int(rng.integers(1, 6)))
    if rng.random() < 0.8:
        yield from let_go(world, rng)


def lift(world: World, rng: np.random.Generator, miss: float = 0.0) -> Moves:
    """Grasps the object, lifts it, holds it, often carries it elsewhere; then puts it down, drops or keeps it."""
    yield from grasp(world, rng, miss)
    at = world.kinematics.forward(world.joint_target[:-1])
    height = min(rng.uniform(0.1, 0.24), world.scene.arm.limits.workspace_high[2])
    yaw = float(np.clip(downward_yaw(at.quat) + rng.normal(0, 0.3), -0.8, 0.8))
    yield from go(world, np.array([*at.pos[:2], height]), yaw, CLOSED)
    yield from squeeze(world, CLOSED, int(rng.integers(3, 14)))
    if rng.random() < 0.6:
        spot = table_spot(world, rng, away_from=at.pos[:2], least=0.05, most=0.3)
        yield from go(world, np.array([*spot, rng.uniform(0.08, 0.2)]), yaw, CLOSED)
        at = world.kinematics.forward(world.joint_target[:-1])
    if rng.random() < 0.15:
        yield from squeeze(world, OPEN, 6)  # dropped
    elif rng.random() < 0.8:
        yield from go(world, np.array([*at.pos[:2], grasp_z(world) + 0.006]), yaw, CLOSED, tolerance=0.008)
        yield from let_go(world, rng)


def wander(world: World, rng: np.random.Generator, num_steps: int = 40) -> Moves:
    """Correlated random moves, drawn towards the object now and then: what a planner may try and no script would."""
    high = world.moves.spec.high
    low_z = rng.random() < 0.6
    drift = rng.normal(0, 1, 5)
    for _ in range(num_steps):
        drift = 0.8 * drift + 0.6 * rng.normal(0, 1, 5)
        move = drift * high * 0.7
        if low_z:
            tool = world.kinematics.forward(world.joint_target[:-1]).pos
            pull = world.object_pose[:3] + [0, 0, 0.02] - tool
            move[:3] += np.clip(0.15 * pull, -0.012, 0.012)
        yield np.clip(move, -high, high)


def stray(world: World, rng: np.random.Generator) -> Moves:
    """Goes to two random points, often low, near the object and as a fist: what a planner gets into when its imagination errs."""
    limits = world.scene.arm.limits
    for _ in range(2):
        pos = rng.uniform(limits.workspace_low, limits.workspace_high)
        if rng.random() < 0.6:
            pos[:2] = world.object_pose[:2] + rng.normal(0, 0.07, 2)
        pos[2] = rng.uniform(0.03, 0.05 if rng.random() < 0.6 else 0.2)
        within = np.clip(pos, limits.workspace_low, limits.workspace_high)
        yield from go(world, within, float(rng.uniform(-0.7, 0.7)), float(rng.choice([OPEN, CLOSED, CLOSED])), max_steps=12)


def rise(world: Body) -> Moves:
    """Lifts a low hand straight up, so that its way to the side sweeps nothing off the table."""
    at = world.kinematics.forward(world.joint_target[:-1])
    if at.pos[2] < TRAVEL_Z - 0.02:
        there = np.array([*at.pos[:2], TRAVEL_Z])
        yield from go(world, there, downward_yaw(at.quat), float(world.joint_target[-1]), tolerance=0.03, max_steps=10)


def grasp(world: World, rng: np.random.Generator, miss: float) -> Moves:
    seen = world.object_pose
    spot = seen[:2] + rng.normal(0, 0.004 + miss, 2)
    yaw = nearest_face_yaw(seen) + rng.normal(0, 0.1)
    yaw = float(np.clip(yaw, -0.85, 0.85))
    yield from rise(world)
    spot = around(world, spot, yaw)
    yield from go(world, np.array([*spot, TRAVEL_Z]), yaw, OPEN)
    yield from go(world, np.array([*spot, grasp_z(world) + rng.uniform(0, 0.01)]), yaw, OPEN, tolerance=0.008)
    yield from close(world)
    yield from squeeze(world, CLOSED, int(rng.integers(0, 3)))


def close(world: Body) -> Moves:
    """Closes the hand until the fingers stand."""
    yield from squeeze(world, CLOSED, 4)
    for _ in range(14):
        before = world.measured[-1]
        yield from squeeze(world, CLOSED, 1)
        if world.measured[-1] - before < 0.02:
            break


def let_go(world: Body, rng: np.random.Generator) -> Moves:
    yield from squeeze(world, OPEN, int(rng.integers(4, 7)))
    at = world.kinematics.forward(world.joint_target[:-1])
    height = min(TRAVEL_Z + rng.uniform(0, 0.08), world.scene.arm.limits.workspace_high[2])
    yield from go(world, np.array([*at.pos[:2], height]), downward_yaw(at.quat), OPEN)


def nearest_face_yaw(pose: np.ndarray) -> float:
    """The turn in [-45, 45] degrees at which the hand is square to the box."""
    return float((upright_turn(pose[3:], BOX) + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def table_spot(
    world: World, rng: np.random.Generator, away_from: np.ndarray, least: float, most: float, margin: float = 0.05
) -> np.ndarray:
    """A random place at least `margin` metres within the workspace, and between `least` and `most` metres from another."""
    limits = world.scene.arm.limits
    low = np.array(limits.workspace_low[:2]) + margin
    high = np.array(limits.workspace_high[:2]) - margin
    for _ in range(100):
        spot = rng.uniform(low, high)
        if least <= np.linalg.norm(spot - away_from) <= most:
            break
    return spot
