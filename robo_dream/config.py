"""Strict configuration: a YAML file and dotted overrides in, a frozen dataclass out, or an error that names the nearest key.

A configuration is a frozen dataclass of numbers, strings, tuples and other such dataclasses. Where a field may hold one of several
dataclasses, each of them has `kind: Literal["..."]` and the file says which. What a file does not say keeps its default.
YAML is read as version 1.2 reads numbers and booleans: `1e-4` is a number, `yes` and dates are strings, a key given twice is an error.
"""

import difflib
import json
import logging
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from robo_dream.errors import ConfigError, RoboDreamError
from robo_dream.renamed import new_block, new_key, new_value

_log = logging.getLogger(__name__)

Config = TypeVar("Config")
Key = tuple[str, ...]


def load(cls: type[Config], path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration that `path` describes, with overrides such as `planner.num_samples=64` applied.

    Without a path, the defaults and the overrides. An override that changes a `kind` replaces the whole block by the new kind's
    defaults; the other overrides are applied after that, in any order. Raises `ConfigError`.
    """
    document = _read(Path(path)) if path is not None else _Document("the defaults", {}, {})
    document = _override(document, overrides)
    return _block(cls, document.data, (), document, None)


def parse(cls: type[Config], data: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration in `data` (as `dump` gave it) with overrides as in `load`; `source` says in errors where it came from.

    Raises `ConfigError`.
    """
    document = _override(_Document(source, data, {}), overrides)
    return _block(cls, document.data, (), document, None)


def dump(config: Any) -> dict[str, Any]:
    """`config` as plain JSON or YAML values, complete; `parse` and `load` give it back."""
    return _plain(config)


def to_yaml(config: Any) -> str:
    """`config` as the text of a complete configuration file."""
    return yaml.dump(dump(config), Dumper=_Dumper, sort_keys=False, width=120)


@dataclass(frozen=True)
class _Document:
    source: str
    data: Any
    places: Mapping[Key, str]  # where a key was said: "file:line" or "override a.b=1"

    def place(self, key: Key) -> str:
        return next((self.places[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.places), self.source)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_BOOL, _INT = re.compile(r"^(?:true|false)$"), re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^(?:[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.inf|\.nan)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))  # PyYAML's own reads 010 as 8


class _Dumper(yaml.SafeDumper):
    """SafeDumper that also quotes what `_Loader`, but not YAML 1.1, would read as a number."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def _parse_yaml(text: str, source: str, prefix: Key = ()) -> tuple[Any, dict[Key, str]]:
    """The value in `text`, and the place of each of its keys."""
    loader = _Loader(text)
    places: dict[Key, str] = {}

    def value(node: yaml.Node | None, key: Key) -> Any:
        if node is None:
            return None
        places[key] = f"{source}:{node.start_mark.line + 1}"
        if isinstance(node, yaml.SequenceNode):
            return [value(item, (*key, str(i))) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return loader.construct_object(node)
        result: dict[str, Any] = {}
        for name_node, item in node.value:
            name = str(getattr(name_node, "value", ""))
            if name in result:
                line = name_node.start_mark.line + 1
                raise ConfigError(f"{source}:{line}: {_dotted((*key, name))} is given a second time; keep one")
            result[name] = value(item, (*key, name))
            places[(*key, name)] = f"{source}:{name_node.start_mark.line + 1}"
        return result

    try:
        return value(loader.get_single_node(), prefix), places
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    finally:
        loader.dispose()


def _read(path: Path) -> _Document:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        near = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        hint = f"; there {'are' if len(near) > 1 else 'is'} {', '.join(near)}" if near else f"; {path.parent} holds no .yaml file"
        raise ConfigError(f"cannot read configuration {path}: {getattr(error, 'strerror', None) or error}{hint}") from error
    data, places = _parse_yaml(text, str(path))
    return _Document(str(path), {} if data is None else data, places)


def _override(document: _Document, overrides: Sequence[str]) -> _Document:
    """`document` with the overrides put in: changes of kind first, outermost first."""
    parsed = []
    for text in overrides:
        name, equals, value = text.partition("=")
        key = tuple(name.strip().split("."))
        if not equals or not all(key):
            raise ConfigError(f"override {text!r} is not of the form key=value, such as planner.num_samples=64")
        parsed.append((key, _parse_yaml(value, f"override {text!r}")[0], f"override {text}"))
    parsed.sort(key=lambda item: (item[0][-1] != "kind", len(item[0]) if item[0][-1] == "kind" else 0))
    data, places = _copy(document.data), dict(document.places)
    for key, value, place in parsed:
        block = data
        for depth, name in enumerate(key[:-1]):
            if isinstance(block, list) and name.isdecimal() and int(name) < len(block):
                block = block[int(name)]
            elif isinstance(block, dict):
                if block.get(name) is None:
                    block[name] = {}
                block = block[name]
            else:
                raise ConfigError(f"{place}: {_dotted(key[:depth])} is {block!r}, which has no {name!r} inside")
        _assign(block, key, value, place)
        places = {k: v for k, v in places.items() if k[: len(key)] != key} | {key: place}
    return _Document(document.source, data, places)


def _assign(block: Any, key: Key, value: Any, place: str) -> None:
    name = key[-1]
    if isinstance(block, list) and name.isdecimal() and int(name) < len(block):
        block[int(name)] = value
    elif not isinstance(block, dict):
        raise ConfigError(f"{place}: {_dotted(key[:-1])} is {block!r}, which has no {name!r} inside")
    elif name == "kind" and block.get("kind") != value:
        if block and "kind" not in block:
            raise ConfigError(f"{place}: the file gives {_dotted(key[:-1])} without its kind; write the kind there before changing it here")
        block.clear()  # keys of the old kind must not leak into the new one
        block["kind"] = value
    else:
        block[name] = value


def _block(cls: type[Config], data: Any, key: Key, document: _Document, default: Any) -> Config:
    """`data` as a `cls`; what it does not say comes from `default` where that is a `cls`, else from the class."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{document.place(key)}: {_dotted(key)} is {data!r}; expected a block with {', '.join(_names(cls))}")
    data, document = _with_new_names(cls, data, key, document)
    for name in data:
        if name not in _names(cls):
            raise ConfigError(_unknown_key(cls, name, key, document))
    hints, values = get_type_hints(cls, include_extras=True), {}
    for one in fields(cls):  # type: ignore[arg-type]
        if type(default) is cls:
            initial = getattr(default, one.name)
        else:
            initial = one.default_factory() if one.default_factory is not MISSING else one.default
        if one.name in data:
            values[one.name] = _value(hints[one.name], data[one.name], (*key, one.name), document, initial)
        elif initial is not MISSING:
            values[one.name] = initial
        else:
            missing = (*key, one.name)
            raise ConfigError(
                f"{document.place(key)}: {_dotted(missing)} is missing; expected {_describe(hints[one.name])}. "
                f"Write it there, or give {_dotted(missing)}=... on the command line"
            )
    try:
        return cls(**values)
    except (ValueError, RoboDreamError) as error:  # __post_init__ checks
        inside = {place for k, place in document.places.items() if k[: len(key)] == key and place.startswith("override ")}
        where = ", ".join([document.place(key), *sorted(inside - {document.place(key)})])
        raise ConfigError(f"{where}: {_dotted(key)}: {error}") from error


def _with_new_names(cls: type, data: Mapping[str, Any], key: Key, document: _Document) -> tuple[Mapping[str, Any], _Document]:
    """`data` with keys of before renamed; the log says so, once a file."""
    result, places = {}, dict(document.places)
    for name, value in data.items():
        new = new_key(str(name), _names(cls))
        if new is not None:
            if new in data:
                raise ConfigError(f"{document.place((*key, name))}: {_dotted((*key, name))} is now {new}, which is given too; keep {new}")
            _log.warning("%s: %s is now called %s", document.place((*key, name)), _dotted((*key, name)), _dotted((*key, new)))
            places |= {(*key, new, *k[len(key) + 1 :]): place for k, place in places.items() if k[: len(key) + 1] == (*key, name)}
            value = new_block(str(name), value)
        result[new or name] = value
    if "kind" in _names(cls) and isinstance(result.get("kind"), str):
        result["kind"] = new_value(result["kind"], get_args(get_type_hints(cls)["kind"])) or result["kind"]
    return result, _Document(document.source, document.data, places)


def _value(expected: Any, data: Any, key: Key, document: _Document, default: Any) -> Any:
    """`data` as the type `expected`."""
    if get_origin(expected) is Changes:
        return _changes(get_args(expected)[0], data, key, document)
    blocks = _dataclasses(expected)
    if data is None and type(None) in get_args(expected):
        return None
    if blocks and is_dataclass(expected):
        return _block(blocks[0], data, key, document, default)
    origin = get_origin(expected)
    if blocks and origin in (tuple, list, Sequence) and isinstance(data, list):
        item = get_args(expected)[0]
        items = [_value(item, value, (*key, str(i)), document, None) for i, value in enumerate(data)]
        return items if origin is list else tuple(items)
    if blocks and origin in (dict, Mapping) and isinstance(data, Mapping):
        item = get_args(expected)[1]
        return {name: _value(item, value, (*key, name), document, None) for name, value in data.items()}
    if blocks and origin in (Union, types.UnionType):
        return _block(_chosen(blocks, data, key, document, default), data, key, document, default)
    try:
        return _adapter(expected).validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors()[0]
        inner = (*key, *(str(part) for part in first["loc"] if isinstance(part, int)))
        said = f"{first['input']!r} ({type(first['input']).__name__})"
        raise ConfigError(f"{document.place(inner)}: {_dotted(inner)} is {said}; expected {_describe(expected)}") from error


def _chosen(blocks: Sequence[type], data: Any, key: Key, document: _Document, default: Any) -> type:
    """The dataclass that the block's `kind` names; where it names none, the default's."""
    if len(blocks) == 1:
        return blocks[0]
    kinds = {kind: cls for cls in blocks for kind in get_args(get_type_hints(cls)["kind"])}
    if not isinstance(data, Mapping):
        raise ConfigError(f"{document.place(key)}: {_dotted(key)} is {data!r}; expected a block with kind: {' or '.join(kinds)}")
    kind = data.get("kind", getattr(default, "kind", None))
    kind = new_value(str(kind), kinds) or kind
    if kind not in kinds:
        said = "is missing" if kind is None else f"is {kind!r}"
        raise ConfigError(
            f"{document.place((*key, 'kind'))}: {_dotted((*key, 'kind'))} {said}{_did_you_mean(str(kind), list(kinds))}; "
            f"allowed: {', '.join(kinds)}"
        )
    return kinds[kind]


def _unknown_key(cls: type, name: str, key: Key, document: _Document) -> str:
    hint = _did_you_mean(name, _names(cls), prefix=key)
    if not hint:
        same = [_dotted(k) for k in _all_keys(cls, key) if k[-1] == name]
        hint = f"; did you mean {' or '.join(same)}?" if same else ""
    inside = f" in {_dotted(key)}" if key else ""
    return f"{document.place((*key, name))}: unknown key {_dotted((*key, name))}{hint}; allowed{inside}: {', '.join(_names(cls))}"


def _all_keys(cls: type, key: Key) -> list[Key]:
    result: list[Key] = []
    for name, hint in get_type_hints(cls, include_extras=True).items():
        result.append((*key, name))
        for block in _dataclasses(hint) if is_dataclass(hint) or get_origin(hint) in (Union, types.UnionType, Changes) else ():
            result.extend(_all_keys(block, (*key, name)))
    return list(dict.fromkeys(result))


def _did_you_mean(name: str, allowed: Sequence[str], prefix: Key = ()) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    return f"; did you mean {_dotted((*prefix, near[0]))}?" if near else ""


def _names(cls: type) -> tuple[str, ...]:
    return tuple(one.name for one in fields(cls))


def _dataclasses(expected: Any) -> list[Any]:
    """The dataclasses that a type can hold, in order."""
    if isinstance(expected, type) and is_dataclass(expected):
        return [expected]
    return [] if get_origin(expected) is Literal else [cls for part in get_args(expected) for cls in _dataclasses(part)]


def _describe(expected: Any) -> str:
    """A type in words for an error message."""
    if get_origin(expected) is Literal:
        return f"one of {', '.join(str(value) for value in get_args(expected))}"
    if isinstance(expected, type) and issubclass(expected, Enum):
        return f"one of {', '.join(str(member.value) for member in expected)}"
    if get_origin(expected) in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in get_args(expected))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null", Path: "a path"}
    if get_origin(expected) in (tuple, list, Sequence):
        parts = get_args(expected)
        if len(parts) == 1 or parts[-1] is Ellipsis:
            return f"a list, each item {_describe(parts[0])}"
        return f"a list of {len(parts)} ({', '.join(_describe(part) for part in parts)})"
    return words.get(expected, getattr(expected, "__name__", str(expected)))


@lru_cache(maxsize=256)
def _adapter(expected: Any) -> TypeAdapter:
    # JSON mode of strict pydantic: a list becomes a tuple and text a path or enum, but "1" never becomes 1, nor 1.0 or true.
    return TypeAdapter(expected, config=ConfigDict(strict=True, extra="forbid"))


def _plain(value: Any) -> Any:
    if isinstance(value, Changes):
        return _plain(value.data)
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _copy(item) for name, item in data.items()}
    return [_copy(item) for item in data] if isinstance(data, list) else data


def _dotted(key: Key) -> str:
    return ".".join(key) or "the configuration"


# What a file changes of a configuration that comes from elsewhere.


@dataclass(frozen=True)
class Changes(Generic[Config]):
    """Part of a `Config`: what a file or the command line changes of one that comes from elsewhere, such as from a checkpoint.

    A field of type `Changes[Config]` takes any part of a `Config`'s block. Unknown keys are errors when the file is loaded, values
    that cannot be used when `of` is called; both name the line. `dump` gives the part alone.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    source: str = field(default="the defaults", compare=False)
    key: Key = field(default=(), compare=False)  # of this block in its file
    places: Mapping[Key, str] = field(default_factory=dict, compare=False)

    def of(self, base: Config) -> Config:
        """`base` with the changes. Where they change a `kind`, that block is the new kind's defaults before the others are applied.

        Raises `ConfigError`.
        """
        return _block(type(base), self.data, self.key, _Document(self.source, self.data, self.places), base)


def _changes(cls: type, data: Any, key: Key, document: _Document) -> Changes:
    """`data` as changes of a `cls`; raises `ConfigError` for keys that no `cls` has."""
    data = {} if data is None else data
    _require_known(cls, data, key, document)
    places = {k: place for k, place in document.places.items() if k[: len(key)] == key[: len(k)]}
    return Changes(data, document.source, key, places)


def _require_known(expected: Any, data: Any, key: Key, document: _Document) -> None:
    """Raises `ConfigError` for a key in `data` that no configuration of the type `expected` has."""
    blocks = _dataclasses(expected)
    if not blocks or get_origin(expected) in (tuple, list, Sequence, dict, Mapping):
        return
    if not isinstance(data, Mapping):
        raise ConfigError(f"{document.place(key)}: {_dotted(key)} is {data!r}; expected a block with {', '.join(_names(blocks[0]))}")
    block = _chosen(blocks, data, key, document, None) if "kind" in data else None
    for name, value in data.items():
        having = [cls for cls in ([block] if block else blocks) if name in _names(cls) or new_key(str(name), _names(cls))]
        if not having:
            raise ConfigError(_unknown_key(block or blocks[0], name, key, document))
        known = name if name in _names(having[0]) else new_key(str(name), _names(having[0]))
        _require_known(get_type_hints(having[0], include_extras=True)[str(known)], value, (*key, name), document)
