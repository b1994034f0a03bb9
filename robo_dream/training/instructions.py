"""Instructions in hindsight: what a move of things could have been asked for in words, by where they lay before and after it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic import Field

from robo_dream.errors import ConfigError
from robo_dream.schema import Unit, configuration

Metres = Annotated[float, Field(gt=0, le=1), Unit("m")]


@configuration
class InstructionConfig:
    """What counts as what is said. Ways to the right and away are level unit vectors of the world, as who speaks sees them."""

    right: tuple[float, float] = (0.0, 1.0)
    away: tuple[float, float] = (-1.0, 0.0)
    moved: Metres = 0.04  # along a way, from which on a thing went there
    beside: Metres = 0.10  # within which things lie beside each other
    apart: Metres = 0.03  # along a way, from which on a thing lies there of another
    height: Metres = 0.025  # above another, from which on a thing lies on it
    overlap: Metres = 0.03  # level, within which a thing can lie on another
    still: Metres = 0.025  # within which a thing stayed where it was

    def __post_init__(self) -> None:
        ways = np.array([self.right, self.away])
        if np.abs(ways @ ways.T - np.eye(2)).max() > 1e-3:
            raise ConfigError(f"right is {self.right} and away {self.away}; they must be level unit vectors at right angles")


@dataclass(frozen=True)
class Relation:
    """What can be asked of a thing, alone or with regard to another one; `phrases` are said after "the red cube"."""

    name: str
    phrases: tuple[str, ...]
    held_out: tuple[str, ...]  # phrases that nothing is learned from
    with_other: bool


RELATIONS = (
    Relation("left_of", ("left of", "to the left of", "on the left side of"), ("at the left of", "just left of"), True),
    Relation("right_of", ("right of", "to the right of", "on the right side of"), ("at the right of", "just right of"), True),
    Relation("in_front_of", ("in front of", "before", "on the near side of"), ("just in front of", "to the front of"), True),
    Relation("behind", ("behind", "in back of", "on the far side of"), ("just behind", "in the back of"), True),
    Relation("on", ("on", "on top of", "onto", "over"), ("right on top of", "on the top of"), True),
    Relation("beside", ("beside", "next to", "close to"), ("just beside", "right next to"), True),
    Relation("left", ("left", "to the left", "leftwards"), ("over to the left", "to the left side"), False),
    Relation("right", ("right", "to the right", "rightwards"), ("over to the right", "to the right side"), False),
    Relation("nearer", ("nearer", "to the front", "towards me"), ("over to the front", "nearer to me"), False),
    Relation("farther", ("farther away", "to the back", "away from me"), ("over to the back", "farther from me"), False),
)
_VERBS = ("put", "place", "move", "set", "bring", "push", "get", "take", "shift")
_FRAMES = ("{verb} {a} {phrase}", "please {verb} {a} {phrase}", "{verb} {a} {phrase} now", "I want {a} {phrase}", "{a} should be {phrase}")
_HELD_OUT = ("could you {verb} {a} {phrase}", "{a} goes {phrase}", "now {verb} {a} {phrase} please", "I want you to {verb} {a} {phrase}")
_STACK = ("stack {a} {phrase}",)
_NOUNS = ("cube", "block", "box", "one")


def holds(
    config: InstructionConfig,
    relation: str,
    thing: int,
    other: int | None,
    before: Float[np.ndarray, "thing 3"],
    after: Float[np.ndarray, "thing 3"],
) -> bool:
    """Whether what is asked of `thing` is true of how things lie `after`, having lain as `before`; metres."""
    ways = {"right": config.right, "left": -np.array(config.right), "farther": config.away, "nearer": -np.array(config.away)}
    sides = {"right_of": "right", "left_of": "left", "behind": "farther", "in_front_of": "nearer"}
    if relation in ways:
        return _lies(after[thing] - before[thing], np.array(ways[relation]), config.moved)
    assert other is not None, f"{relation} is of two things"
    apart = after[thing] - after[other]
    level = float(np.linalg.norm(apart[:2]))
    if relation == "on":
        return bool(apart[2] > config.height and level < config.overlap)
    if abs(apart[2]) > config.height:
        return False
    return level < config.beside if relation == "beside" else _lies(apart, np.array(ways[sides[relation]]), config.apart)


def _lies(apart: Float[np.ndarray, "3"], way: Float[np.ndarray, "2"], least: float) -> bool:
    """Whether it is `least` metres along `way`, and not farther across it."""
    along = float(apart[:2] @ way)
    return along > least and along >= float(np.linalg.norm(apart[:2] - along * way))


@dataclass(frozen=True)
class Asked:
    """What could have been asked: a relation of a thing to another one, None where it is of that thing alone."""

    relation: str
    thing: int
    other: int | None


def asked_in_hindsight(
    config: InstructionConfig, before: Float[np.ndarray, "thing 3"], after: Float[np.ndarray, "thing 3"]
) -> Iterator[Asked]:
    """All that came true of the one thing that was moved, where the others stayed; nothing where it was another number of things."""
    moved = np.linalg.norm(after - before, axis=-1) > config.still
    if moved.sum() != 1:
        return
    thing = int(moved.argmax())
    for relation in RELATIONS:
        for other in [one for one in range(len(before)) if one != thing] if relation.with_other else [None]:
            if holds(config, relation.name, thing, other, before, after):
                yield Asked(relation.name, thing, other)


def said(names: Sequence[str], asked: Asked, held_out: bool = False) -> tuple[str, ...]:
    """All ways to ask for it; the `held_out` ones, of which each has a frame or a phrase of its own, are not learned from."""
    relation = next(one for one in RELATIONS if one.name == asked.relation)
    frames, phrases = (_HELD_OUT, relation.held_out) if held_out else (_FRAMES, relation.phrases)
    pairs = [(frame, phrase) for frame in frames for phrase in phrases]
    if held_out:  # a frame that is known with a phrase that is not, and the other way round
        pairs = [(frame, phrase) for frame in _FRAMES[:2] for phrase in relation.held_out]
        pairs += [(frame, phrase) for frame in _HELD_OUT for phrase in relation.phrases]
    elif asked.relation == "on":
        pairs += [(frame, phrase) for frame in _STACK for phrase in relation.phrases[:3]]
    texts = []
    for (frame, phrase), (number, noun) in itertools.product(pairs, enumerate(_NOUNS)):
        other = "" if asked.other is None else f" {_called(names[asked.other], _NOUNS[(number + 1) % len(_NOUNS)])}"
        verbs = _VERBS if "{verb}" in frame else ("",)
        texts += [frame.format(verb=verb, a=_called(names[asked.thing], noun), phrase=phrase + other) for verb in verbs]
    return tuple(dict.fromkeys(texts))


def _called(name: str, noun: str) -> str:
    """ "the red cube" with another noun; a name of one word stays."""
    *told, last = name.split()
    return f"the {' '.join(told)} {noun}" if told and last in _NOUNS else f"the {name}"
