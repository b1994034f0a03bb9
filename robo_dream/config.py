"""Strict configuration: a YAML file and dotted overrides in, a configuration out, or an error that names the nearest key.

What a configuration is, see `robo_dream.schema`. Where a field may hold one of several dataclasses, each of them has
`kind: Literal["..."]` and the file says which. What a file does not say keeps its default.
"""

import json
import logging
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import ValidationError

from robo_dream.errors import ConfigError, RoboDreamError
from robo_dream.files import packaged
from robo_dream.renamed import is_off, new_block, new_key, new_value
from robo_dream.schema import adapter, blocks, describe, did_you_mean, loaded, names, sentence, shown, steps_into, unpacked
from robo_dream.yaml_text import MAX_DEPTH, Dumper, Key, parse_yaml, read_yaml

_log = logging.getLogger(__name__)

Config = TypeVar("Config")


def load(cls: type[Config], path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration that `path` describes, with overrides such as `planner.num_samples=64` applied.

    Without a path, the defaults and the overrides. An override that changes a `kind` replaces the whole block by the new kind's
    defaults; the other overrides are applied after that, in their order: of two for one key the last one counts. Raises `ConfigError`.
    """
    document = _Document("the defaults", {}, {})
    if path is not None:
        data, places = read_yaml(packaged(path))
        document = _Document(str(path), {} if data is None else data, places)
    document = _override(document, overrides)
    return _block(cls, document.data, (), document, None)


def parse(cls: type[Config], data: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration in `data` (as `dump` gave it) with overrides as in `load`; `source` says in errors where it came from.

    Raises `ConfigError`.
    """
    try:
        document = _override(_Document(source, data, {}), overrides)
        return _block(cls, document.data, (), document, None)
    except RecursionError:
        raise ConfigError(f"{source}: nested too deep for a configuration") from None


def dump(config: Any) -> dict[str, Any]:
    """`config` as plain JSON or YAML values, complete; `parse` and `load` give it back."""
    return _plain(config)


def to_yaml(config: Any) -> str:
    """`config` as the text of a complete configuration file."""
    return yaml.dump(dump(config), Dumper=Dumper, sort_keys=False, width=120)


@dataclass(frozen=True)
class Typed:
    """One override, and where it was given."""

    key: Key
    value: Any
    place: str


@dataclass(frozen=True)
class _Document:
    source: str
    data: Any
    places: Mapping[Key, str]  # where a key was said: "file:line" or "override a.b=1"
    typed: "tuple[Typed, ...]" = ()

    def place(self, key: Key) -> str:
        return next((self.places[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.places), self.source)


def _override(document: _Document, overrides: Sequence[str]) -> _Document:
    """`document` with the overrides put in: changes of kind first, outermost first."""
    if not overrides:
        return document
    parsed = []
    for text in overrides:
        name, equals, value = text.partition("=")
        key = tuple(name.strip().split("."))
        if not equals or not all(key) or len(key) > MAX_DEPTH:
            raise ConfigError(f"override {shown(text)} is not of the form key=value, such as planner.num_samples=64")
        place = f"override {text if len(text) <= 100 and text.isprintable() else shown(text)}"
        parsed.append((key, parse_yaml(value, place)[0], place))
    parsed.sort(key=lambda item: (item[0][-1] != "kind", len(item[0]) if item[0][-1] == "kind" else 0))
    data, places = _copy(document.data), dict(document.places)
    for key, value, place in parsed:
        block = data
        for depth, name in enumerate(key[:-1]):
            if _is_index(name, block):
                block = block[int(name)]
            elif isinstance(block, dict):
                if block.get(name) is None:
                    block[name] = {}
                block = block[name]
            else:
                raise ConfigError(f"{place}: {_dotted(key[:depth])} is {shown(block)}, which has no {shown(name)} inside")
        _assign(block, key, value, place)
        places = {k: v for k, v in places.items() if k[: len(key)] != key} | {key: place}
    return _Document(document.source, data, places, tuple(Typed(*one) for one in parsed))


def _assign(block: Any, key: Key, value: Any, place: str) -> None:
    name = key[-1]
    if _is_index(name, block):
        block[int(name)] = value
    elif not isinstance(block, dict):
        raise ConfigError(f"{place}: {_dotted(key[:-1])} is {shown(block)}, which has no {shown(name)} inside")
    elif name == "kind" and block.get("kind") != value:
        if block and "kind" not in block:
            raise ConfigError(f"{place}: the file gives {_dotted(key[:-1])} without its kind; write the kind there before changing it here")
        block.clear()  # keys of the old kind must not leak into the new one
        block["kind"] = value
    else:
        block[name] = value


def _is_index(name: str, block: Any) -> bool:
    return isinstance(block, list) and name.isdecimal() and len(name) < 9 and int(name) < len(block)


def _block(cls: type[Config], data: Any, key: Key, document: _Document, default: Any) -> Config:
    """`data` as a `cls`; what it does not say comes from `default` where that is a `cls`, else from the class."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{document.place(key)}: {_dotted(key)} is {shown(data)}; expected {describe(cls)}")
    data, document = _with_newnames(cls, data, key, document)
    for name, value in data.items():
        if name not in names(cls) and not is_off(name, value):
            raise ConfigError(_unknown_key(cls, name, key, document))
    hints, values = get_type_hints(cls, include_extras=True), {}
    for part in fields(cls):  # type: ignore[arg-type]
        if type(default) is cls:
            initial = getattr(default, part.name)
        else:
            initial = part.default_factory() if part.default_factory is not MISSING else part.default
        if part.name in data:
            values[part.name] = _value(hints[part.name], data[part.name], (*key, part.name), document, initial)
        elif initial is not MISSING:
            values[part.name] = initial
        else:
            missing = (*key, part.name)
            raise ConfigError(
                f"{document.place(key)}: {_dotted(missing)} is missing; expected {describe(hints[part.name])}. "
                f"Write it there, or give {_dotted(missing)}=... on the command line"
            )
    try:
        return cls(**values)
    except (ValueError, RoboDreamError) as error:  # __post_init__ checks
        inside = {place for k, place in document.places.items() if k[: len(key)] == key and place.startswith("override ")}
        where = ", ".join([document.place(key), *sorted(inside - {document.place(key)})])
        raise ConfigError(f"{where}: {_dotted(key)}: {error}") from error


def _with_newnames(cls: type, data: Mapping[str, Any], key: Key, document: _Document) -> tuple[Mapping[str, Any], _Document]:
    """`data` with keys of before renamed; the log says so, once a file."""
    result, places = {}, dict(document.places)
    for name, value in data.items():
        new = new_key(str(name), names(cls))
        if new is not None:
            if new in data:
                raise ConfigError(f"{document.place((*key, name))}: {_dotted((*key, name))} is now {new}, which is given too; keep {new}")
            _log.warning("%s: %s is now called %s", document.place((*key, name)), _dotted((*key, name)), _dotted((*key, new)))
            places |= {(*key, new, *k[len(key) + 1 :]): place for k, place in places.items() if k[: len(key) + 1] == (*key, name)}
            value = new_block(str(name), value)
        result[new or name] = value
    if "kind" in names(cls) and isinstance(result.get("kind"), str):
        result["kind"] = new_value(result["kind"], get_args(get_type_hints(cls)["kind"])) or result["kind"]
    return result, replace(document, places=places)


def _value(hint: Any, data: Any, key: Key, document: _Document, default: Any) -> Any:
    """`data` as what `hint` allows."""
    hint = loaded(hint)
    base, _ = unpacked(hint)
    classes, origin, parts = blocks(base), get_origin(base), get_args(base)
    if origin is Changes:
        return _changes(parts[0], data, key, document)
    if data is None and type(None) in parts:
        return None
    if classes and is_dataclass(base):
        return _block(classes[0], data, key, document, default)
    if classes and origin in (tuple, list, Sequence) and isinstance(data, list):
        items = [_value(parts[0], value, (*key, str(i)), document, None) for i, value in enumerate(data)]
        return items if origin is list else tuple(items)
    if classes and origin in (dict, Mapping) and isinstance(data, Mapping):
        return {name: _value(parts[1], value, (*key, name), document, None) for name, value in data.items()}
    is_block = isinstance(data, Mapping) or all(part is type(None) or blocks(part) for part in parts)
    if classes and origin in (Union, types.UnionType) and is_block:
        return _block(_chosen(classes, data, key, document, default), data, key, document, default)
    try:
        return adapter(hint).validate_json(json.dumps(data))
    except ValidationError as error:
        steps = tuple(steps_into(data, error.errors(include_url=False)[0]["loc"]))
        inner = (*key, *map(str, steps))
        raise ConfigError(f"{document.place(inner)}: {sentence(_dotted(inner), data, hint, steps)}") from error


def _chosen(classes: Sequence[type], data: Any, key: Key, document: _Document, default: Any) -> type:
    """The dataclass that the block's `kind` names; where it names none, the default's."""
    if len(classes) == 1:
        return classes[0]
    kinds = {kind: cls for cls in classes for kind in get_args(get_type_hints(cls)["kind"])}
    if not isinstance(data, Mapping):
        raise ConfigError(f"{document.place(key)}: {_dotted(key)} is {shown(data)}; expected a block with kind: {' or '.join(kinds)}")
    kind = data.get("kind", getattr(default, "kind", None))
    kind = new_value(kind, kinds) or kind if isinstance(kind, str) else kind
    if not isinstance(kind, str) or kind not in kinds:
        said = "is missing" if kind is None else f"is {shown(kind)}"
        raise ConfigError(
            f"{document.place((*key, 'kind'))}: {_dotted((*key, 'kind'))} {said}{did_you_mean(str(kind), list(kinds))}; "
            f"allowed: {', '.join(kinds)}"
        )
    return kinds[kind]


def _unknown_key(cls: type, name: str, key: Key, document: _Document) -> str:
    hint = did_you_mean(name, names(cls), prefix=key)
    if not hint:
        same = [_dotted(k) for k in _all_keys(cls, key) if k[-1] == name]
        hint = f"; did you mean {' or '.join(same)}?" if same else ""
    inside = f" in {_dotted(key)}" if key else ""
    return f"{document.place((*key, name))}: unknown key {_dotted((*key, name))}{hint}; allowed{inside}: {', '.join(names(cls))}"


def _all_keys(cls: type, key: Key) -> list[Key]:
    result: list[Key] = []
    for name, hint in get_type_hints(cls, include_extras=True).items():
        hint = unpacked(loaded(hint))[0]
        result.append((*key, name))
        for block in blocks(hint) if is_dataclass(hint) or get_origin(hint) in (Union, types.UnionType, Changes) else ():
            result.extend(_all_keys(block, (*key, name)))
    return list(dict.fromkeys(result))


def _plain(value: Any) -> Any:
    if isinstance(value, Changes):
        return _plain(value.data)
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
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
    name = ".".join(key)
    return (name if name.isprintable() and len(name) <= 200 else shown(name)) or "the configuration"


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
    typed: tuple[Typed, ...] = field(default=(), compare=False)  # every override of the configuration that this is part of, in order

    def of(self, base: Config) -> Config:
        """`base` with the changes. Where they change a `kind`, that block is the new kind's defaults before the others are applied.

        Raises `ConfigError`.
        """
        return _block(type(base), self.data, self.key, _Document(self.source, self.data, self.places), base)


def typed_again(config: Config, typed: Sequence[Typed], keys: Sequence[Key]) -> Config:
    """`config` with those overrides once more that lie in the blocks `keys`, each of which is all or part of a `Config`.

    For blocks that are laid over each other, each with what a file and the command line say of it: so what is typed wins over any
    file, and what is typed last over what was typed before. Raises `ConfigError`.
    """
    for one in typed:
        for key in keys:
            common = min(len(key), len(one.key))
            if one.key[:common] != key[:common]:
                continue
            data = one.value
            for name in key[common:]:  # a whole block was typed, of which this is part
                data = data.get(name) if isinstance(data, Mapping) else None
            for name in reversed(one.key[common:]):
                data = {name: data}
            if data is not None:
                config = _block(type(config), data, key, _Document(one.place, data, {one.key: one.place}), config)
    return config


def _changes(cls: type, data: Any, key: Key, document: _Document) -> Changes:
    """`data` as changes of a `cls`; raises `ConfigError` for keys that no `cls` has."""
    data = {} if data is None else data
    _require_known(cls, data, key, document)
    places = {k: place for k, place in document.places.items() if k[: len(key)] == key[: len(k)]}
    return Changes(data, document.source, key, places, document.typed)


def _require_known(expected: Any, data: Any, key: Key, document: _Document) -> None:
    """Raises `ConfigError` for a key in `data` that no configuration of the type `expected` has."""
    classes, (base, _) = blocks(expected), unpacked(expected)
    if not classes or get_origin(base) in (tuple, list, Sequence, dict, Mapping) or (data is None and type(None) in get_args(base)):
        return
    if not isinstance(data, Mapping):
        raise ConfigError(f"{document.place(key)}: {_dotted(key)} is {shown(data)}; expected {describe(classes[0])}")
    block = _chosen(classes, data, key, document, None) if "kind" in data else None
    for name, value in data.items():
        having = [cls for cls in ([block] if block else classes) if name in names(cls) or new_key(str(name), names(cls))]
        if not having:
            raise ConfigError(_unknown_key(block or classes[0], name, key, document))
        known = name if name in names(having[0]) else new_key(str(name), names(having[0]))
        _require_known(get_type_hints(having[0], include_extras=True)[str(known)], value, (*key, name), document)
