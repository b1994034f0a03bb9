"""Where things lie in a LeRobotDataset v3.0."""

import json
from pathlib import Path
from typing import Any

from robo_dream import foreign, store
from robo_dream.errors import DataError

CODEBASE_VERSION = "v3.0"
FILES_PER_CHUNK = 1000
EPISODE_ROWS_PER_FILE = 100  # each append rewrites one metadata file of at most this many rows

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
SPEC = "meta/robo_dream.json"
LABELS = "meta/labels.json"  # of a copy with pseudo-actions: who told them
LOCK = "meta/.lock"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def chunk_file(number: int) -> dict[str, int]:
    """The chunk directory and the file in it that hold file `number`."""
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()


def read_file(path: Path) -> bytes:
    """The bytes of `path`; raises `DataError` when it is missing, no regular file, or larger than anything that is read."""
    try:
        if store.is_remote(path):
            foreign.require_budget(store.size(path), foreign.BUDGET.file, store.url(path), "bytes")
            return store.read_bytes(path)
        return foreign.read_bytes(path)
    except FileNotFoundError:
        raise DataError(f"{store.url(path)} is missing; the dataset was copied incompletely or damaged: copy it again") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; raises `DataError` when it is missing or not one."""
    return foreign.parse_object(read_file(path), str(path))
