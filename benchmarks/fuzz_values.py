"""What a fuzzer writes: values drawn from a configuration's own annotations, hostile ones, and documents with one thing changed."""

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from robo_dream.config import Changes
from robo_dream.schema import OR_INF, loaded, unpacked

HOSTILE: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, 0, -1, -3, 0.5, 1e308, -1e308, 1e-320, 2**31, 2**62, 10**30, "", "x", "../../etc/passwd", "/dev/zero",
    "1e9", "nan", "\0", "x" * 3000, None, True, False, [], {}, [1], [[]], [math.nan] * 3, {"a": 1}, {"kind": "x"}, {"kind": ["x"]}, "mps",
    "a b\n", "\ud7ff\u202e", ["x"] * 50, [[[[1]]]], {"": None},
)  # fmt: skip
_BOUNDS = ("ge", "gt", "le", "lt")
_TEXTS = ("cpu", "front", "runs/x", "MJPG", "", "push", "reach")


@dataclass(frozen=True)
class Leaf:
    """A value in a configuration that no block is: where it stands, what must stand beside it, and what it may be."""

    key: tuple[str, ...]
    beside: Mapping[tuple[str, ...], Any]  # kinds of the blocks on the way
    hint: Any

    @property
    def bounds(self) -> dict[str, Any]:
        return _bounds(unpacked(self.hint)[1])


@lru_cache(maxsize=64)
def leaves(cls: type) -> tuple[Leaf, ...]:
    """Every value that a `cls` can be told, kinds and changes of other configurations included."""
    return tuple(_leaves(cls, (), {}))


def _leaves(cls: type, key: tuple[str, ...], beside: Mapping[tuple[str, ...], Any]) -> Iterator[Leaf]:
    hints = get_type_hints(cls, include_extras=True)
    for part in fields(cls):
        if part.name == "kind":
            continue
        base, _ = unpacked(loaded(hints[part.name]))
        if get_origin(base) is Changes:
            base = get_args(base)[0]
        inner = [one for one in (base, *get_args(base)) if isinstance(one, type) and is_dataclass(one)]
        here = (*key, part.name)
        if not inner:
            yield Leaf(here, beside, hints[part.name])
        elif get_origin(base) in (None, Union, UnionType):
            for block in inner:
                kinds = get_args(get_type_hints(block)["kind"]) if "kind" in get_type_hints(block) else ()
                required = any(one.default is MISSING and one.default_factory is MISSING for one in fields(block))
                if not required:
                    yield from _leaves(block, here, beside | ({(*here, "kind"): kinds[0]} if kinds else {}))


def allowed(draw: random.Random, hint: Any) -> Any:
    """A plain value such as `hint` allows, now and then a hostile one inside."""
    base, marks = unpacked(hint)
    bounds = _bounds(marks)
    origin, parts = get_origin(base), get_args(base)
    least, most = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if origin is Literal:
        return draw.choice(parts)
    if origin in (Union, UnionType):
        return allowed(draw, draw.choice(parts))
    if origin is tuple and parts[-1] is not Ellipsis:
        return [value(draw, part) for part in parts]
    if origin in (tuple, list, Sequence):
        return [value(draw, parts[0]) for _ in range(draw.randrange(4))]
    if origin in (dict, Mapping):
        return {draw.choice(("push", "reach", "random", "front", "..")): value(draw, parts[1]) for _ in range(draw.randrange(3))}
    if origin is Changes:
        return block(draw, parts[0])
    if isinstance(base, type) and is_dataclass(base):
        return block(draw, base)
    if isinstance(base, type) and issubclass(base, Enum):
        return draw.choice([member.value for member in base])
    if base is bool:
        return draw.random() < 0.5
    if base is int:
        return draw.randint(-9 if least is None else least, 99 if most is None else min(most, 2**63 - 1))
    if base is float:
        low, high = -1e9 if least is None else float(least), 1e9 if most is None else float(most)
        return draw.choice((draw.uniform(low, high), low, high))
    return None if base is type(None) else draw.choice(_TEXTS)


def value(draw: random.Random, hint: Any) -> Any:
    """Mostly `allowed`."""
    return draw.choice(HOSTILE) if draw.random() < 0.08 else allowed(draw, hint)


def block(draw: random.Random, cls: type) -> dict[str, Any]:
    """Some keys of a `cls`, and all that it requires."""
    hints = get_type_hints(cls, include_extras=True)
    required = [p.name for p in fields(cls) if p.name == "kind" or (p.default is MISSING and p.default_factory is MISSING)]
    others = [name for name in hints if name not in required]
    chosen = draw.sample(others, min(len(others), draw.randrange(5)))
    return {name: allowed(draw, hints[name]) if name == "kind" else value(draw, hints[name]) for name in (*required, *chosen)}


def forbidden(draw: random.Random, leaf: Leaf) -> Any:
    """A value that `leaf` does not allow, by what its annotation says; raises `LookupError` where none is known."""
    base, marks = unpacked(leaf.hint)
    origin, parts = get_origin(base), get_args(base)
    bounds = leaf.bounds
    choices: list[Any] = []
    if base in (int, float):
        choices += ["x", [], {"a": 1}, True, *([] if OR_INF in marks else [math.nan])]
        choices += [] if OR_INF in marks else [math.inf]
        if (least := bounds.get("ge", bounds.get("gt"))) is not None:
            choices += [least - 1, least - 10**6, *([least] if "gt" in bounds else [])]
        if (most := bounds.get("le", bounds.get("lt"))) is not None:
            choices += [most + 1 if most < 1e15 else most * 4, *([most] if "lt" in bounds else [])]
        choices += [0.5] if base is int else []
    elif base is bool:
        choices = ["maybe", 2, 0.5, [], None]
    elif origin is Literal:
        choices = ["nosuch", [], {"a": 1}, 0.123]
    elif base in (str, Path):
        choices = [7, [], {"a": 1}, True]
    elif origin in (tuple, list) and parts and parts[-1] is not Ellipsis and origin is tuple:
        choices = [7, "x", [], [None] * (len(parts) + 1)]
    elif origin in (tuple, list, Sequence):
        choices = [7, {"a": 1}]
    if not choices:
        raise LookupError(f"nothing is known to be forbidden for {leaf.hint}")
    return draw.choice(choices)


def _bounds(marks: Sequence[Any]) -> dict[str, Any]:
    return {name: getattr(mark, name) for mark in marks for name in _BOUNDS if getattr(mark, name, None) is not None}


def nested(key: Sequence[str], told: Any) -> dict[str, Any]:
    """`told` at `key`."""
    for name in reversed(key):
        told = {name: told}
    return told


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both, block by block; the second wins."""
    result = dict(first)
    for name, told in second.items():
        before = result.get(name)
        result[name] = merged(before, told) if isinstance(before, Mapping) and isinstance(told, Mapping) else told
    return result


Edit = Callable[[Any], None]


def places(document: Any, key: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document."""
    found = [key] if key else []
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for name, one in items:
        found += places(one, (*key, name))
    return found


def edited(draw: random.Random, document: Any, key: tuple[Any, ...] | None = None, told: Any = MISSING) -> Any:
    """A copy of the JSON `document` with one value hostile, or gone; at `key` and with `told` where they are given."""
    copy = json.loads(json.dumps(document))
    key = draw.choice(places(copy)) if key is None else key
    holder = copy
    for name in key[:-1]:
        holder = holder[name]
    if told is MISSING and draw.random() < 0.2:
        del holder[key[-1]]
    else:
        holder[key[-1]] = draw.choice(HOSTILE) if told is MISSING else told
    return copy


def bent(draw: random.Random, content: bytes) -> bytes:
    """Bytes cut short, flipped, doubled, padded, or others altogether."""
    if not content:
        return draw.randbytes(draw.randrange(100))
    at = draw.randrange(len(content))
    match draw.randrange(6):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
        case 2:
            return content[:at] + draw.randbytes(draw.randrange(1, 40)) + content[at:]
        case 3:
            return content[:at] + content[at + draw.randrange(1, 40) :]
        case 4:
            return content + draw.choice((content, draw.randbytes(64), bytes(4096)))
        case _:
            return draw.choice((b"", b"\0" * 100, b"[" * 20_000, b"{}", b"null", b"[]", draw.randbytes(300), b'{"a":' * 2000))
