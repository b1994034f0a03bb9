"""Configuration files: what is said is what is used, and what cannot be used is answered with what can."""

import math
import os
import pickle
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from robo_dream import config
from robo_dream.errors import ConfigError, ContractError
from robo_dream.schema import Unit, configuration
from robo_dream.yaml_text import parse_yaml


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@configuration
class Cem:
    kind: Literal["cem"] = "cem"
    num_samples: Annotated[int, Field(ge=1)] = 64
    num_elites: Annotated[int, Field(ge=1)] = 1
    std: Annotated[float, Field(ge=0, le=1), Unit("m")] = 0.5

    def __post_init__(self) -> None:
        if self.num_elites > self.num_samples:
            raise ContractError(f"num_elites is {self.num_elites}; there are {self.num_samples} samples")


@configuration
class Mppi:
    kind: Literal["mppi"] = "mppi"
    num_samples: int = 32
    temperature: float = 1.0


@configuration
class View:
    name: str
    size: tuple[int, int] = (64, 64)


@configuration
class Run:
    checkpoint: Path
    planner: Annotated[Cem | Mppi, Field(discriminator="kind")] = field(default_factory=lambda: Cem(std=0.25))
    views: tuple[View, ...] = ()
    colour: Colour = Colour.RED
    seed: int | None = None
    weights: dict[str, float] = field(default_factory=dict)
    record: bool = True


FILE = """\
checkpoint: model.safetensors   # line 1
planner:
  kind: cem
  num_samples: 128
views:
  - {name: front, size: [64, 48]}
  - name: side
colour: blue
weights: {goal: 1, reach: 1e-4}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(FILE)
    return path


def message(*overrides: str, path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(Run, path, overrides)
    return str(caught.value)


def test_a_file_becomes_the_dataclass_it_describes(path: Path) -> None:
    assert config.load(Run, path, ()) == Run(
        checkpoint=Path("model.safetensors"),
        planner=Cem(num_samples=128, std=0.25),
        views=(View("front", (64, 48)), View("side")),
        colour=Colour.BLUE,
        weights={"goal": 1.0, "reach": 1e-4},
    )


def test_overrides_change_single_values_wherever_they_are(path: Path) -> None:
    run = config.load(Run, path, ("planner.num_samples=7", "views.1.size=[8, 9]", "seed=3", "record=false", "weights.lift=.5"))
    assert isinstance(run.planner, Cem) and run.planner.num_samples == 7
    assert run.views == (View("front", (64, 48)), View("side", (8, 9)))
    assert (run.seed, run.record, run.weights["lift"], run.weights["goal"]) == (3, False, 0.5, 1.0)


def test_an_override_alone_keeps_the_other_defaults_of_its_block() -> None:
    assert config.load(Run, None, ("checkpoint=a", "planner.num_samples=7")).planner == Cem(num_samples=7, std=0.25)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_changing_kind_drops_the_old_block_in_any_order_of_overrides(path: Path, order: tuple[int, int]) -> None:
    overrides = ("planner.kind=mppi", "planner.temperature=2")
    assert config.load(Run, path, [overrides[i] for i in order]).planner == Mppi(temperature=2.0)  # 32, not the file's 128


def test_naming_the_same_kind_again_keeps_the_block(path: Path) -> None:
    assert config.load(Run, path, ("planner.kind=cem",)).planner == Cem(num_samples=128, std=0.25)


def test_an_unknown_key_names_the_line_the_nearest_key_and_the_allowed_ones(path: Path) -> None:
    path.write_text(FILE.replace("num_samples", "samplez_num"))
    said = message(path=path)
    assert f"{path}:4" in said and "planner.samplez_num" in said
    path.write_text(FILE.replace("num_samples", "num_samplez"))
    said = message(path=path)
    assert "did you mean planner.num_samples?" in said and "allowed in planner: kind, num_samples, num_elites, std" in said


def test_an_unknown_key_in_an_override_names_the_override(path: Path) -> None:
    said = message("planner.temprature=1", "planner.kind=mppi", path=path)
    assert "override planner.temprature=1" in said and "did you mean planner.temperature?" in said


def test_a_key_at_the_wrong_level_is_told_where_it_belongs(path: Path) -> None:
    assert "did you mean planner.num_samples?" in message("num_samples=3", path=path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("planner.num_samples=many", "a whole number"),
        ("planner.num_samples=1.5", "a whole number"),
        ("planner.num_samples=true", "a whole number"),
        ("planner.std=wide", "a number"),
        ("record=1", "true or false"),
        ("record=yes", "true or false"),
        ("colour=green", "one of red, blue"),
        ("seed=x", "a whole number or null"),
        ("views.0.size=[1, 2, 3]", "a list of 2"),
        ("views.0.name=7", "text"),
        ("planner=3", "expected a block with kind: cem or mppi"),
        ("planner.num_samples=0", "planner.num_samples is 0; allowed is a whole number of at least 1"),
        ("planner.num_elites=129", "planner: num_elites is 129; there are 128 samples"),
        ("planner.std=20", "planner.std is 20 m; allowed is a number of 0 to 1 m; did you mean 0.02?"),
        ("planner.std=.nan", "planner.std is nan m; allowed is a finite number of 0 to 1 m"),
        ("weights.goal=.inf", "weights.goal is inf; allowed is a finite number"),
        ("views.0.size=[1, 2.5]", "views.0.size.1 is 2.5; allowed is a whole number"),
        ("planner.kind=cen", "did you mean cem?"),
        ("checkpoint.deeper=1", "has no 'deeper' inside"),
        ("seed", "key=value"),
    ],
)
def test_a_wrong_value_is_answered_with_what_was_expected(path: Path, override: str, said: str) -> None:
    answer = message(override, path=path)
    assert said in answer and override in answer


def test_a_missing_value_says_so() -> None:
    with pytest.raises(ConfigError, match="checkpoint is missing; expected a path"):
        config.load(Run, None, ())


def test_a_key_given_twice_is_refused(path: Path) -> None:
    path.write_text(FILE + "colour: red\n")
    assert "colour is given a second time" in message(path=path)


def test_broken_yaml_names_its_line(path: Path) -> None:
    path.write_text("planner: {kind: cem\nseed: 1\n")
    assert f"{path}:2" in message(path=path)


def test_a_missing_file_lists_the_files_that_are_there(path: Path) -> None:
    assert str(path) in message(path=path.with_name("ruN.yaml"))


def test_a_file_that_is_not_a_mapping_is_refused(path: Path) -> None:
    path.write_text("- 1\n- 2\n")
    assert "expected a block" in message(path=path)


finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def test_text_that_looks_like_a_number_stays_text_when_written() -> None:
    names = ("1e5", "08", "1_000", "12:30", "yes", "null", "~", "2026-11-21", "0x1f", "true", "")
    views = tuple(View(name) for name in names)
    data, _ = parse_yaml(config.to_yaml(Run(Path("a"), views=views)), "text")
    assert tuple(view["name"] for view in data["views"]) == names


@given(
    st.builds(
        Run,
        checkpoint=text.filter(bool).map(Path),
        planner=st.builds(Cem, num_samples=st.integers(1, 2**63 - 1), std=st.floats(0, 1)) | st.builds(Mppi, temperature=finite),
        views=st.lists(st.builds(View, name=text), max_size=2).map(tuple),
        colour=st.sampled_from(Colour),
        seed=st.none() | st.integers(-(2**63), 2**63 - 1),
        weights=st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), finite, max_size=3),
    )
)
def test_a_configuration_survives_being_written_and_read(tmp_path_factory: pytest.TempPathFactory, run: Run) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(config.to_yaml(run), encoding="utf-8")
    assert config.load(Run, path, ()) == run == config.parse(Run, config.dump(run), "a checkpoint")


def test_a_wrong_value_in_python_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^Cem\.num_samples is 0; allowed is a whole number of at least 1$"):
        Cem(num_samples=0)
    with pytest.raises(ConfigError, match=r"^Run\.weights\['goal'\] is nan; allowed is a finite number$"):
        Run(Path("a"), weights={"goal": math.nan})
    with pytest.raises(ConfigError, match=r"^Run\.planner is 3; allowed is a block with kind"):
        Run(Path("a"), planner=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^Cem has no sdt; did you mean std\?; it has kind, num_samples, num_elites, std$"):
        Cem(sdt=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"^Run\.checkpoint is missing; allowed is a path$"):
        Run()  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"^Cem\.std is 20\.0 m; .* did you mean 0\.02\?$"):
        replace(Cem(), std=20.0)


def test_a_configuration_is_a_frozen_dataclass_that_other_processes_can_be_sent() -> None:
    cem = Cem(num_samples=9)
    assert [part.name for part in fields(Cem)] == ["kind", "num_samples", "num_elites", "std"]
    assert asdict(cem) == {"kind": "cem", "num_samples": 9, "num_elites": 1, "std": 0.5}
    assert pickle.loads(pickle.dumps(cem)) == cem and hash(cem) == hash(replace(cem))
    with pytest.raises(FrozenInstanceError):
        cem.std = 1.0  # type: ignore[misc]


HOSTILE = {
    "laughs": ("a: &a [x, x]\nb: &b [*a, *a]\n", ":1: anchors"),
    "an alias": ("planner: {kind: cem}\nviews: *nowhere\n", ":2: anchors"),
    "a merge": ("checkpoint: a\nplanner:\n  <<: {kind: cem}\n", ":3: unknown key planner.<<"),
    "itself": ("views: &v [*v]\n", ":1: anchors"),
    "deep": ("weights: " + "[" * 500 + "]" * 500, ":1: nested deeper than 20 levels"),
    "deep and large": ("weights: " + "{a: " * 20_000, ":1: nested deeper than 20 levels"),
    "a huge number": ("seed: " + "9" * 5000, ":1: a whole number of 5000 digits"),
    "a number of 65 bits": ("seed: 9223372036854775808", "is too large"),
    "a huge float": ("checkpoint: a\nplanner: {std: 1e999}", "planner.std is inf"),
    "binary": ("checkpoint: !!binary aGVsbG8=\n", ":1: the tag tag:yaml.org,2002:binary"),
    "a timestamp": ("\ncheckpoint: !!timestamp 2026-01-01\n", ":2: the tag"),
    "python": ("checkpoint: !!python/object/apply:os.system ['true']\n", ":1: the tag"),
    "a tag of its own": ("seed: ! 3\n", ":1: the tag !"),
    "NUL": ("checkpoint: a\0b\n", "special characters are not allowed"),
    "an escaped NUL": ('checkpoint: "a\\0b"\n', ":1: text with a NUL"),
    "half a character": ('checkpoint: "\\ud800"\n', ":1: text with a NUL character or half of one"),
    "a kind that is a list": ("checkpoint: a\nplanner: {kind: [cem]}\n", ":2: planner.kind is ['cem']"),
    "a kind that is a block": ("checkpoint: a\nplanner: {kind: {a: 1}}\n", ":2: planner.kind is {'a': 1}"),
    "a key that is a list": ("? [a, b]\n: 1\n", ":1: a key must be a word"),
    "a key given twice": ("seed: 1\nseed: 2\n", ":2: seed is given a second time; keep one"),
    "two documents": ("seed: 1\n---\nseed: 2\n", ":2: not valid YAML"),
    "a key of many letters": ("a" * 1000 + ": 1\n", "unknown key"),
    "a key of two lines": ('"a\\nb": 1\n', "unknown key 'a\\nb'"),
    "a directive": ("%YAML 9.9\n---\nseed: 1\n", "not valid YAML"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_one_clear_error_on_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(HOSTILE[name][0])
    said = message(path=path)
    assert HOSTILE[name][1] in said and str(path) in said and "\n" not in said and len(said) < 1000


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_text("a: 1\n" * 300_000)
    (tmp_path / "latin.yaml").write_bytes(b"checkpoint: \xe9\n")
    for place, said in (
        (tmp_path / "pipe.yaml", "device or pipe"),
        (Path("/dev/zero"), "device or pipe"),
        (tmp_path, "is a folder"),
        (tmp_path / "large.yaml", "has 1500000 bytes; allowed are 100000"),
        (tmp_path / "latin.yaml", "can't decode byte"),
        (Path("a\0b"), "null byte"),
        (tmp_path / ("n" * 300), "too long"),
    ):
        assert said in message(path=place)


@pytest.mark.parametrize("override", [
    "views." + "9" * 5000 + ".name=x", ".".join("a" * 3000) + "=1", "seed=" + "9" * 5000, "views=&a [*a]", "=", ".=1",
    "planner.kind=[cem]", "seed={", "weights.a\nb=x", "a" * 100_000,
])  # fmt: skip
def test_hostile_overrides_are_one_clear_error_on_one_line(path: Path, override: str) -> None:
    said = message(override, path=path)
    assert "override" in said and "\n" not in said and len(said) < 1000


def test_data_that_nests_without_end_is_refused() -> None:
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ConfigError, match="nested too deep"):
        config.parse(Run, {"checkpoint": "a", "weights": deep}, "a checkpoint", ("seed=1",))
    with pytest.raises(ConfigError, match="nested too deep"):
        config.parse(Run, {"checkpoint": "a", "weights": deep}, "a checkpoint")
