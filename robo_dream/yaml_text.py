"""Reads YAML of strangers: plain values and the line of every key, or one `ConfigError`.

YAML is read as version 1.2 reads numbers and booleans: `1e-4` is a number, `yes` and dates are text, a key given twice is an error.
Anchors, aliases and tags are refused, and so is a file that is too large, nests too deep or is no file, before it costs time.
"""

import re
import stat
from pathlib import Path
from typing import Any

import yaml

from robo_dream.errors import ConfigError

Key = tuple[str, ...]

MAX_BYTES = 100_000  # a configuration has about 3,000
MAX_DEPTH = 20  # the deepest of ours has 7
_INT64 = 2**63


class _Refused(yaml.MarkedYAMLError):
    """YAML that others may read, and we do not."""

    def __init__(self, problem: str, mark: yaml.Mark) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, and without what makes a small text large."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused("anchors (&) and aliases (*) are not read; write the value out", event.start_mark)
        if getattr(event, "tag", None):
            raise _Refused(f"the tag {event.tag} is not read; write a plain value", event.start_mark)
        if self.depth > MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_BOOL, _INT = re.compile(r"^(?:true|false)$"), re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^(?:[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.inf|\.nan)$", re.ASCII)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:  # PyYAML's own reads 010 as 8
    if len(node.value) > 20 or not -_INT64 <= int(node.value) < _INT64:
        raise _Refused(f"a whole number of {len(node.value)} digits is too large", node.start_mark)
    return int(node.value)


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in node.value):
        raise _Refused("text with a NUL character or half of one is not read", node.start_mark)
    return node.value


_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:str", _text)


class Dumper(yaml.SafeDumper):
    """SafeDumper that also quotes what `parse_yaml`, but not YAML 1.1, would read as a number, and never writes an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
Dumper.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def read_yaml(path: Path) -> tuple[Any, dict[Key, str]]:
    """The value in a file, and the place ("file:line") of each of its keys. Raises `ConfigError`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"configuration {path} is a {'folder' if path.is_dir() else 'device or pipe'}; give a YAML file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"configuration {path} has {path.stat().st_size} bytes; allowed are {MAX_BYTES}. Is it another file?")
        text = raw.decode("utf-8")
    except (OSError, ValueError) as error:
        near = sorted(str(p) for p in path.parent.glob("*.yaml"))[:20] if path.parent.is_dir() else []
        hint = f"; there {'are' if len(near) > 1 else 'is'} {', '.join(near)}" if near else f"; {path.parent} holds no .yaml file"
        raise ConfigError(f"cannot read configuration {path}: {getattr(error, 'strerror', None) or error}{hint}") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> tuple[Any, dict[Key, str]]:
    """The value in `text`, and the place ("source:line") of each of its keys. Raises `ConfigError`."""
    places: dict[Key, str] = {}

    def value(node: yaml.Node | None, key: Key) -> Any:
        if node is None:
            return None
        places.setdefault(key, f"{source}:{node.start_mark.line + 1}")
        if isinstance(node, yaml.SequenceNode):
            return [value(item, (*key, str(i))) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return loader.construct_object(node)
        result: dict[str, Any] = {}
        for name_node, item in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise _Refused("a key must be a word", name_node.start_mark)
            name = _text(loader, name_node)
            if name in result:
                raise _Refused(f"{'.'.join((*key, name))} is given a second time; keep one", name_node.start_mark)
            places[(*key, name)] = f"{source}:{name_node.start_mark.line + 1}"
            result[name] = value(item, (*key, name))
        return result

    try:
        loader = _Loader(text)
        return value(loader.get_single_node(), ()), places
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        said = "" if isinstance(error, _Refused) else "not valid YAML: "
        raise ConfigError(f"{where}: {said}{getattr(error, 'problem', None) or getattr(error, 'reason', error)}") from error
