"""Datasets as those have them who only filmed, for the tests of labels."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robo_dream.data.features import arrow_column, column


def unsure_actions(root: Path, is_known: Callable[[int, int], bool]) -> dict[int, np.ndarray]:
    """Takes out of a dataset of ours every action but those that are known, by episode and frame; gives the actions that were there."""
    there = {}
    for path in sorted(root.glob("data/*/*.parquet")):
        table = pq.read_table(path)
        episode = int(table.column("episode_index")[0].as_py())
        there[episode] = column(table, "action", 5, np.float32)
        actions = there[episode].copy()
        actions[[not is_known(episode, frame) for frame in range(len(actions))]] = np.nan
        pq.write_table(table.set_column(table.column_names.index("action"), "action", arrow_column(actions)), path)
    _forget_hashes(root, lambda name: name.endswith("sha256"))
    return there


def as_video(root: Path) -> Path:
    """Makes of a dataset of ours a foreign one that tells of no arm and no action."""
    gone = ("action", "observation.state", "observation.environment_state", "observation.sim_state", "skill", "source_time")
    for path in sorted(root.glob("data/*/*.parquet")):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns([name for name in gone if name in table.column_names]), path)
    _forget_hashes(root, lambda name: name.startswith("robo_dream/"))
    info = json.loads((root / "meta/info.json").read_text())
    info["features"] = {name: feature for name, feature in info["features"].items() if name not in gone}
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/robo_dream.json").unlink()
    return root


def _forget_hashes(root: Path, is_gone: Callable[[str], bool]) -> None:
    """What is said of files that are no more as they were written; a number of each stays, of the file that is there."""
    for path in sorted(root.glob("meta/episodes/*/*.parquet")):
        rows = pq.read_table(path).to_pylist()
        for row in rows:
            for name in [name for name in row if is_gone(name)]:
                file = root / f"data/chunk-{row['data/chunk_index']:03d}/file-{row['data/file_index']:03d}.parquet"
                row[name] = hashlib.sha256(file.read_bytes()).hexdigest() if name.endswith("data_sha256") else None
        kept = [{name: value for name, value in row.items() if value is not None} for row in rows]
        pq.write_table(pa.Table.from_pylist(kept), path)
