"""Where a thing was, told by the gripper that held it: labels of poses that a bench has, from joints alone.

A gripper that stops closing half way holds something; while it does, the thing is where the tool is and turned as the tool is. Before it
was picked up and after it was set down it lay where that happened, for as long as nothing came near. So play with a gripper labels its own
pictures, and an encoder that learns from these sees the thing where no label says it. (Grasp2Vec, Jang et al. 2018, arXiv 1811.06964,
learns from grasping itself what was grasped.) Where there are several things, joints do not say which was held: `identities.py` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from robo_dream.errors import DataError
from robo_dream.schema import Unit, configuration

Metres = Annotated[float, Field(gt=0, le=1), Unit("m")]
Seconds = Annotated[float, Field(ge=0, le=10), Unit("s")]
TOOL_POS, COS_YAW, SIN_YAW, CLOSURE = slice(0, 3), 3, 4, 5  # of `embodiment.PROPRIO_NAMES`
_OPEN, _FIST = 0.1, 0.9  # closures beyond which nothing is held
_STILL = 0.02  # change of closure in a control step, below which the fingers rest
_BINS = 80


@configuration
class GraspConfig:
    """How holding is told from joints. `closure` 0 looks for where fingers that neither open nor make a fist mostly come to rest."""

    things: Annotated[int, Field(ge=1, le=4)] = 1  # that are picked up; which of several it was, pictures tell (training.looks)
    closure: Annotated[float, Field(ge=0, lt=1), Unit("1")] = 0.0  # of the gripper around the thing
    beside: Annotated[float, Field(ge=-0.2, le=0.2), Unit("m")] = 0.0  # to the left of the tool, of what is held: one jaw stands still
    tolerance: Annotated[float, Field(gt=0, le=0.5), Unit("1")] = 0.05  # of closure
    shortest: Seconds = 0.2  # of a hold
    carried: Annotated[float, Field(ge=0, le=1), Unit("m")] = 0.05  # way of the tool meanwhile, without which nothing need have been held
    settling: Seconds = 0.15  # after it was let go
    near: Metres = 0.08  # within which the tool might have touched it
    same: Metres = 0.025  # from where it was set down to where it is picked up, if it stayed
    approach: Seconds = 10.0  # what was done so long before it was picked up was meant to
    retreat: Seconds = 1.5  # and so long after it was let go, at most half of the time until it is picked up again
    low: Metres = 0.05  # above where things are picked up: there the tool may touch anything
    drop: Metres = 0.03  # let go from higher up, it may have rolled


@dataclass(frozen=True)
class Hold:
    """Frames `first` to `last` of an episode, in which something was held. It was picked up at `first`, or was held from the start."""

    first: int
    last: int


@dataclass(frozen=True)
class Rest:
    """Frames in which the thing lay at `pose`, and the numbers of the holds that set it down there and took it away, where it is known."""

    frames: Int[np.ndarray, " some_frame"]
    pose: Float[np.ndarray, "4"]  # x, y, z and yaw
    left_by: int | None
    taken_by: int | None


@dataclass(frozen=True)
class Held:
    """Of one episode: when something was held, where it lay, and its pose, in metres and radians; NaN where that is not known."""

    holds: tuple[Hold, ...]
    rests: tuple[Rest, ...]
    pose: Float[np.ndarray, "frame 4"]  # x, y, z and yaw


def held_poses(episodes: Sequence[Float[np.ndarray, "frame proprio"]], config: GraspConfig, control_dt: float) -> list[Held]:
    """What each episode's proprioception tells of the one thing that there is to be held, or of several as if they were one.

    Raises `DataError` where the gripper never rests half closed, so that nothing tells of a thing.
    """
    episodes = [between_the_jaws(proprio, config.beside) for proprio in episodes]
    closure = config.closure or closure_when_holding([proprio[:, CLOSURE] for proprio in episodes])
    found = [_holds(proprio, closure, config, control_dt) for proprio in episodes]
    if not any(hold.first > 0 for holds in found for hold in holds):
        raise DataError(
            f"nothing was ever picked up in {len(episodes)} episodes: the gripper never rested at a closure of {closure:.2f}; "
            f"record some grasps, or learn without: training.grasps=null and training.model.policy_input=latents"
        )
    table, low = _table(episodes, found), config.low
    return [_told(proprio, holds, table, low, config, control_dt) for proprio, holds in zip(episodes, found, strict=True)]


def held_apart(
    held: Sequence[Held],
    whose: Sequence[Sequence[int]],
    episodes: Sequence[Float[np.ndarray, "frame proprio"]],
    config: GraspConfig,
    control_dt: float,
) -> list[list[Held]]:
    """Of each of `config.things` what each episode tells, where `whose` has the number of the thing of every hold of `held`.

    A hand that is low is no matter then: it is with another thing.
    """
    episodes = [between_the_jaws(proprio, config.beside) for proprio in episodes]
    table, apart = _table(episodes, [one.holds for one in held]), []
    for thing in range(config.things):
        its = [
            tuple(hold for hold, of in zip(one.holds, which, strict=True) if of == thing) for one, which in zip(held, whose, strict=True)
        ]
        apart.append([_told(proprio, holds, table, 0.0, config, control_dt) for proprio, holds in zip(episodes, its, strict=True)])
    return apart


def _table(episodes: Sequence[Float[np.ndarray, "frame proprio"]], held: Sequence[Sequence[Hold]]) -> float:
    """How high the tool is where things are picked up, in metres."""
    return float(
        np.median([proprio[hold.first, 2] for proprio, holds in zip(episodes, held, strict=True) for hold in holds if hold.first > 0])
    )


def _told(
    proprio: Float[np.ndarray, "frame proprio"], holds: tuple[Hold, ...], table: float, low: float, config: GraspConfig, control_dt: float
) -> Held:
    rests = _rests(proprio, holds, table, low, config, control_dt)
    return Held(holds, rests, posed(proprio, holds, rests, np.zeros((len(holds), 2))))


def posed(
    proprio: Float[np.ndarray, "frame proprio"], holds: Sequence[Hold], rests: Sequence[Rest], offsets: Float[np.ndarray, "hold 2"]
) -> Float[np.ndarray, "frame 4"]:
    """The pose in every frame: in each hold that of the tool, level `offsets` from it in its own frame; in each rest its pose."""
    tool, yaw = proprio[:, TOOL_POS], tool_yaw(proprio)
    pose = np.full((len(proprio), 4), np.nan)
    for hold, offset in zip(holds, offsets, strict=True):
        frames = slice(hold.first, hold.last + 1)
        pose[frames] = np.concatenate([tool[frames], yaw[frames, None]], -1)
        pose[frames, :2] += turned(offset, yaw[frames])
    for rest in rests:
        pose[rest.frames] = rest.pose
    return pose


def tool_yaw(proprio: Float[np.ndarray, "*frame proprio"]) -> Float[np.ndarray, "*frame"]:
    """In radians."""
    return np.asarray(np.arctan2(proprio[..., SIN_YAW], proprio[..., COS_YAW]))


def turned(offset: Float[np.ndarray, "2"], yaw: Float[np.ndarray, "*frame"]) -> Float[np.ndarray, "*frame 2"]:
    """`offset` in the world, of something turned by `yaw`."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([cos * offset[0] - sin * offset[1], sin * offset[0] + cos * offset[1]], -1)


def closure_when_holding(closures: Sequence[Float[np.ndarray, " frame"]]) -> float:
    """Where the fingers mostly rest when they are neither open nor a fist; raises `DataError` where they never do."""
    resting = []
    for closure in closures:
        change = np.abs(np.diff(closure))
        resting.append(closure[1:-1][(change[1:] < 0.5 * _STILL) & (change[:-1] < 0.5 * _STILL)])
    some = np.concatenate(resting)
    counts, edges = np.histogram(some[(some > _OPEN) & (some < _FIST)], bins=_BINS, range=(_OPEN, _FIST))
    if not counts.any():
        raise DataError(
            f"the gripper never rests between {_OPEN} and {_FIST} of its closure in {len(closures)} episodes, so it never held anything; "
            f"record some grasps, or learn without: training.grasps=null and training.model.policy_input=latents"
        )
    most = int(counts.argmax())
    return float(0.5 * (edges[most] + edges[most + 1]))


def between_the_jaws(proprio: Float[np.ndarray, "frame proprio"], beside: float) -> Float[np.ndarray, "frame proprio"]:
    """`proprio` with the tool where what it holds would be."""
    left = np.stack([-proprio[:, SIN_YAW], proprio[:, COS_YAW], np.zeros(len(proprio))], -1)
    return np.concatenate([proprio[:, TOOL_POS] + beside * left, proprio[:, COS_YAW:]], -1)


def _holds(proprio: Float[np.ndarray, "frame proprio"], level: float, config: GraspConfig, control_dt: float) -> tuple[Hold, ...]:
    closure = proprio[:, CLOSURE]
    is_around = np.abs(closure - level) < config.tolerance
    is_held = is_around & (np.abs(np.diff(closure, prepend=closure[0])) < _STILL)
    is_held[1:-1] |= is_held[:-2] & is_held[2:]  # one frame of shaking lets nothing go
    edges = np.flatnonzero(np.diff(is_held, prepend=False, append=False))
    holds: list[Hold] = []
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        while first > 0 and is_around[first - 1] and (not holds or first - 1 > holds[-1].last):  # closed, and not yet at rest
            first -= 1
        way = np.linalg.norm(np.diff(proprio[first:end, TOOL_POS], axis=0), axis=-1).sum()
        if end - first > config.shortest / control_dt and way > config.carried:
            holds.append(Hold(int(first), int(end - 1)))
    return tuple(holds)


def _rests(
    proprio: Float[np.ndarray, "frame proprio"], holds: tuple[Hold, ...], table: float, low: float, config: GraspConfig, control_dt: float
) -> tuple[Rest, ...]:
    ground = table + low if low else -np.inf
    tool, yaw = proprio[:, TOOL_POS], tool_yaw(proprio)
    settling = round(config.settling / control_dt)
    found: list[Rest] = []
    for number, hold in enumerate(holds):
        before, after = holds[number - 1] if number else None, holds[number + 1] if number + 1 < len(holds) else None
        taken = np.array([*tool[hold.first, :2], tool[max(hold.first - 1, 0), 2], yaw[hold.first]])  # fingers lift while they close
        stayed = before is not None and _apart(tool, before.last, hold.first) < config.same
        since = 0 if before is None else before.last + 1 + settling
        if before is not None and stayed:  # known twice
            taken[:2] = 0.5 * (taken[:2] + tool[before.last, :2])
            found.append(Rest(np.arange(since, hold.first), taken, number - 1, number))
        elif hold.first > 0 and taken[2] < table + config.drop:
            earlier = np.arange(hold.first - 1, since - 1, -1)
            found.append(Rest(earlier[: _undisturbed(tool[earlier], taken[:3], ground, config.near)][::-1], taken, None, number))
        moved_on = after is None or _apart(tool, hold.last, after.first) >= config.same
        if moved_on and tool[hold.last, 2] < table + config.drop:
            left = np.array([*tool[hold.last, :2], table, yaw[hold.last]])
            later = np.arange(hold.last + 1, len(tool) if after is None else after.first)
            found.append(Rest(later[: _undisturbed(tool[later], left[:3], ground, config.near)][settling:], left, number, None))
    return tuple(rest for rest in found if len(rest.frames))


def _apart(tool: Float[np.ndarray, "frame 3"], one: int, other: int) -> float:
    """Level distance, in metres."""
    return float(np.linalg.norm(tool[one, :2] - tool[other, :2]))


def _undisturbed(tool: Float[np.ndarray, "frame 3"], place: Float[np.ndarray, "3"], ground: float, near: float) -> int:
    """How many frames, counted away from a grasp at `place`, until the tool may have touched what lies there.

    First it leaves; after that it must stay away, and above `ground` to push nothing else there.
    """
    is_near = np.linalg.norm(tool - place, axis=-1) < near
    has_left = np.logical_or.accumulate(~is_near)
    touching = has_left & (is_near | (tool[:, 2] < ground))
    return int(touching.argmax()) if touching.any() else len(tool)
