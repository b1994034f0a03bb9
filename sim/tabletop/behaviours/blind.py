"""Play that is told of no object: what an arm on a bench can do by itself. Joints and gripper are all it knows.

Something that was held lies where the hand let go of it. So what was picked up once is picked up again and again, and carried all over the
table; what was lost is looked for round the place where it was last, ever farther. A hand that does not get down to the table stands on
something, which tells, too. The first place is below the hand at its start: lay there what is to be played with.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robo_dream.control.cartesian import downward_yaw
from sim.tabletop.behaviours.skills import CLOSED, OPEN, TRAVEL_Z, Body, Moves, close, go, let_go, reach, rise, squeeze

BLIND = "play"  # the name of this script

_MIX = {"grope": 0.7, "push": 0.08, "reach": 0.12, "wander": 0.1}  # by number
_SQUEEZE = 0.15  # closure by which a hand that holds something lags behind what it is told
_BLOCKED = 0.008  # m above where it was told to go down to: the hand stands on something
_DOWN_STEPS = 14  # control steps that it may take to go down
_GAP = 0.006  # m beside what is gripped, where a jaw that does not move goes down
_DEEP = 0.001, 0.006  # m above the floor of the workspace, where a hand closes
_MISS, _FARTHEST = 0.004, 0.06  # m by which the first grip at a place misses, and the farthest that anything is looked for
_GIVEN_UP = 12  # grips into the void, after which it may be anywhere
_MARGIN = 0.045  # m that things are set down from the edge of the workspace


@dataclass
class Memory:
    """Where a thing lies, as far as the hand knows: the tool's place and yaw when it let go. None: anywhere."""

    pos: Float[np.ndarray, "2"] | None = None
    yaw: float = 0.0
    misses: int = 0  # grips into the void since then
    num_held: int = 0

    def laid(self, body: Body, misses: int = 0) -> None:
        """It lies where the hand is told to be."""
        pos, self.yaw = _tool(body)
        self.pos, self.misses = pos[:2], misses

    def missed(self) -> None:
        self.misses += 1
        if self.misses > _GIVEN_UP:
            self.pos = None


def blind_play(body: Body, rng: np.random.Generator, memory: Memory) -> Moves:
    """Skill after skill without end: tool moves, each asked for when the arm has done the last one."""
    names, weights = list(_MIX), np.array(list(_MIX.values()))
    while True:
        match names[int(rng.choice(len(names), p=weights))]:
            case "grope":
                if memory.pos is None and rng.random() < 0.5:
                    yield from gather(body, rng, memory)
                yield from grope(body, rng, memory)
            case "push":
                yield from push(body, rng, memory)
            case "reach":
                yield from reach(body, rng)
            case _:
                yield from wander(body, rng)


def grope(body: Body, rng: np.random.Generator, memory: Memory) -> Moves:
    """Goes down with an open hand where the thing may be and closes it; what it then holds is carried and set down elsewhere."""
    yield from rise(body)
    spot, yaw = _where(body, rng, memory)
    yield from go(body, _at(body, spot, TRAVEL_Z), yaw, OPEN)
    depth = _at(body, spot, _deep(body, rng))
    yield from go(body, depth, yaw, OPEN, tolerance=0.008, max_steps=_DOWN_STEPS)
    if _tool(body)[0][2] > depth[2] + _BLOCKED:
        memory.laid(body, misses=5)
        yield from let_go(body, rng)
        return
    yield from close(body)
    if not _holds(body):
        memory.missed()
        yield from let_go(body, rng)
        return
    memory.num_held += 1
    memory.laid(body)
    spot = _spot(body, rng)
    yaw = float(np.clip(memory.yaw + rng.normal(0, 0.4), -0.85, 0.85))
    height = _deep(body, rng) + (rng.uniform(0.03, 0.09) if rng.random() < 0.75 else 0.0)  # carried low, or dragged
    at = _tool(body)[0]
    yield from _while_held(body, memory, go(body, _at(body, at[:2], height), memory.yaw, CLOSED))
    yield from _while_held(body, memory, go(body, _at(body, spot, height), yaw, CLOSED))
    if rng.random() < 0.1:
        yield from squeeze(body, OPEN, 6)  # dropped
        memory.laid(body, misses=3)
    elif _holds(body):
        yield from _while_held(body, memory, go(body, _at(body, spot, _deep(body, rng)), yaw, CLOSED, 0.008, _DOWN_STEPS))
        if _holds(body):
            memory.laid(body)
    yield from squeeze(body, CLOSED, int(rng.integers(0, 4)))
    yield from let_go(body, rng)


def push(body: Body, rng: np.random.Generator, memory: Memory) -> Moves:
    """Sweeps a fist over the table, through where the thing may be, towards the inside: what leaves the table is lost."""
    yield from rise(body)
    is_known = memory.pos is not None and memory.misses < 3
    through, yaw = _where(body, rng, memory)
    heading, way = _spot(body, rng) - through, rng.uniform(0.02, 0.08)
    heading = heading / max(float(np.linalg.norm(heading)), 1e-6)
    yield from go(body, _at(body, through - 0.09 * heading, TRAVEL_Z), yaw, CLOSED)
    yield from go(body, _at(body, through - 0.09 * heading, _deep(body, rng) + 0.008), yaw, CLOSED)
    yield from go(body, _at(body, through + way * heading, _deep(body, rng) + 0.008), yaw, CLOSED)
    if is_known:  # it is in front of the fist, roughly
        memory.pos, memory.misses = _within(body, _tool(body)[0][:2] + 0.03 * heading), 4
    yield from squeeze(body, CLOSED, int(rng.integers(1, 5)))
    yield from rise(body)


def gather(body: Body, rng: np.random.Generator, memory: Memory) -> Moves:
    """Sweeps a fist from the edge of the workspace inwards: what was lost near the edge may lie before it then."""
    limits = body.scene.arm.limits
    low, high = np.array(limits.workspace_low[:2]), np.array(limits.workspace_high[:2])
    edge, side = rng.uniform(low, high), int(rng.integers(2))
    edge[side] = (low, high)[int(rng.integers(2))][side]
    to = edge + 0.8 * (0.5 * (low + high) - edge)
    to[1 - side] = 0.5 * (edge + to)[1 - side]
    yield from rise(body)
    yield from go(body, _at(body, edge, TRAVEL_Z), 0.0, CLOSED)
    yield from go(body, _at(body, edge, _deep(body, rng) + 0.008), 0.0, CLOSED, max_steps=_DOWN_STEPS)
    yield from go(body, _at(body, to, _deep(body, rng) + 0.008), 0.0, CLOSED)
    way = to - edge
    memory.pos, memory.yaw, memory.misses = _within(body, to + 0.03 * way / np.linalg.norm(way)), 0.0, 7
    yield from rise(body)


def wander(body: Body, rng: np.random.Generator, num_steps: int = 30) -> Moves:
    """Correlated random moves, what a planner may try and no script would."""
    high, drift = body.moves.spec.high, rng.normal(0, 1, 5)
    for _ in range(num_steps):
        drift = 0.8 * drift + 0.6 * rng.normal(0, 1, 5)
        yield np.clip(0.7 * drift * high, -high, high)


def _where(body: Body, rng: np.random.Generator, memory: Memory) -> tuple[Float[np.ndarray, "2"], float]:
    """Where to grip, as far as anything is known: near where it was, farther off the more often it was not there."""
    if memory.pos is None:
        limits = body.scene.arm.limits
        return rng.uniform(limits.workspace_low[:2], limits.workspace_high[:2]), float(rng.uniform(-0.8, 0.8))
    spread = min(_MISS * 1.4**memory.misses, _FARTHEST)
    yaw = float(np.clip(memory.yaw + rng.normal(0, 0.06 * (1 + memory.misses)), -0.85, 0.85))
    left = np.array([-np.sin(yaw), np.cos(yaw)])
    beside = 0.0 if body.scene.arm.still_jaw is None else _GAP
    return _within(body, memory.pos - beside * left + rng.normal(0, spread, 2)), yaw


def _while_held(body: Body, memory: Memory, moves: Moves) -> Iterator[Float[np.ndarray, " action"]]:
    """`moves` as long as the hand holds something; where that slips, it lies."""
    for move in moves:
        yield move
        if not _holds(body):
            memory.laid(body, misses=2)
            return


def _holds(body: Body) -> bool:
    return bool(body.joint_target[-1] > body.measured[-1] + _SQUEEZE)


def _spot(body: Body, rng: np.random.Generator) -> Float[np.ndarray, "2"]:
    limits = body.scene.arm.limits
    low, high = np.array(limits.workspace_low[:2]), np.array(limits.workspace_high[:2])
    return rng.uniform(low + _MARGIN, high - _MARGIN)


def _within(body: Body, spot: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
    limits = body.scene.arm.limits
    return np.clip(spot, limits.workspace_low[:2], limits.workspace_high[:2])


def _deep(body: Body, rng: np.random.Generator) -> float:
    return body.scene.arm.limits.workspace_low[2] + float(rng.uniform(*_DEEP))


def _at(body: Body, spot: Float[np.ndarray, "2"], height: float) -> Float[np.ndarray, "3"]:
    limits = body.scene.arm.limits
    return np.clip(np.array([*spot, height]), limits.workspace_low, limits.workspace_high)


def _tool(body: Body) -> tuple[Float[np.ndarray, "3"], float]:
    """Where the tool is, and its yaw."""
    at = body.kinematics.forward(body.measured[:-1])
    return at.pos, downward_yaw(at.quat)
