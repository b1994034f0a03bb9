"""What the values of a configuration may be: said in annotations, checked by pydantic, told in words.

A class made by `@configuration` is a frozen dataclass of numbers, strings, tuples and other such dataclasses. What a value may be stands
in its annotation, such as `Annotated[float, Field(gt=0, le=1), Unit("s")]`; numbers are finite unless it says `OR_INF`. A value that is
not allowed is one `ConfigError`: `SafetyLimits.max_state_age is 50 s; allowed is a number above 0 and at most 1 s; did you mean 0.05?`
"""

import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import lru_cache, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.fields import FieldInfo

from robo_dream.errors import ConfigError

Class = TypeVar("Class")


@dataclass(frozen=True)
class Unit:
    """What a number counts; "1" is a fraction."""

    name: str


@dataclass(frozen=True)
class Words:
    """What a value may be, where its type says it badly."""

    text: str


@dataclass(frozen=True)
class Later:
    """Of a type that takes long to import, or is not there on every computer: what it is, asked only where a file says something of it."""

    load: Callable[[], Any]


OR_INF = Field(allow_inf_nan=True)  # .inf is allowed too
Fraction = Annotated[float, Field(ge=0, le=1), Unit("1")]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1e6)]  # among others of the same block
Seed = Annotated[int, Field(ge=0, lt=2**63), Words("a whole number from 0")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"), Words("a name of letters, digits, _, - and .")]
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:[0-9]{1,3})?)$"), Words("cpu, cuda or cuda:N")]

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_SLIPS = {"s": (1e3,), "m": (1e3, 1e2), "1": (1e2,)} | dict.fromkeys(("rad", "rad/s", "rad/s^2"), (180 / math.pi,))
"""By unit, what a number is too large by when another unit was meant."""
_BOUNDS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length")
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null", Path: "a path"}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def configuration(cls: type[Class]) -> type[Class]:
    """Makes `cls` a frozen dataclass that checks its values: one that its annotation does not allow is a `ConfigError`.

    `__post_init__` checks what joins several fields; each of them is valid by then.
    """
    made: Any = pydantic_dataclass(frozen=True, config=_STRICT)(cls)
    checked = made.__init__

    @wraps(checked)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            checked(self, *args, **kwargs)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if not first["loc"]:  # a ValueError of `__post_init__`
                raise first.get("ctx", {})["error"] from None
            raise ConfigError(_refused(made, dict(zip(names(made), args, strict=False)) | kwargs, first["loc"])) from None

    made.__init__ = __init__
    return made


@lru_cache(maxsize=512)
def adapter(hint: Any) -> TypeAdapter:
    """Reads values that `hint` allows. From JSON, a list becomes a tuple and text a path or enum, but "1" never becomes 1, nor 1.0."""
    return TypeAdapter(hint, config=_STRICT)


def names(cls: type) -> tuple[str, ...]:
    """The keys of a configuration."""
    return tuple(part.name for part in fields(cls))


def blocks(hint: Any) -> list[Any]:
    """The dataclasses that a type can hold, in order."""
    hint = loaded(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [] if get_origin(hint) is Literal else [cls for part in get_args(hint) for cls in blocks(part)]


def loaded(hint: Any) -> Any:
    """`hint`, or what it is that comes `Later`."""
    later = [mark for mark in unpacked(hint)[1] if isinstance(mark, Later)]
    return later[0].load() if later else hint


def unpacked(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type, and what is said about it."""
    if get_origin(hint) is not Annotated:
        return hint, ()
    base, *marks = get_args(hint)
    return base, (*marks, *(inner for mark in marks if isinstance(mark, FieldInfo) for inner in mark.metadata))


def unit(hint: Any) -> str:
    """The unit that is told anywhere in `hint`, "" where none is."""
    base, marks = unpacked(hint)
    told = [mark.name for mark in marks if isinstance(mark, Unit)]
    return told[0] if told else next(filter(None, map(unit, get_args(base) if get_origin(base) is not Literal else ())), "")


def describe(hint: Any) -> str:
    """What a value may be, in words: "a number above 0 and at most 1 s"."""
    base, marks = unpacked(loaded(hint))
    for mark in marks:
        if isinstance(mark, Words):
            return mark.text
    origin = get_origin(base)
    parts: Any = get_args(base)
    if isinstance(base, type) and is_dataclass(base):
        return f"a block with {', '.join(names(base))}"
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}" if len(parts) > 1 else str(parts[0])
    if isinstance(base, type) and issubclass(base, Enum):
        return f"one of {', '.join(str(member.value) for member in base)}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, parts))
    if origin in (dict, Mapping):
        return f"names, each with {describe(parts[1])}"
    if origin in (tuple, list, Sequence):
        if len(parts) == 1 or parts[-1] is Ellipsis:
            return f"{' '.join(['a list', *_bounds(marks)])}, each item {describe(parts[0])}"
        return f"a list of {len(parts)} ({', '.join(dict.fromkeys(map(describe, parts)))})"
    counted = unit(hint) if unit(hint) != "1" else ""
    return " ".join(filter(None, [_WORDS.get(base, str(base)), *_bounds(marks), counted, "or .inf" * (OR_INF in marks)]))


def sentence(name: str, value: Any, hint: Any, steps: Sequence[Any]) -> str:
    """That `value`, called `name`, is not what `hint` allows; or that what lies `steps` inside it is not."""
    for step in steps:
        value, hint = value[step], _item(hint, step)
    counted = unit(hint) if isinstance(value, int | float) and not isinstance(value, bool) else ""
    said = f" {counted}" if counted not in ("", "1") else ""
    allowed = describe(hint)
    if isinstance(value, float) and not math.isfinite(value):
        allowed = allowed.replace("a number", "a finite number", 1)
    return f"{name} is {shown(value)}{said}; allowed is {allowed}{_meant(value, hint, counted)}"


def steps_into(value: Any, loc: Sequence[Any]) -> Iterator[Any]:
    """The parts of a pydantic location that lead into `value`; the others name kinds of a union."""
    for part in loc:
        try:
            value = value[part]
        except (TypeError, KeyError, IndexError):
            continue
        yield part


def did_you_mean(name: str, allowed: Sequence[str], prefix: Sequence[str] = ()) -> str:
    near = get_close_matches(name[:100], allowed, n=1)
    return f"; did you mean {'.'.join((*prefix, near[0]))}?" if near else ""


def shown(value: Any) -> str:
    """`value` on one line of bounded length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no whole number of more than 4,300 digits
        return f"a {type(value).__name__} that is too large to be shown"
    text = " ".join(text.splitlines())  # an array's goes over several
    return text if len(text) <= 100 else f"{text[:60]} ... {text[-20:]}"


def _refused(cls: type, given: Mapping[str, Any], loc: Sequence[Any]) -> str:
    """What is wrong with the arguments `given` to a `cls`, at `loc`."""
    name = loc[0]
    name = names(cls)[name] if isinstance(name, int) else name
    hint, said = get_type_hints(cls, include_extras=True).get(name), f"{cls.__name__}.{name}"
    if hint is None:
        return f"{cls.__name__} has no {name}{did_you_mean(name, names(cls))}; it has {', '.join(names(cls))}"
    if name not in given:
        return f"{said} is missing; allowed is {describe(hint)}"
    steps = tuple(steps_into(given[name], loc[1:]))
    return sentence(said + "".join(f"[{step!r}]" for step in steps), given[name], hint, steps)


def _bounds(marks: Sequence[Any]) -> list[str]:
    """The bounds among `marks`, in words."""
    bounds = {name: _number(getattr(mark, name)) for mark in marks for name in _BOUNDS if getattr(mark, name, None) is not None}
    least, most = bounds.get("ge", bounds.get("min_length")), bounds.get("le", bounds.get("max_length"))
    if least is not None and most is not None:
        said = [f"of {least} to {most}"]
    else:
        pairs = {"of at least": least, "above": bounds.get("gt"), "at most": most, "below": bounds.get("lt")}
        said = [f"{word} {bound}" for word, bound in pairs.items() if bound is not None]
    if "multiple_of" in bounds:
        said.append(f"a multiple of {bounds['multiple_of']}")
    return [" and ".join(said)] if said else []


def _number(bound: float) -> str:
    return f"{int(bound):,}" if float(bound).is_integer() else str(bound)


def _meant(value: Any, hint: Any, counted: str) -> str:
    """The value that was probably meant, where a slip of the unit explains it."""
    if counted and abs(value) < 1e12:
        for factor in _SLIPS.get(counted, ()):
            meant = float(f"{value / factor:.3g}")
            try:
                adapter(hint).validate_python(meant)
            except ValidationError:
                continue
            return f"; did you mean {meant:g}?" if meant else ""
    return ""


def _item(hint: Any, step: Any) -> Any:
    """What the item `step` of a list or of names may be."""
    base, _ = unpacked(hint)
    parts: Any = get_args(base)
    if get_origin(base) in (Union, types.UnionType):
        return _item(next((part for part in parts if get_args(unpacked(part)[0])), base), step)
    if get_origin(base) in (dict, Mapping):
        return parts[1]
    return parts[step] if len(parts) > 1 and Ellipsis not in parts else parts[0]
