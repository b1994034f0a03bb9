"""The metadata of a LeRobotDataset: info.json, tasks.parquet and one row an episode in meta/episodes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from robo_dream.data import layout
from robo_dream.data.features import lerobot_features
from robo_dream.data.spec import DatasetSpec, split_ranges
from robo_dream.errors import DataError

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
    table = parse_parquet(layout.read_file(root / layout.TASKS), root / layout.TASKS)
    names = [name for name in table.column_names if name != "task_index"]
    if len(names) != 1 or "task_index" not in table.column_names:
        raise DataError(f"{root / layout.TASKS} has columns {table.column_names}; expected task_index and the task's name as index")
    rows = sorted(zip(table.column("task_index").to_pylist(), table.column(names[0]).to_pylist(), strict=True))
    return [task for _, task in rows]


def read_episode_rows(root: Path, num_episodes: int, with_stats: bool = False) -> pa.Table:
    """The rows of the first `num_episodes` episodes, in order; raises `DataError` when there are fewer."""
    paths = sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet"))
    tables = []
    for path in paths:
        table = parse_parquet(layout.read_file(path), path)
        tables.append(table if with_stats else table.select([name for name in table.column_names if not name.startswith("stats/")]))
    if not num_episodes:
        return tables[0].slice(0, 0) if tables else pa.table({})
    rows = pa.concat_tables(tables, promote_options="permissive").sort_by("episode_index") if tables else pa.table({})
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
    if not path.exists():
        raise DataError(f"no dataset in {root}: {layout.INFO} is missing; give the folder that holds meta/, data/ and perhaps videos/")
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
    return info


def read_spec(root: Path) -> DatasetSpec:
    """What meta/robo_dream.json says; raises `DataError` when it is missing or damaged."""
    data = layout.read_json(root / layout.SPEC)
    try:
        return DatasetSpec.from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{root / layout.SPEC} is not a robo_dream dataset description ({error!r}); restore the file") from None


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


def parse_parquet(data: bytes, path: Path) -> pa.Table:
    """The table in `data`; raises `DataError` naming `path` when it is truncated or damaged."""
    try:
        # Arrow's threads may outlive the read and abort the interpreter at its end (apache/arrow issue 34314); `read_table` starts one
        with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
            return file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} ({len(data)} bytes) is not readable Parquet ({error}); it is truncated or damaged: restore it") from None
