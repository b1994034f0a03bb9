"""Pictures of more episodes than a disk holds: decoded when they are looked at, and kept up to a bound by shards of episodes."""

import fcntl
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from robo_dream.errors import DataError
from robo_dream.files import clear_leftovers

GIB = 1 << 30
SHARD_BYTES = 32 << 20  # of a shard's pictures, where no episode has more
_HEADER = 128  # bytes of NumPy's in front of each file, which are not counted
_FEWEST = 8  # shards that are kept at once, where episodes are short enough


@dataclass(frozen=True)
class PictureShards:
    """Shards of successive episodes, each a folder with a file a camera; at most `most` bytes of them are in `folder`.

    `decode(episode)` gives the pictures of an episode that are kept, by camera. Of the shards the one that was used longest ago goes first,
    whichever of the processes that share the folder used it.
    """

    folder: Path
    decode: Callable[[int], Mapping[str, UInt8[np.ndarray, "picture height width 3"]]]
    episodes: Int64[np.ndarray, " boundary"]  # of shard s: `episodes[s]` to before `episodes[s + 1]`
    pictures: Int64[np.ndarray, " boundary"]  # likewise, of each camera
    picture_bytes: int  # of one picture of all cameras
    most: int
    workers: int

    def __len__(self) -> int:
        return len(self.episodes) - 1

    @property
    def kept_at_once(self) -> int:
        """Of shards as large as the largest."""
        return self.most // (int(np.diff(self.pictures).max()) * self.picture_bytes)

    def of(self, pictures: Int64[np.ndarray, "*batch"]) -> Int64[np.ndarray, "*batch"]:
        """The shards that hold them."""
        return np.searchsorted(self.pictures, pictures, side="right") - 1

    def read(self, camera: str, which: Int64[np.ndarray, " picture"]) -> UInt8[np.ndarray, "picture height width 3"]:
        """Copies of these pictures; what is not in the folder is decoded. Raises `DataError` where an episode does not read."""
        found: np.ndarray | None = None
        shards = self.of(which)
        for shard in np.unique(shards).tolist():
            rows = np.flatnonzero(shards == shard)
            some = self._rows(shard, camera, which[rows] - self.pictures[shard])
            found = np.empty((len(which), *some.shape[1:]), np.uint8) if found is None else found
            found[rows] = some
        return np.zeros((0, 1, 1, 3), np.uint8) if found is None else found

    def _rows(self, shard: int, camera: str, rows: Int64[np.ndarray, " picture"]) -> UInt8[np.ndarray, "picture height width 3"]:
        path = self.folder / f"{self.episodes[shard]}-{self.episodes[shard + 1]}"
        while True:
            try:
                os.utime(path)  # used now
                return np.load(path / f"{camera}.npy", mmap_mode="r", allow_pickle=False)[rows]
            except FileNotFoundError:  # perhaps gone between the two
                self._make(shard, path)

    def _make(self, shard: int, path: Path) -> None:
        with _locked(self.folder):
            if path.exists():  # another process was first
                return
            clear_leftovers(self.folder)
            self._make_room(int(np.diff(self.pictures)[shard]) * self.picture_bytes)
            beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
            beside.mkdir()
            try:
                with ThreadPoolExecutor(self.workers) as pool:
                    episodes = list(pool.map(self.decode, range(int(self.episodes[shard]), int(self.episodes[shard + 1]))))
                for camera in episodes[0]:
                    np.save(beside / f"{camera}.npy", np.concatenate([one[camera] for one in episodes]))
                beside.rename(path)
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def _make_room(self, needed: int) -> None:
        there = sorted((path.stat().st_mtime_ns, path) for path in self.folder.iterdir() if path.is_dir())
        sizes = {path: sum(file.stat().st_size - _HEADER for file in path.iterdir()) for _, path in there}
        used = sum(sizes.values())
        for path, freed in sizes.items():
            if used + needed <= self.most:
                return
            shutil.rmtree(path)
            used -= freed


@dataclass(frozen=True)
class StreamedPictures:
    """One camera's, read by frames as an array (frame, height, width, 3) would be; see `HeldPictures`."""

    shards: PictureShards
    camera: str
    side: tuple[int, int]  # height and width
    picture_of: Int64[np.ndarray, " frame"]  # in `shards`
    fingerprint: str  # of the datasets: changes with every picture

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.picture_of), *self.side, 3)

    def __len__(self) -> int:
        return len(self.picture_of)

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        frames, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        shown = np.asarray(self.picture_of[frames])
        which, place = np.unique(shown, return_inverse=True)
        return self.shards.read(self.camera, which)[(place.reshape(shown.shape), *rest)]


def shards_of(
    folder: Path,
    decode: Callable[[int], Mapping[str, np.ndarray]],
    pictures: Int64[np.ndarray, " boundary"],
    picture_bytes: int,
    most: int,
    workers: int,
) -> PictureShards:
    """Shards of about `SHARD_BYTES` of the episodes between whose boundaries `pictures` counts them.

    Raises `DataError` where `most` bytes do not hold the largest shard, of which a batch is drawn at least.
    """
    size = min(SHARD_BYTES, most // _FEWEST)
    bounds = [0]
    for episode in range(1, len(pictures)):
        if episode - bounds[-1] > 1 and (pictures[episode] - pictures[bounds[-1]]) * picture_bytes > size:
            bounds.append(episode - 1)
    episodes = np.array([*bounds, len(pictures) - 1], np.int64)
    found = PictureShards(folder, decode, episodes, pictures[episodes], picture_bytes, most, workers)
    if not found.kept_at_once:
        largest = int(np.diff(found.pictures).max()) * picture_bytes
        raise DataError(
            f"{folder} may hold {most} bytes of pictures, and a batch is drawn from one shard or more, the largest of which has {largest}; "
            f"set cache_gib to at least {math.ceil(largest / GIB * 1e6) / 1e6}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return found


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
