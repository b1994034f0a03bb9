"""Configuration files: what is said is what is used, and what cannot be used is answered with what can."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_dream import config
from robo_dream.errors import ConfigError, ContractError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Cem:
    kind: Literal["cem"] = "cem"
    num_samples: int = 64
    std: float = 0.5

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ContractError(f"num_samples is {self.num_samples}; it must be at least 1")


@dataclass(frozen=True)
class Mppi:
    kind: Literal["mppi"] = "mppi"
    num_samples: int = 32
    temperature: float = 1.0


@dataclass(frozen=True)
class View:
    name: str
    size: tuple[int, int] = (64, 64)


@dataclass(frozen=True)
class Run:
    checkpoint: Path
    planner: Cem | Mppi = field(default_factory=lambda: Cem(std=0.25))
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
    assert "did you mean planner.num_samples?" in said and "allowed in planner: kind, num_samples, std" in said


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
        ("planner.num_samples=0", "it must be at least 1"),
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


finite = st.floats(allow_nan=False)
text = st.text(st.characters(exclude_categories=["Cs"]))


def test_text_that_looks_like_a_number_stays_text_when_written() -> None:
    names = ("1e5", "08", "1_000", "12:30", "yes", "null", "~", "2026-11-21", "0x1f", "true", "")
    views = tuple(View(name) for name in names)
    data, _ = config._parse_yaml(config.to_yaml(Run(Path("a"), views=views)), "text")
    assert tuple(view["name"] for view in data["views"]) == names


@given(
    st.builds(
        Run,
        checkpoint=text.filter(bool).map(Path),
        planner=st.builds(Cem, num_samples=st.integers(1), std=finite) | st.builds(Mppi, temperature=finite),
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
