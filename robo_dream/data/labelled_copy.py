"""A copy of a dataset in which a checkpoint tells the actions that nobody wrote down; true ones stay as they are, to the bit.

`action` has both; `label.is_pseudo` marks the rows in which a number was told, and `label.std` how unsure each number is (0: it is true).
meta/labels.json says which checkpoint told them. The copy grows file by file, each whole or not at all, so that a killed one goes on with
the files that are missing; meta/info.json comes last, and without it nobody takes the folder for a dataset.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32

from robo_dream.data import layout, metadata
from robo_dream.data.features import IS_PSEUDO, LABEL_STD, arrow_column, column, label_features
from robo_dream.data.reader import Dataset
from robo_dream.data.stats import Stats, array_stats, combine, stats_columns, stats_json
from robo_dream.errors import DataError
from robo_dream.files import clear_leftovers, replace_file, replacing

FORMAT, VERSION = "robo_dream.labels", 1
_COLUMNS = ("action", LABEL_STD, IS_PSEUDO)
_REWRITTEN = (layout.INFO, layout.SPEC, layout.STATS, layout.LABELS, layout.LOCK)


@dataclass(frozen=True)
class Labels:
    """Actions that were told of an episode, one row an observation, in their own units."""

    actions: Float32[np.ndarray, "frame action"]
    std: Float32[np.ndarray, "frame action"]


@dataclass(frozen=True)
class Merged:
    """True actions where there are any, told ones elsewhere."""

    actions: Float32[np.ndarray, "frame action"]
    std: Float32[np.ndarray, "frame action"]  # 0 of true numbers
    is_pseudo: Bool[np.ndarray, " frame"]


def merged(true: Float32[np.ndarray, "frame action"], labels: Labels) -> Merged:
    """`labels` wherever `true` is no finite number, and nowhere else."""
    is_true = np.isfinite(true)
    return Merged(np.where(is_true, true, labels.actions), np.where(is_true, np.float32(0), labels.std), np.asarray(~is_true.all(1)))


@dataclass(frozen=True)
class LabelCounts:
    """Of frames after which something was done, those whose action was told, and those whose action is true."""

    pseudo: int
    true: int


class LabelledCopy:
    """The copy of `source` in `folder`, begun or gone on with. `about` is kept in meta/labels.json: who tells, of what.

    Raises `DataError` where the folder holds a copy that was begun with something else.
    """

    def __init__(self, source: Dataset, folder: Path, about: Mapping[str, Any]) -> None:
        self.source, self.folder = source, folder
        self.about = {"format": FORMAT, "version": VERSION, **about, "source": source.fingerprint}
        if (folder / layout.LABELS).exists():
            begun = layout.read_json(folder / layout.LABELS)
            odd = [name for name, value in json.loads(json.dumps(self.about)).items() if begun.get(name) != value]
            if odd:
                raise DataError(
                    f"{folder} holds a copy that was begun with another {', '.join(odd)}; go on with the same, delete it, or give another "
                    f"--out"
                )
            for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
                clear_leftovers(place)
        elif folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder} holds something else; give another --out, or delete it")
        else:
            replace_file(folder / layout.LABELS, layout.json_bytes(self.about))

    @property
    def counts(self) -> LabelCounts | None:
        """Of a copy that is whole; None while it is not."""
        if not (self.folder / layout.INFO).exists():
            return None
        frames = layout.read_json(self.folder / layout.LABELS)["frames"]
        return LabelCounts(int(frames["pseudo"]), int(frames["true"]))

    @property
    def files(self) -> dict[Path, list[int]]:
        """Each file of numbers, relative to the dataset, with the episodes in it."""
        found: dict[Path, list[int]] = {}
        for index in range(self.source.num_episodes):
            found.setdefault(self._relative(self.source.data_path(index)), []).append(index)
        return found

    def is_written(self, file: Path) -> bool:
        return (self.folder / file).exists()

    def write(self, file: Path, labels: Mapping[int, Labels]) -> None:
        """Writes one of `files` with the `labels` of its episodes, by their index. Raises `DataError` where they are not those of all."""
        path = self.source.root / file
        table = metadata.parse_parquet(layout.read_file(path), path).replace_schema_metadata(None)
        size, rows = self.source.spec.action_spec.size, _episodes_of(table, self.files[file])
        true = np.full((table.num_rows, size), np.nan, np.float32)
        if "action" in table.column_names:
            true = column(table, "action", size, np.float32).reshape(table.num_rows, size)
        told = Labels(np.zeros_like(true), np.zeros_like(true))
        for index, chosen in rows.items():
            told.actions[chosen], told.std[chosen] = labels[index].actions, labels[index].std
        found = merged(true, told)
        table = table.drop_columns([name for name in _COLUMNS if name in table.column_names])
        for name, values in zip(_COLUMNS, (found.actions, found.std, found.is_pseudo), strict=True):
            table = table.append_column(name, arrow_column(values))
        spec = self.source.spec
        has_pictures = any(feature["dtype"] == "image" for feature in self.source.info["features"].values())
        slow = [f"observation.images.{name}.bytes" for name in spec.camera_names] if has_pictures and spec.picture_every > 1 else []
        replace_file(self.folder / file, metadata.parquet_bytes(table, not has_pictures, slow))

    def finish(self) -> LabelCounts:
        """Copies what is as it was, and writes what is said of the new columns; only then is the copy a dataset."""
        counts, info = self._describe_episodes(), json.loads(json.dumps(dict(self.source.info)))
        self._copy_the_rest()
        spec = self.source.spec
        told = {**self.about, "frames": {"pseudo": counts.pseudo, "true": counts.true}}
        recipe = {**(spec.recipe if isinstance(spec.recipe, dict) else {}), "labels": told}
        replace_file(self.folder / layout.SPEC, layout.json_bytes(replace(spec, recipe=recipe).to_json()))
        replace_file(self.folder / layout.LABELS, layout.json_bytes(told))
        info["features"] |= label_features(spec.action_spec.names)
        replace_file(self.folder / layout.INFO, layout.json_bytes(info))
        return counts

    def _describe_episodes(self) -> LabelCounts:
        """meta/episodes and meta/stats.json with the new columns."""
        total: Stats | None = None
        said: dict[int, dict[str, Any]] = {}
        digest, num_pseudo, num_actions = hashlib.sha256(), 0, 0
        for file, episodes in self.files.items():
            path = self.folder / file
            sha256 = hashlib.sha256(layout.read_file(path)).hexdigest()
            table = metadata.read_columns(path, (*_COLUMNS, "episode_index"))
            for index, chosen in _episodes_of(table, episodes).items():
                some = table.filter(pa.array(chosen))
                stats = {name: array_stats(_numbers(some, name, self.source.spec.action_spec.size)) for name in _COLUMNS}
                total = combine(total, stats)
                pseudo = int(np.asarray(some.column(IS_PSEUDO))[:-1].sum())  # after the last nothing was done
                num_pseudo, num_actions = num_pseudo + pseudo, num_actions + some.num_rows - 1
                row = self.source.rows[index]
                digest.update(f"{row.get('robo_dream/digest', '')}{sha256}".encode())
                own = {"robo_dream/data_sha256": sha256} if "robo_dream/data_sha256" in row else {}
                own |= {"robo_dream/digest": digest.hexdigest()} if "robo_dream/digest" in row else {}
                said[index] = {**stats_columns(stats), **own, "robo_dream/num_pseudo": pseudo}
        for path in sorted((self.source.root / "meta/episodes").glob("chunk-*/file-*.parquet")):
            table = metadata.parse_parquet(layout.read_file(path), path)
            if rows := [row for row in table.to_pylist() if row["episode_index"] in said]:
                made = pa.Table.from_pylist([row | said[row["episode_index"]] for row in rows])
                replace_file(self.folder / self._relative(path), metadata.parquet_bytes(made))
        stats_path = self.source.root / layout.STATS
        before = layout.read_json(stats_path) if stats_path.exists() else {}
        replace_file(self.folder / layout.STATS, layout.json_bytes({**before, **stats_json(total or {})}))
        return LabelCounts(num_pseudo, num_actions - num_pseudo)

    def _copy_the_rest(self) -> None:
        """Videos, tasks and whatever else lies there, as it is."""
        for path in _regular_files(self.source.root):
            relative = self._relative(path)
            mine = relative.parts[0] == "data" or relative.parts[:2] == ("meta", "episodes") or str(relative) in _REWRITTEN
            copied = self.folder / relative
            if mine or (copied.exists() and copied.stat().st_size == path.stat().st_size):
                continue
            with replacing(copied) as beside:
                shutil.copyfile(path, beside)

    def _relative(self, path: Path) -> Path:
        return path.relative_to(self.source.root)


def _regular_files(root: Path) -> Iterator[Path]:
    """In a fixed order; what a killed writer left, and links, are left out."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for path in (Path(folder) / name for name in sorted(names)):
            if path.is_file() and not path.is_symlink() and ".tmp" not in path.name:
                yield path


def _episodes_of(table: pa.Table, episodes: list[int]) -> dict[int, Bool[np.ndarray, " row"]]:
    """Which rows of a file are those of each of its `episodes`: all where it does not say."""
    if "episode_index" not in table.column_names:
        return {episodes[0]: np.ones(table.num_rows, bool)}
    of = column(table, "episode_index", 1, np.int64)
    return {index: of == index for index in episodes}


def _numbers(table: pa.Table, name: str, size: int) -> np.ndarray:
    return column(table, name, 1 if name == IS_PSEUDO else size, np.float64).reshape(table.num_rows, -1)
