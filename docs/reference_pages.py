"""A hook of mkdocs: the reference pages, made from the code whenever the site is built, so that they cannot be out of date.

`reference/configuration.md` has every key of every verb's configuration, from the dataclasses and the comments beside their fields;
`reference/command-line.md` the help of every verb; `reference/api/PACKAGE.md` the docstrings of a package, by mkdocstrings.
"""

import ast
import dataclasses
import importlib
import inspect
import io
import re
import sys
import tokenize
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

ROOT = Path(__file__).parents[1]
API = {  # package: what it is for; what stands in its own file is a package of one
    "robo_dream.embodiment": "Arms, cameras, observations and actions. NumPy only.",
    "robo_dream.imagination": "Beliefs, goals, plans, and the protocols of model, cost, proposer and planner.",
    "robo_dream.config": "Configuration files and overrides.",
    "robo_dream.errors": "Every error that the library raises on purpose.",
    "robo_dream.models": "The world model and its checkpoints.",
    "robo_dream.planning": "Search, costs, proposals and the planners.",
    "robo_dream.training": "From datasets to a checkpoint.",
    "robo_dream.data": "Episodes on disk (LeRobotDataset v3.0) and the cache that training reads.",
    "robo_dream.control": "The receding-horizon loop and Cartesian control.",
    "robo_dream.safety": "The guard, limits and emergency keys.",
    "robo_dream.calibration": "Cameras, joints and latency.",
    "robo_dream.recording": "The record of a run. NumPy only.",
    "robo_dream.viewer": "The replay page and exports.",
    "robo_dream.evaluation": "Manifests, results and intervals.",
    "robo_dream.testing": "Conformance suites that ship with the package.",
    "robo_dream.runtime": "Where a configuration becomes objects.",
    "sim": "Environments, oracle dynamics and emulated arms.",
    "hardware": "Drivers of arms and cameras.",
}


def on_config(config: Any) -> Any:
    """The project is imported from this checkout, whatever else is installed."""
    sys.path.insert(0, str(ROOT))
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def pages() -> dict[str, str]:
    """The text of each page by its place in docs/."""
    api = {f"reference/api/{package.replace('.', '-')}.md": _api_page(package, about) for package, about in API.items()}
    return {"reference/configuration.md": configuration_page(), "reference/command-line.md": command_line_page(), **api}


# --- API


def _api_page(package: str, about: str) -> str:
    return "\n\n".join([f"# `{package}`", about, *(f"::: {module}" for module in _modules(package))]) + "\n"


def _modules(package: str) -> list[str]:
    """The modules of a package that have something public; of `sim` and `hardware` those of their folders too."""
    place = ROOT / package.replace(".", "/")
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if _has_public(file)]


def _has_public(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    names = [node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return any(not name.startswith("_") for name in names)


# --- command line


def command_line_page() -> str:
    from robo_dream.cli import main

    parts = [
        "# Command line",
        "One program, a verb each. Settings are written `key=value` and may stand anywhere; every key is in "
        "[configuration](configuration.md). Exit codes: 0 done, 1 something is broken, 2 bad input, 130 interrupted.",
        "| verb | what it does |\n|---|---|\n"
        + "\n".join(f"| [`{verb.name}`](#robo-dream-{verb.name}) | {verb.sentence} |" for verb in main.VERBS),
    ]
    for verb in main.VERBS:
        parser, of_verb = main._parsers(verb.name)
        help_text = (of_verb or parser).format_help()
        parts += [f"## robo-dream {verb.name}", f"```text\n{help_text.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


# --- configuration


def configuration_page() -> str:
    from robo_dream.cli import main

    parts = [
        "# Configuration",
        "A configuration file is YAML: the keys below, nothing else. What it leaves out keeps its default, and an unknown key is an error "
        "that names the nearest known one. On the command line the same keys are written with dots: `planning.planner.num_samples=64`. "
        "Where a key may hold one of several blocks, `kind` says which. `robo-dream VERB --show-config` prints the complete configuration "
        "that a command would use.",
    ]
    sections: dict[type, str] = {}
    for verb in main.VERBS:
        config = getattr(importlib.import_module(f"robo_dream.cli.{verb.name.replace('-', '_')}"), "CONFIG", None)
        if config is not None:
            parts += [f"## {verb.name}", *_block(config)]
            for inner in _reached(config):
                sections.setdefault(inner, "\n\n".join([f"### {inner.__name__}", *_block(inner)]))
    return "\n\n".join([*parts, "## Blocks", *(sections[cls] for cls in sorted(sections, key=lambda cls: cls.__name__))]) + "\n"


def _block(cls: type) -> Iterator[str]:
    """The sentence of a configuration and a table of its keys."""
    if cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}("):
        yield inspect.cleandoc(cls.__doc__)
    hints, comments = get_type_hints(cls, include_extras=True), _comments(cls)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        cells = (f"`{field.name}`", _type_text(hints[field.name]), _default(field), comments.get(field.name, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    yield "\n".join(rows)


def _reached(cls: type) -> Iterator[type]:
    """Every configuration inside `cls`, once."""
    seen: list[type] = []
    queue = [cls]
    while queue:
        for hint in get_type_hints(queue.pop(0), include_extras=True).values():
            for inner in _dataclasses_in(hint):
                if inner not in seen and inner is not cls:
                    seen.append(inner)
                    queue.append(inner)
    yield from seen


def _dataclasses_in(hint: Any) -> Iterator[type]:
    hint = _loaded(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for inner in get_args(hint):
        if not isinstance(inner, str | int | float):
            yield from _dataclasses_in(inner)


def _loaded(hint: Any) -> Any:
    from robo_dream.schema import loaded

    return loaded(hint)


def _type_text(hint: Any) -> str:
    """A type in words; a block links to its section."""
    hint = _loaded(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type_text(args[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if inner is type(None) else _type_text(inner) for inner in args)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if origin is tuple:
        inner = [_type_text(item) for item in args if item is not Ellipsis]
        return f"list of {inner[0]}" if Ellipsis in args else f"[{', '.join(inner)}]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{_type_text(args[0])} to {_type_text(args[1])}"
    names = {Path: "path", str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}
    return names.get(hint) or getattr(hint, "__name__", str(hint))


def _default(field: dataclasses.Field) -> str:
    from robo_dream import config

    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if dataclasses.is_dataclass(value):
        kind = getattr(value, "kind", None)
        return f"kind `{kind}`" if kind else "its defaults"
    if isinstance(value, Mapping) and any(dataclasses.is_dataclass(inner) for inner in value.values()):
        return ", ".join(f"`{name}`" for name in value)
    if isinstance(value, tuple) and any(dataclasses.is_dataclass(inner) for inner in value):
        return f"{len(value)} of them; see `--show-config`"
    plain = config.dump(dataclasses.make_dataclass("One", [("value", Any)])(value))["value"]
    if isinstance(value, Enum):
        plain = value.value
    return f"`{'null' if plain is None else str(plain).lower() if isinstance(plain, bool) else plain}`" if plain != "" else "`''`"


def _comments(cls: type) -> dict[str, str]:
    """What stands behind or, as a string, below each field in the source, those inherited included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            source = inspect.cleandoc("\n" + inspect.getsource(base))
        except OSError:
            continue
        lines = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|fmt:|pyright)", token.string)
        }
        body = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                said = [lines[n] for n in range(node.lineno, (node.end_lineno or node.lineno) + 1) if n in lines]
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
                    said.append(" ".join(inspect.cleandoc(after.value.value).split()))
                if said:
                    found[node.target.id] = " ".join(said)
    return found
