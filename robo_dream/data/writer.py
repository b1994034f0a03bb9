"""Writes episodes one at a time; whatever `append` has returned for survives a kill at any byte.

Order of commits: the episode's data and videos (one file each), then its task and statistics, then its row in
meta/episodes, then meta/info.json, whose `total_episodes` makes it exist. Files beyond that count are leftovers of a
killed writer; readers ignore them and the next writer removes them.
"""

import fcntl
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from robo_dream import store
from robo_dream.data import layout, metadata
from robo_dream.data.episode import Episode
from robo_dream.data.features import encode_mp4, episode_table, with_indices
from robo_dream.data.spec import DatasetSpec
from robo_dream.data.stats import Stats, combine, episode_stats, index_stats, stats_columns, stats_from_row, stats_json
from robo_dream.errors import DataError


@dataclass(frozen=True)
class EncodedEpisode:
    """An episode ready to be written: its rows without indices, its videos by feature, and what its metadata row will say.

    `is_train` keeps the split an episode was given elsewhere; None lets the dataset's rule decide.
    """

    table: pa.Table
    videos: dict[str, bytes]
    stats: Stats
    task: str
    seed: int
    behavior: str
    info: dict[str, Any]
    is_train: bool | None = None


def encode(episode: Episode, spec: DatasetSpec) -> EncodedEpisode:
    """`episode` with its pictures compressed; raises `ContractError` when it does not fit `spec`."""
    episode.check(spec)
    videos = {}
    if spec.storage == "video":
        videos = {f"observation.images.{name}": encode_mp4(episode.images[name], spec.fps) for name in spec.camera_names}
    stats = episode_stats(episode)
    return EncodedEpisode(episode_table(episode, spec), videos, stats, episode.task, episode.seed, episode.behavior, dict(episode.info))


def _lock_of(root: Path) -> Path:
    """The file that its writer holds: beside a local dataset, and for one in a store in a folder that is this user's alone."""
    if store.is_remote(root):
        folder = Path.home() / ".cache/robo_dream/locks"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f"{hashlib.sha256(str(root).encode()).hexdigest()[:16]}.lock"
    (root / "meta").mkdir(parents=True, exist_ok=True)
    return root / layout.LOCK


class DatasetWriter:
    """Appends episodes to the dataset in `root`, which is created when there is none; one writer a dataset at a time.

    `root` may be a URL, see `store`: what `append` has returned for is in the store. Of its writers only those of this machine are noticed.
    Raises `DataError` when a dataset is there and `resume` is false, when it was made with another spec, or when another
    process is writing it.
    """

    def __init__(self, root: Path | str, spec: DatasetSpec, resume: bool = True) -> None:
        self.root = store.place(root)
        self.spec = spec
        self._lock = open(_lock_of(self.root), "w")  # noqa: SIM115 (held until close; a killed process lets go of it)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._start(resume)
        except BlockingIOError:
            self._lock.close()
            raise DataError(
                f"another process is writing {store.url(self.root)}; give each process a shard of its own, such as shard-01 beside it"
            ) from None
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process write. Nothing is lost without it."""
        self._lock.close()

    @property
    def num_episodes(self) -> int:
        return len(self._is_train)

    @property
    def num_frames(self) -> int:
        return self._num_frames

    def append(self, episode: Episode) -> int:
        """Commits `episode` and gives its index; raises `ContractError` when it does not fit the dataset."""
        return self.append_encoded(encode(episode, self.spec))

    def append_encoded(self, encoded: EncodedEpisode) -> int:
        """Commits an episode that `encode` or another dataset of the same spec has encoded."""
        index, first_frame, length = self.num_episodes, self._num_frames, encoded.table.num_rows
        tasks = self._tasks if encoded.task in self._tasks else [*self._tasks, encoded.task]
        task_index = tasks.index(encoded.task)
        is_train = self.spec.split_rule.is_train(index) if encoded.is_train is None else encoded.is_train
        place = layout.chunk_file(index)

        table = with_indices(encoded.table, index, first_frame, task_index, self.spec.fps)
        slow = self.spec.storage == "image" and self.spec.picture_every > 1
        repeated = [f"observation.images.{name}.bytes" for name in self.spec.camera_names] if slow else []
        data = metadata.parquet_bytes(table, self.spec.storage == "video", repeated)
        store.replace_file(self.root / layout.DATA_PATH.format(**place), data)
        for key, video in encoded.videos.items():
            store.replace_file(self.root / layout.VIDEO_PATH.format(video_key=key, **place), video)

        stats = encoded.stats | index_stats(length, index, first_frame, task_index, self.spec.fps)
        total = combine(self._stats, stats)
        if tasks != self._tasks:
            store.replace_file(self.root / layout.TASKS, metadata.tasks_bytes(tasks))
        store.replace_file(self.root / layout.STATS, layout.json_bytes(stats_json(total)))

        digest = hashlib.sha256(self._digest.encode())
        row: dict[str, Any] = {
            "episode_index": index, "tasks": [encoded.task], "length": length,
            "data/chunk_index": place["chunk_index"], "data/file_index": place["file_index"],
            "dataset_from_index": first_frame, "dataset_to_index": first_frame + length,
            "robo_dream/data_sha256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        digest.update(row["robo_dream/data_sha256"].encode())
        for key, video in encoded.videos.items():
            sha256 = hashlib.sha256(video).hexdigest()
            digest.update(sha256.encode())
            row |= {f"videos/{key}/{name}": number for name, number in place.items()}
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": length / self.spec.fps}
            row |= {f"robo_dream/{key}/sha256": sha256}
        rows_place = layout.chunk_file(index // layout.EPISODE_ROWS_PER_FILE)
        row |= {
            "robo_dream/digest": digest.hexdigest(), "robo_dream/split": "train" if is_train else "test",
            "robo_dream/seed": encoded.seed, "robo_dream/behavior": encoded.behavior, "robo_dream/info": json.dumps(encoded.info),
            "meta/episodes/chunk_index": rows_place["chunk_index"], "meta/episodes/file_index": rows_place["file_index"],
        }  # fmt: skip
        rows = self._with_row(row | stats_columns(stats))
        store.replace_file(self.root / layout.EPISODES_PATH.format(**rows_place), metadata.parquet_bytes(rows))

        all_train = [*self._is_train, is_train]
        info = metadata.info_json(self.spec, first_frame + length, len(tasks), all_train)
        store.replace_file(self.root / layout.INFO, layout.json_bytes(info))
        self._rows, self._tasks, self._stats, self._is_train = rows, tasks, total, all_train
        self._num_frames, self._digest = first_frame + length, digest.hexdigest()
        return index

    def _with_row(self, row: dict[str, Any]) -> pa.Table:
        """The newest metadata file's rows and `row`; `row` alone when that file is full."""
        if self._rows is None or self._rows.num_rows >= layout.EPISODE_ROWS_PER_FILE:
            return pa.Table.from_pylist([row])
        return pa.concat_tables([self._rows, pa.Table.from_pylist([row], schema=self._rows.schema)]).combine_chunks()

    def _start(self, resume: bool) -> None:
        self._rows: pa.Table | None = None
        self._tasks: list[str] = []
        self._stats: Stats | None = None
        self._is_train: list[bool] = []
        self._num_frames = 0
        self._digest = ""
        if store.exists(self.root / layout.INFO):
            if not resume:
                raise DataError(f"{store.url(self.root)} already holds a dataset; choose another folder, delete it, or pass resume=True")
            self._resume()
        else:
            if store.exists(self.root / "data"):
                raise DataError(
                    f"{store.url(self.root)} has data/ but no {layout.INFO}; it is a damaged or older dataset: choose another folder"
                )
            store.replace_file(self.root / layout.SPEC, layout.json_bytes(self.spec.to_json()))
            store.replace_file(self.root / layout.TASKS, metadata.tasks_bytes([]))
            store.replace_file(self.root / layout.INFO, layout.json_bytes(metadata.info_json(self.spec, 0, 0, [])))

    def _resume(self) -> None:
        info = metadata.read_info(self.root)
        if not store.exists(self.root / layout.SPEC):
            raise DataError(f"{store.url(self.root)} was not written by robo_dream ({layout.SPEC} is missing); write to a new folder")
        recorded = metadata.read_spec(self.root)
        differences = recorded.differences(self.spec)
        if differences:
            raise DataError(f"{store.url(self.root)} was made otherwise: {'; '.join(differences)}; write to a new folder or use its spec")
        self.spec = recorded  # its seed and split rule go on
        count = info["total_episodes"]
        self._remove_leftovers(count)
        self._tasks = metadata.read_tasks(self.root)[: info["total_tasks"]]
        self._num_frames = info["total_frames"]
        if not count:
            return
        table = metadata.read_episode_rows(self.root, count, with_stats=True)
        rows = table.to_pylist()
        for row in rows:
            self._stats = combine(self._stats, stats_from_row(row))
        self._is_train = [row["robo_dream/split"] == "train" for row in rows]
        self._digest = rows[-1]["robo_dream/digest"]
        self._rows = table.slice((count - 1) // layout.EPISODE_ROWS_PER_FILE * layout.EPISODE_ROWS_PER_FILE)
        path = layout.EPISODES_PATH.format(**layout.chunk_file((count - 1) // layout.EPISODE_ROWS_PER_FILE))
        store.replace_file(self.root / path, metadata.parquet_bytes(self._rows))
        assert self._stats is not None
        store.replace_file(self.root / layout.STATS, layout.json_bytes(stats_json(self._stats)))

    def _remove_leftovers(self, num_episodes: int) -> None:
        """Removes what a killed writer left: half-written files, and the files of an episode that was not committed."""
        if not store.is_remote(self.root):  # a store shows nothing half-written
            for path in self.root.rglob("*.tmp-*"):
                path.unlink(missing_ok=True)
        place = layout.chunk_file(num_episodes)
        store.remove(self.root / layout.DATA_PATH.format(**place))
        for name in self.spec.camera_names:
            video = layout.VIDEO_PATH.format(video_key=f"observation.images.{name}", **place)
            store.remove(self.root / video)
        if num_episodes % layout.EPISODE_ROWS_PER_FILE == 0:
            rows_place = layout.chunk_file(num_episodes // layout.EPISODE_ROWS_PER_FILE)
            store.remove(self.root / layout.EPISODES_PATH.format(**rows_place))
