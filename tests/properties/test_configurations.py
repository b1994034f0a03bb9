"""Whatever is written into a configuration, it is used as written or refused in one sentence: drawn from the classes themselves."""

import importlib
import math
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hardware
import robo_dream
import sim
from robo_dream import config
from robo_dream.config import Changes
from robo_dream.errors import ConfigError
from robo_dream.schema import loaded, names, unpacked
from robo_dream.yaml_text import Dumper

VERBS = ("PlanConfig", "CollectConfig", "EvaluateConfig", "TrainConfig", "RunConfig", "CalibrateConfig", "BenchConfig", "ServeConfig")
HOSTILE: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, 0, -1, -3, 0.5, 1e308, -1e308, 1e-320, 2**62, "", "x", "../../etc/passwd", "1e9", "nan", None, True,
    [], {}, [1], [math.nan] * 3, {"a": 1}, {"kind": "x"}, {"kind": ["x"]}, "mps", "a b\n",
)  # fmt: skip
EXAMPLES = 300


@cache
def all_configurations() -> tuple[type, ...]:
    """Every class that is made by `@configuration`, and those of the verbs."""
    for package in (robo_dream, sim, hardware):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".checks." not in module.name:
                try:
                    importlib.import_module(module.name)
                except ImportError:  # an extra that is not installed here
                    continue
    found = {
        value: None
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in ("robo_dream", "sim", "hardware")
        for value in list(vars(module).values())
        if isinstance(value, type) and is_dataclass(value) and (hasattr(value, "__pydantic_validator__") or value.__name__ in VERBS)
    }
    return tuple(found)


@cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    """Plain values for a field: most of them such as `hint` allows, some not."""
    return st.integers(0, 15).flatmap(lambda chance: st.sampled_from(HOSTILE) if chance == 7 else allowed(hint))


@cache
def allowed(hint: Any) -> st.SearchStrategy[Any]:
    base, marks = unpacked(loaded(hint))
    told = ("ge", "gt", "le", "lt", "pattern")
    bounds = {name: getattr(mark, name) for mark in marks for name in told if getattr(mark, name, None) is not None}
    least, most = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    origin, parts = get_origin(base), get_args(base)
    if origin is Literal:
        return st.sampled_from(parts)
    if origin in (Union, UnionType):
        return st.one_of(*(allowed(part) for part in parts))
    if origin is tuple and parts[-1] is not Ellipsis:
        return st.tuples(*(values(part) for part in parts)).map(list)
    if origin in (tuple, list, Sequence):
        return st.lists(values(parts[0]), max_size=3)
    if origin in (dict, Mapping):
        return st.dictionaries(st.sampled_from(("push", "reach", "random", "front", "..")), values(parts[1]), max_size=2)
    if origin is Changes:
        return block(parts[0])
    if isinstance(base, type) and is_dataclass(base):
        return block(base)
    if isinstance(base, type) and issubclass(base, Enum):
        return st.sampled_from([member.value for member in base])
    if base is bool:
        return st.booleans()
    if base is int:
        return st.integers(-9 if least is None else least, 99 if most is None else min(most, 2**63 - 1))
    if base is float:
        low, high = -1e9 if least is None else float(least), 1e9 if most is None else float(most)
        return st.floats(low, high) | st.sampled_from((low, high))
    if base is type(None):
        return st.none()
    assert base in (str, Path), f"the test has no values for {hint}"
    return st.from_regex(bounds["pattern"]) if "pattern" in bounds else st.sampled_from(("cpu", "front", "runs/x", "MJPG", ""))


@cache
def block(cls: type) -> st.SearchStrategy[dict[str, Any]]:
    """Some keys of a `cls`, and all that it requires."""
    hints = get_type_hints(cls, include_extras=True)
    required = {p.name: values(hints[p.name]) for p in fields(cls) if p.default is MISSING and p.default_factory is MISSING}
    required |= {name: allowed(hints[name]) for name in hints if name == "kind"}
    others = [name for name in hints if name not in required]
    chosen = st.lists(st.sampled_from(others), max_size=4, unique=True) if others else st.just([])
    return chosen.flatmap(lambda names: st.fixed_dictionaries(required | {name: values(hints[name]) for name in names}))


@pytest.mark.parametrize("verb", VERBS)
@settings(max_examples=EXAMPLES // len(VERBS) + 1, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_a_file_is_used_as_it_is_written_or_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, verb: str, data: st.DataObject
) -> None:
    cls = next(cls for cls in all_configurations() if cls.__name__ == verb)
    path = tmp_path_factory.getbasetemp() / f"{verb}.yaml"
    path.write_text(yaml.dump(data.draw(block(cls)), Dumper=Dumper, allow_unicode=True), encoding="utf-8")
    try:
        made = config.load(cls, path)
    except ConfigError as error:
        assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 2000
    else:
        assert config.parse(cls, config.dump(made), "a record") == made
        path.write_text(config.to_yaml(made), encoding="utf-8")
        assert config.load(cls, path) == made


def test_a_value_given_in_python_is_kept_or_refused_in_one_sentence() -> None:
    wrongly_kept = []
    for cls in (cls for cls in all_configurations() if hasattr(cls, "__pydantic_validator__")):
        others = required(cls)
        for name in names(cls):
            for value in HOSTILE:
                try:
                    made = cls(**others | {name: value})
                except ConfigError as error:
                    assert "\n" not in str(error) and len(str(error)) < 2000
                else:
                    if isinstance(value, float) and math.isnan(getattr(made, name)):
                        wrongly_kept.append(f"{cls.__name__}.{name}")
    assert not wrongly_kept


def required(cls: type) -> dict[str, Any]:
    """Allowed values of the fields that have no default; no two numbers are equal, and the earlier is the smaller."""
    hints = get_type_hints(cls, include_extras=True)
    return {p.name: example(hints[p.name], i) for i, p in enumerate(fields(cls)) if p.default is MISSING and p.default_factory is MISSING}


def example(hint: Any, place: int) -> Any:
    base, _ = unpacked(hint)
    if isinstance(base, type) and is_dataclass(base):
        return base(**required(base))
    if get_origin(base) is tuple:
        return tuple(example(part, place) for part in get_args(base) if part is not Ellipsis)
    return {str: "front", int: 1 + place, float: 0.1 + 0.1 * place, Path: Path("x")}[base]
