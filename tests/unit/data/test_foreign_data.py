"""Datasets that others wrote are read within a budget and inside their own folder, or refused in one sentence."""

import json
import math
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robo_dream.data.cache import build_cache
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import DataError, one_line
from robo_dream.foreign import BUDGET, filled, inside, parse_json, read_bytes
from tests.unit.data.episodes import make_episode, make_spec

MUCH = 300_000_000  # bytes that no refusal writes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    spec = make_spec()
    with DatasetWriter(tmp_path / "data", spec) as writer:
        for seed in range(2):
            writer.append(make_episode(spec, seed))
    return tmp_path / "data"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    spec = make_spec("video", size=32)
    with DatasetWriter(tmp_path / "videos", spec) as writer:
        writer.append(make_episode(spec, 0))
    return tmp_path / "videos"


def edit(path: Path, change: Callable[[dict], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_rows(root: Path, **values: object) -> None:
    """Of every episode's metadata."""
    for path in root.glob("meta/episodes/*/*.parquet"):
        table = pq.read_table(path)
        for name, value in values.items():
            at = table.column_names.index(name)
            table = table.set_column(at, name, pa.array([value] * table.num_rows))
        pq.write_table(table, path)


@pytest.mark.parametrize(
    "data_path",
    ["/dev/zero", "../../../../../../../../etc/passwd", "/etc/passwd", "data", "", "\0", 7, None, ["data"], "meta/info.json",
     "{chunk_index:999999999d}", "{chunk_index.__class__}", "{chunk_index!r}", "{nosuch}", "{0}", "{", "a" * 5000],
)  # fmt: skip
def test_a_path_of_the_metadata_that_leads_elsewhere_is_refused(root: Path, data_path: object) -> None:
    edit(root / "meta/info.json", lambda info: info.update(data_path=data_path))
    with pytest.raises(DataError):
        Dataset.open(root).episode(0)


def test_a_link_that_leads_out_of_the_dataset_and_a_pipe_are_refused(root: Path, tmp_path: Path) -> None:
    path = sorted(root.glob("data/*/*.parquet"))[0]
    path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(DataError, match="outside of"):
        Dataset.open(root).episode(0)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="no regular file"):
        Dataset.open(root).episode(0)
    for name in ("info.json", "tasks.parquet", "robo_dream.json"):
        kept = (root / "meta" / name).read_bytes()
        (root / "meta" / name).unlink()
        os.mkfifo(root / "meta" / name)
        with pytest.raises(DataError, match="no regular file"):
            Dataset.open(root)
        (root / "meta" / name).unlink()
        (root / "meta" / name).write_bytes(kept)


@pytest.mark.parametrize("video_path", ["/dev/zero", "../../x.mp4", None, "{video_key:999999999d}", "{video_key}"])
def test_a_video_path_that_leads_elsewhere_is_refused(videos: Path, video_path: object) -> None:
    edit(videos / "meta/info.json", lambda info: info.update(video_path=video_path))
    with pytest.raises(DataError):
        Dataset.open(videos).episode(0)


@pytest.mark.parametrize("fps", [math.nan, math.inf, -1, 0, "ten", None, 1e300, True, [10]])
def test_a_rate_that_is_none_is_refused(root: Path, fps: object) -> None:
    edit(root / "meta/info.json", lambda info: info.update(fps=fps))
    with pytest.raises(DataError, match="fps"):
        Dataset.open(root)


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_objects", 1_000_000), ("num_objects", -1), ("num_objects", "many"), ("sim_state_size", 10**9), ("sim_state_size", -5),
     ("picture_every", 0), ("cameras", [{"name": "front", "height": 10**6, "width": 10**6, "intrinsics": None, "world_from_camera": None}]),
     ("cameras", "front"), ("cameras", None), ("skills", []), ("proprio_names", None), ("split_rule", {}), 
     ("split_rule", {"test_fraction": 1e-300}),
     ("action_spec", {}), ("action_spec", None), ("recipe", None)],
)  # fmt: skip
def test_a_description_that_cannot_be_is_refused_before_anything_is_allocated(root: Path, key: str, value: object) -> None:
    edit(root / "meta/robo_dream.json", lambda spec: spec.update({key: value}))
    if (key, value) == ("recipe", None):
        return  # any JSON
    with pytest.raises(DataError):
        Dataset.open(root).episode(0)


@pytest.mark.parametrize("key", ["total_episodes", "total_frames"])
@pytest.mark.parametrize("value", [-1, 10**12, "two", None, 1.5, True])
def test_counts_that_cannot_be_are_refused(root: Path, key: str, value: object) -> None:
    edit(root / "meta/info.json", lambda info: info.update({key: value}))
    with pytest.raises(DataError, match=key):
        Dataset.open(root)


@pytest.mark.parametrize(
    "features",
    [
        None, [], {"action": None}, {"action": {"dtype": "float32", "shape": "5"}}, {"action": {"shape": [10**12]}},
        {"observation.images.front": {"dtype": "image", "shape": [16, 16, 3], "names": 0.5}},
    ],
)  # fmt: skip
def test_features_that_cannot_be_are_refused(root: Path, features: object) -> None:
    edit(root / "meta/info.json", lambda info: info.update(features=features))
    with pytest.raises(DataError):
        Dataset.open(root).episode(0)


@pytest.mark.parametrize("length", [999_999, 10**15, -1, 0])
def test_a_length_that_the_data_do_not_have_is_refused_before_a_cache_is_allocated(root: Path, tmp_path: Path, length: int) -> None:
    edit_rows(root, length=length)
    with pytest.raises(DataError):
        build_cache(Dataset.open(root), tmp_path / "cache")
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()) < MUCH


@pytest.mark.parametrize("name", ["data/chunk_index", "data/file_index", "tasks", "robo_dream/info"])
@pytest.mark.parametrize("value", [-3, 10**15, "/etc", None, "[" * 100_000, "[]", "{", [], [None]])
def test_rows_that_cannot_be_are_refused(root: Path, name: str, value: object) -> None:
    edit_rows(root, **{name: value})
    with pytest.raises(DataError):
        Dataset.open(root).episode(1)


@pytest.mark.parametrize("column", ["action", "observation.state"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_episode_with_numbers_that_are_not_finite_is_named(root: Path, column: str, bad: float) -> None:
    path = sorted(root.glob("data/*/*.parquet"))[1]
    table = pq.read_table(path)
    values = np.array(table.column(column).to_pylist(), np.float32)
    values[3, 1] = bad
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])), path)
    edit_rows(root, **{"robo_dream/data_sha256": None})
    dataset = Dataset.open(root)
    dataset.episode(0)
    with pytest.raises(DataError, match=rf"episode 1 .*{column.replace('.', '.')}.* frame 3"):
        dataset.episode(1)


def test_a_table_that_says_it_is_huge_is_not_read(root: Path) -> None:
    path = sorted(root.glob("data/*/*.parquet"))[0]
    pq.write_table(pa.table({"action": pa.array(np.zeros(3 * BUDGET.rows, np.int8))}), path)
    edit_rows(root, **{"robo_dream/data_sha256": None})
    with pytest.raises(DataError, match="rows; at most"):
        Dataset.open(root).episode(0)


def test_a_text_that_is_repeated_a_million_times_is_not_unfolded(root: Path) -> None:
    path = sorted(root.glob("data/*/*.parquet"))[0]
    dictionary = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"action": dictionary}), path, use_dictionary=True, store_schema=False)
    edit_rows(root, **{"robo_dream/data_sha256": None})
    with pytest.raises(DataError, match="at most"):
        Dataset.open(root).episode(0)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("fps", "features", "data_path", "video_path", "total_episodes", "total_frames", "codebase_version", "robot_type")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KEYS), JUNK)
def test_whatever_the_metadata_say_there_is_an_episode_or_one_clear_error(root: Path, key: str, junk: object) -> None:
    path = root / "meta/info.json"
    before = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(before), key: junk}))
        Dataset.open(root).episode(0)
    except DataError as error:
        assert "\n" not in str(error) and len(str(error)) < 3000
    finally:
        path.write_text(before)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["action_spec", "cameras", "num_objects", "sim_state_size", "skills", "split_rule", "storage", "proprio_names"]), JUNK
)
def test_whatever_the_description_says_there_is_an_episode_or_one_clear_error(root: Path, key: str, junk: object) -> None:
    path = root / "meta/robo_dream.json"
    before = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(before), key: junk}))
        Dataset.open(root).episode(0)
    except DataError as error:
        assert len(str(error)) < 3000
    finally:
        path.write_text(before)


def test_paths_and_templates_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_text("x")
    assert inside(tmp_path, "a/b", "info.json") == tmp_path / "a/b"
    assert inside(tmp_path, "a/../a/b", "info.json").read_text() == "x"
    assert filled("d/{chunk_index:03d}/{video_key}", {"chunk_index": 7, "video_key": "front"}, "info.json") == "d/007/front"
    for outside in ("..", "../x", "/etc/passwd", "a/../../x", "."):
        with pytest.raises(DataError, match="outside of"):
            inside(tmp_path, outside, "info.json")


def test_json_that_is_deep_or_long_and_files_that_are_large_are_refused(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "[" * 100 + "]" * 100, '{"a":' * 80 + "1" + "}" * 80, "9" * 5000, "[1, 2"):
        with pytest.raises(DataError):
            parse_json(text, "info.json")
    assert parse_json('[[1], {"a": [2]}, 3]', "info.json") == [[1], {"a": [2]}, 3]
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", BUDGET.file + 1)
    with pytest.raises(DataError, match="bytes; at most"):
        read_bytes(tmp_path / "large")


def test_a_small_file_takes_little_memory_however_large_the_budget_is(tmp_path: Path) -> None:
    (tmp_path / "small.json").write_text("{}")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "small.json", 1 << 30) == b"{}"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_what_another_library_says_over_several_lines_is_said_on_one(root: Path) -> None:
    path = sorted(root.glob("data/*/*.parquet"))[0]
    content, rng, said = path.read_bytes(), np.random.default_rng(0), []
    for _ in range(60):  # Arrow's sentences about headers of pages have two lines
        at = int(rng.integers(len(content)))
        path.write_bytes(content[:at] + rng.bytes(8) + content[at + 8 :])
        try:
            Dataset.open(root).episode(0)
        except DataError as error:
            said.append(str(error))
    assert said and not [sentence for sentence in said if "\n" in sentence or len(sentence) > 2000]
    assert one_line(ValueError("first\n  second")) == "first second" and len(one_line(ValueError("x" * 10**6))) < 1100
