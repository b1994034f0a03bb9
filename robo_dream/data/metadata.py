"""The metadata of a LeRobotDataset: info.json, tasks.parquet and one row an episode in meta/episodes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from robo_dream import store
from robo_dream.data import layout
from robo_dream.data.features import lerobot_features
from robo_dream.data.spec import DatasetSpec, split_ranges
from robo_dream.errors import DataError, one_line
from robo_dream.foreign import BUDGET, inside, number, require_budget, whole_number

_FOLDED_ROWS = 64  # that are unfolded at a time, where what is repeated is stored once
_LARGE_PAGE = 1 << 28  # bytes: the pictures of an episode
PANDAS_INDEX = "__index_level_0__"  # what pandas calls an unnamed index; LeRobot looks tasks up by it


def info_json(spec: DatasetSpec, num_frames: int, num_tasks: int, is_train: Sequence[bool]) -> dict[str, Any]:
    """meta/info.json; its `total_episodes` is what commits an episode."""
    return {
        "codebase_version": layout.CODEBASE_VERSION,
        "robot_type": spec.robot_type,
        "total_episodes": len(is_train),
        "total_frames": num_frames,
        "total_tasks": num_tasks,
        "chunks_size": layout.FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": spec.fps,
        "splits": split_ranges(is_train),
        "data_path": layout.DATA_PATH,
        "video_path": layout.VIDEO_PATH if spec.storage == "video" else None,
        "features": lerobot_features(spec),
    }


def tasks_bytes(tasks: Sequence[str]) -> bytes:
    """meta/tasks.parquet: task_index, with the task string as the pandas index."""
    columns = [
        {"name": None, "field_name": PANDAS_INDEX, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": None},
    ]
    pandas = {"index_columns": [PANDAS_INDEX], "column_indexes": [], "columns": columns, "creator": {}, "pandas_version": "2.2.0"}
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), PANDAS_INDEX: pa.array(tasks, pa.string())})
    return parquet_bytes(table.replace_schema_metadata({"pandas": json.dumps(pandas)}))


def read_tasks(root: Path) -> list[str]:
    table = parse_parquet(layout.read_file(inside(root, layout.TASKS, "the format")), root / layout.TASKS)
    names = [name for name in table.column_names if name != "task_index"]
    if len(names) != 1 or "task_index" not in table.column_names:
        raise DataError(f"{root / layout.TASKS} has columns {table.column_names}; expected task_index and the task's name as index")
    rows = sorted(zip(table.column("task_index").to_pylist(), table.column(names[0]).to_pylist(), strict=True))
    return [task for _, task in rows]


def read_episode_rows(root: Path, num_episodes: int, with_stats: bool = False) -> pa.Table:
    """The rows of the first `num_episodes` episodes, in order; raises `DataError` when there are fewer."""
    paths = store.listed(root / "meta/episodes", "chunk-*/file-*.parquet")
    require_budget(len(paths), BUDGET.files, str(root / "meta/episodes"), "files")
    tables = []
    for path in paths:
        inside(root, str(path.relative_to(root)), "the format")
        table = parse_parquet(layout.read_file(path), path)
        tables.append(table if with_stats else table.select([name for name in table.column_names if not name.startswith("stats/")]))
    if not num_episodes:
        return tables[0].slice(0, 0) if tables else pa.table({})
    try:
        rows = pa.concat_tables(tables, promote_options="permissive").sort_by("episode_index") if tables else pa.table({})
    except (pa.ArrowException, KeyError) as error:
        raise DataError(f"{root / 'meta/episodes'} holds tables that are none of episodes ({one_line(error, 200)}); restore them") from None
    rows = rows.slice(0, num_episodes)
    if rows.num_rows < num_episodes or rows.column("episode_index").to_pylist() != list(range(num_episodes)):
        raise DataError(
            f"{root / 'meta/episodes'} describes {rows.num_rows} episodes where info.json promises {num_episodes}; "
            "a metadata file is missing or damaged: restore it"
        )
    return rows


def read_info(root: Path) -> dict[str, Any]:
    """meta/info.json; raises `DataError` when it is missing, damaged or of another version of the format."""
    path = root / layout.INFO
    if not store.exists(path):
        raise DataError(
            f"no dataset in {store.url(root)}: {layout.INFO} is missing; give the folder that holds meta/, data/ and perhaps videos/"
        )
    info = layout.read_json(path)
    version = info.get("codebase_version")
    if version != layout.CODEBASE_VERSION:
        raise DataError(
            f"{path} has codebase_version {version!r}; this reads {layout.CODEBASE_VERSION!r}: convert it with LeRobot's "
            "lerobot.datasets.v30.convert_dataset_v21_to_v30"
        )
    missing = [key for key in ("total_episodes", "total_frames", "fps", "features", "data_path") if key not in info]
    if missing:
        raise DataError(f"{path} lacks {missing}; the file is damaged: restore it")
    number(info["fps"], "fps", str(path), 1e-3, 1e4)
    whole_number(info["total_episodes"], "total_episodes", str(path), 0, BUDGET.episodes)
    whole_number(info["total_frames"], "total_frames", str(path))
    _check_features(info["features"], path)
    return info


def _check_features(features: Any, path: Path) -> None:
    """Raises `DataError` for features that are none."""
    if not isinstance(features, dict):
        raise DataError(f"{path} has features {str(features)[:100]!r}; expected one entry for each column")
    for key, feature in features.items():
        if not isinstance(feature, dict) or not isinstance(feature.get("dtype"), str) or not isinstance(feature.get("shape"), list):
            raise DataError(f"{path} has the feature {key[:100]!r} as {str(feature)[:100]}; expected its dtype and shape")
        for size in feature["shape"]:
            whole_number(size, f"shape of {key[:100]!r}", str(path), 0, BUDGET.numbers)
        if not feature["shape"]:
            raise DataError(f"{path} has the feature {key[:100]!r} with an empty shape")
        names = feature.get("names")
        if feature["dtype"] in ("image", "video") and not (isinstance(names, list) and len(names) == len(feature["shape"]) == 3):
            raise DataError(f"{path} has pictures {key[:100]!r} of shape {feature['shape']}; expected height, width and channels, named")


def read_spec(root: Path) -> DatasetSpec:
    """What meta/robo_dream.json says; raises `DataError` when it is missing or damaged."""
    path = root / layout.SPEC
    data = layout.read_json(inside(root, layout.SPEC, "the format"))
    try:
        spec = DatasetSpec.from_json(data)
        for name in (*spec.camera_names, *spec.proprio_names, *spec.skills, spec.robot_type, *spec.action_spec.names):
            if not isinstance(name, str):
                raise TypeError(f"{name!r} is no name")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as error:
        raise DataError(f"{path} is not a robo_dream dataset description ({repr(error)[:500]}); restore the file") from None
    whole_number(spec.num_objects, "num_objects", str(path), 1, BUDGET.objects)
    whole_number(spec.sim_state_size, "sim_state_size", str(path), 0, BUDGET.numbers)
    whole_number(spec.picture_every, "picture_every", str(path), 1, BUDGET.rows)
    whole_number(len(spec.proprio_names), "proprio_names", str(path), 0, BUDGET.numbers)
    number(spec.action_spec.control_dt, "control_dt", str(path), 1e-4, 1e3)
    number(spec.test_fraction, "test_fraction", str(path), 1e-6, 0.5)
    for camera in spec.cameras:
        for side in (camera.height, camera.width):
            whole_number(side, f"picture size of camera {camera.name[:100]!r}", str(path), 1, BUDGET.picture)
    return spec


def parquet_bytes(table: pa.Table, compress: bool = True, repeated: Sequence[str] = ()) -> bytes:
    """`table` as a Parquet file; do not `compress` pictures, which are compressed already.

    What the columns `repeated` repeat is stored once.
    """
    sink = pa.BufferOutputStream()
    once: dict[str, Any] = {"use_dictionary": False}
    if repeated:
        once = {"use_dictionary": list(repeated), "dictionary_pagesize_limit": _LARGE_PAGE}
    pq.write_table(table, sink, compression="snappy" if compress else "none", **once)
    return sink.getvalue().to_pybytes()


def num_rows(path: Path) -> int:
    """Of a Parquet file, by its end alone; raises `DataError`."""
    try:
        with pq.ParquetFile(store.opened(path), pre_buffer=False) as file:
            return file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{store.url(path)} is not readable Parquet ({one_line(error, 200)}); it is truncated or damaged: restore it"
        ) from None


def read_columns(path: Path, names: Sequence[str]) -> pa.Table:
    """Those of the columns `names` that the Parquet file in `path` has, without reading its pictures; raises `DataError`."""
    try:
        with pq.ParquetFile(store.opened(path), pre_buffer=False) as file:
            _unfolds(file.metadata, path)
            return file.read(columns=[name for name in file.schema_arrow.names if name in names], use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{store.url(path)} is not readable Parquet ({one_line(error, 200)}); it is truncated or damaged: restore it"
        ) from None


def _unfolds(about: pq.FileMetaData, path: Path) -> bool:
    """Whether a table may be larger than its file says, as texts that are stored once are; raises `DataError` where it is too large."""
    require_budget(about.num_rows, BUDGET.rows, str(path), "rows")
    require_budget(about.num_columns, BUDGET.numbers, str(path), "columns")
    columns = [about.row_group(group).column(i) for group in range(about.num_row_groups) for i in range(about.num_columns)]
    require_budget(sum(max(0, one.num_values) * 8 for one in columns), BUDGET.memory, str(path), "bytes of numbers")
    require_budget(sum(max(0, one.total_uncompressed_size) for one in columns), BUDGET.memory, str(path), "bytes")
    return any(one.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in encoding for encoding in one.encodings) for one in columns)


def parse_parquet(data: bytes, path: Path) -> pa.Table:
    """The table in `data`; raises `DataError` naming `path` when it is truncated, damaged, or becomes too large."""
    try:
        # Arrow's threads may outlive the read and abort the interpreter at its end (apache/arrow issue 34314); `read_table` starts one
        with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
            if not _unfolds(file.metadata, path):
                return file.read(use_threads=False)
            batches, size = [], 0
            for batch in file.iter_batches(batch_size=_FOLDED_ROWS, use_threads=False):
                size += batch.nbytes
                require_budget(size, BUDGET.memory, str(path), "bytes when it is unfolded")
                batches.append(batch)
            return pa.Table.from_batches(batches, file.schema_arrow)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path} ({len(data)} bytes) is not readable Parquet ({one_line(error)}); it is truncated or damaged: restore it"
        ) from None
