"""Pictures of a camera slower than control: each is kept once and shown at every frame until the next."""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from robo_dream import store
from robo_dream.data import layout
from robo_dream.data.episode import Episode
from robo_dream.data.joints import JointReading
from robo_dream.data.reader import Dataset
from robo_dream.data.spec import DatasetSpec
from robo_dream.data.streamed import PictureShards, StreamedPictures, shards_of
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import DataError, one_line
from robo_dream.files import clear_leftovers, replace_file


@dataclass(frozen=True)
class HeldPictures:
    """Read by frames, as an array (frame, height, width, 3) would be: `held[frames]`, `held[frames, rows, columns]`."""

    kept: UInt8[np.ndarray, "picture height width 3"]
    picture_of: Int64[np.ndarray, " frame"]  # in `kept`

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.picture_of), *self.kept.shape[1:])

    def __len__(self) -> int:
        return len(self.picture_of)

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        if isinstance(key, tuple):
            return self.kept[(self.picture_of[key[0]], *key[1:])]
        return self.kept[self.picture_of[key]]


Roots = Path | str | Sequence[Path | str]


def shard_root(root: Path | str, shard: int) -> Path:
    return store.place(root) / f"shard-{shard:02d}"


@dataclass(frozen=True)
class Datasets:
    """Datasets that fit together, numbered through as one: those of the first folder first."""

    parts: tuple[Dataset, ...]

    @property
    def spec(self) -> DatasetSpec:
        """The first one's, with the skills of all, and new pictures where every part has them."""
        skills = dict.fromkeys(skill for part in self.parts for skill in part.spec.skills)
        every = math.lcm(*(part.spec.picture_every for part in self.parts))
        return replace(self.parts[0].spec, skills=tuple(skills), picture_every=every)

    @property
    def num_episodes(self) -> int:
        return sum(part.num_episodes for part in self.parts)

    @property
    def num_frames(self) -> int:
        return sum(part.num_frames for part in self.parts)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What each episode was recorded for, in its own words."""
        return tuple(task for part in self.parts for task in part.episode_tasks)

    @property
    def has_pseudo_actions(self) -> bool:
        return any(part.has_pseudo_actions for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Changes whenever a committed episode does."""
        return hashlib.sha256(":".join(part.fingerprint for part in self.parts).encode()).hexdigest()

    def __len__(self) -> int:
        return self.num_episodes

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(i) for i in range(self.num_episodes))

    def length(self, index: int) -> int:
        part, place = self._find(index)
        return part.length(place)

    def is_train(self, index: int) -> bool:
        part, place = self._find(index)
        return part.is_train(place)

    def episode(self, index: int) -> Episode:
        part, place = self._find(index)
        episode = part.episode(place)
        names = self.spec.skills
        return replace(episode, skill=np.array([names.index(skill) for skill in part.spec.skills])[episode.skill])

    def _find(self, index: int) -> tuple[Dataset, int]:
        place = index
        for part in self.parts:
            if 0 <= place < part.num_episodes:
                return part, place
            place -= part.num_episodes
        raise IndexError(f"episode {index} of {self.num_episodes}")


def open_dataset(
    roots: Roots,
    cameras: tuple[str, ...] | None = None,
    action_spec: ActionSpec | None = None,
    pictures: bool = True,
    reading: JointReading | None = None,
) -> Datasets:
    """The datasets in `roots` as one; a folder of shards (`shard-00/`, ...) stands for all of them.

    Without `pictures` those that are there are left out, as if nobody had looked.
    Raises `DataError` when one does not open (see `Dataset.open`) or does not fit the first. Sets whose simulator states
    differ in size fit together, since different scenes have different states.
    """
    folders = dataset_folders(roots)
    parts = [Dataset.open(folder, cameras, action_spec, reading) for folder in folders]
    if not pictures:
        parts = [replace(part, spec=replace(part.spec, cameras=(), picture_every=1)) for part in parts]
    return joined(parts)


def joined(parts: Sequence[Dataset]) -> Datasets:
    """`parts` as one; raises `DataError` when one does not fit the first."""
    for part in parts[1:]:
        first = parts[0].spec
        comparable = replace(part.spec, storage=first.storage, skills=first.skills, sim_state_size=first.sim_state_size)
        comparable = replace(comparable, picture_every=first.picture_every)
        differences = first.differences(comparable)
        if differences:
            raise DataError(f"{part.root} does not fit {parts[0].root}: {'; '.join(differences)}; use them one at a time")
    return Datasets(tuple(parts))


def dataset_folders(roots: Roots) -> list[Path]:
    """The folders of the datasets in `roots`; raises `DataError` where none is given."""
    roots = [roots] if isinstance(roots, (str, Path)) else roots
    folders = [folder for root in roots for folder in _shards(store.place(root))]
    if not folders:
        raise DataError("no dataset folder given; give at least one")
    return folders


def _shards(root: Path) -> list[Path]:
    if store.exists(root / layout.INFO):
        return [root]
    return [folder for folder in store.listed(root, "shard-*") if store.exists(folder / layout.INFO)] or [root]


CACHE_VERSION = 2
IN_MEMORY = ("proprio", "actions", "object_pose", "skill", "episode_starts", "is_train")


@dataclass(frozen=True)
class FrameCache:
    """All frames of all episodes, one after the other; `actions[f]` was taken after frame f (zero after an episode's last).

    `images` and `sim_state` are read-only memory maps; pictures that only repeat another (`picture_every`) are not kept. Frames of
    episode e are `episode_starts[e]:episode_starts[e + 1]`. `object_pose` is xyz (metres) and wxyz of every object, NaN where unknown.
    `action_std` is how unsure actions are that a checkpoint told, in their units: 0 of true ones, None where all are true.
    `skill` numbers the names in `skills`. `sim_state` is (frame, 0) where there is none or where the datasets' states differ in size.
    `dataset_id` changes with every committed episode.
    """

    cameras: tuple[str, ...]
    images: Mapping[str, UInt8[np.ndarray, "frame height width 3"] | HeldPictures | StreamedPictures]
    proprio: Float32[np.ndarray, "frame proprio"]
    actions: Float32[np.ndarray, "frame action"]
    object_pose: Float32[np.ndarray, "frame pose"]
    skill: Int64[np.ndarray, " frame"]
    sim_state: Float[np.ndarray, "frame state"]
    episode_starts: Int64[np.ndarray, " boundary"]
    is_train: Bool[np.ndarray, " episode"]
    skills: tuple[str, ...]
    action_spec: ActionSpec
    control_dt: float
    dataset_id: str
    picture_every: int = 1
    action_std: Float32[np.ndarray, "frame action"] | None = None

    @property
    def num_frames(self) -> int:
        return int(self.episode_starts[-1])

    @property
    def num_episodes(self) -> int:
        return len(self.is_train)


def build_cache(
    data: Datasets | Dataset | Roots,
    cache_dir: Path | str,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 2,
    most: int | None = None,
) -> FrameCache:
    """The cache of `data` in `cache_dir`: the one that is there when the data has not changed, else a new one.

    A new cache is built beside and renamed, with `workers` decoding threads; older ones are then removed (processes that
    have them open keep them). `progress(done, total)` counts episodes. Raises `DataError` when the data does not read.

    Where pictures need more than `most` bytes, they are not decoded now but when they are looked at, and that much of them is kept.
    """
    source = Datasets((data,)) if isinstance(data, Dataset) else data if isinstance(data, Datasets) else open_dataset(data)
    fingerprint = source.fingerprint
    is_streamed = most is not None and picture_bytes(source) > most
    folder = Path(cache_dir) / f"frames-v{CACHE_VERSION}-{fingerprint[:16]}{'-streamed' * is_streamed}"
    if not (folder / "cache.json").exists():
        if not source.num_episodes:
            raise DataError(f"{source.parts[0].root} has no episodes yet; collect some first")
        beside = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
        shutil.rmtree(beside, ignore_errors=True)
        clear_leftovers(folder.parent)
        beside.mkdir(parents=True)
        try:
            stored = _without_pictures(source) if is_streamed else source
            _build(stored, beside, progress, workers)
            replace_file(beside / "cache.json", layout.json_bytes(_header(stored, fingerprint)))
            _publish(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        for other in folder.parent.glob("frames-*"):
            if other != folder and ".tmp-" not in other.name:
                shutil.rmtree(other, ignore_errors=True)
    cache = load_cache(folder)
    return cache if most is None or not is_streamed else _streamed(source, cache, folder / "pictures", most, workers)


def picture_bytes(data: Datasets) -> int:
    """That the pictures of `data` need, decoded."""
    every = data.spec.picture_every
    count = sum(-(-data.length(i) // every) for i in range(data.num_episodes))
    return count * _bytes_a_picture(data.spec)


def _bytes_a_picture(spec: DatasetSpec) -> int:
    return sum(3 * camera.height * camera.width for camera in spec.cameras)


def _without_pictures(data: Datasets) -> Datasets:
    return Datasets(tuple(replace(part, spec=replace(part.spec, cameras=())) for part in data.parts))


def _streamed(source: Datasets, cache: FrameCache, folder: Path, most: int, workers: int) -> FrameCache:
    """`cache`, which has no pictures, with those of `source`."""
    spec, every = source.spec, source.spec.picture_every
    picture_of = _picture_of(cache.episode_starts, every)
    starts = np.append(picture_of[cache.episode_starts[:-1]], picture_of[-1] + 1)

    def decode(index: int) -> Mapping[str, np.ndarray]:
        return {name: pictures[::every] for name, pictures in source.episode(index).images.items()}

    shards: PictureShards = shards_of(folder, decode, starts, _bytes_a_picture(spec), most, workers)
    images = {
        camera.name: StreamedPictures(shards, camera.name, (camera.height, camera.width), picture_of, cache.dataset_id)
        for camera in spec.cameras
    }
    return replace(cache, cameras=spec.camera_names, images=images)


def frames_of(data: Datasets, episodes: Sequence[int], progress: Callable[[int, int], None] | None = None) -> FrameCache:
    """Some episodes, in memory and all of them held out: for who looks at a few and leaves nothing on disk.

    `progress(done, total)` counts episodes. Raises `DataError` when one does not read, or when there are none.
    """
    if not episodes:
        raise DataError(f"{data.parts[0].root} has no episodes to look at; collect or record some first")
    spec, read = data.spec, []
    for done, index in enumerate(episodes, 1):
        read.append(data.episode(index))
        if progress is not None:
            progress(done, len(episodes))

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(episode, name) for episode in read])

    return FrameCache(
        cameras=spec.camera_names,
        images={name: np.concatenate([episode.images[name] for episode in read]) for name in spec.camera_names},
        proprio=joined("proprio"),
        actions=np.concatenate([row for one in read for row in (one.actions, np.zeros_like(one.actions[:1]))]),
        object_pose=joined("object_pose"),
        skill=joined("skill"),
        sim_state=np.zeros((sum(episode.num_frames for episode in read), 0)),
        episode_starts=np.cumsum([0, *(episode.num_frames for episode in read)], dtype=np.int64),
        is_train=np.zeros(len(read), bool),
        skills=spec.skills,
        action_spec=spec.action_spec,
        control_dt=spec.action_spec.control_dt,
        dataset_id=data.fingerprint,
        picture_every=spec.picture_every,
    )


def load_cache(folder: Path | str) -> FrameCache:
    """The cache in one `frames-...` folder; raises `DataError` when it is incomplete or damaged."""
    folder = Path(folder)
    header = layout.read_json(folder / "cache.json")
    if header.get("version") != CACHE_VERSION:
        raise DataError(f"{folder} is a cache of version {header.get('version')}; this reads {CACHE_VERSION}: delete the folder")
    spec = ActionSpec.from_json(header["action_spec"])
    try:
        names = (*IN_MEMORY, "action_std") if header.get("pseudo_actions") else IN_MEMORY
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
        state_mode = "r" if header["sim_state_size"] else None  # an empty array cannot be mapped
        arrays["sim_state"] = np.load(folder / "sim_state.npy", mmap_mode=state_mode, allow_pickle=False)
        rows = {name: np.load(folder / f"images-{name}.npy", mmap_mode="r", allow_pickle=False) for name in header["cameras"]}
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is incomplete ({one_line(error)}); delete the folder and it will be built again") from None
    every = int(header.get("picture_every", 1))
    held = _picture_of(arrays["episode_starts"], every)
    return FrameCache(
        cameras=tuple(header["cameras"]),
        images=rows if every == 1 else {name: HeldPictures(pictures, held) for name, pictures in rows.items()},
        skills=tuple(header["skills"]),
        action_spec=spec,
        control_dt=spec.control_dt,
        dataset_id=header["dataset_id"],
        picture_every=every,
        **arrays,
    )


def _header(source: Datasets, fingerprint: str) -> dict[str, object]:
    return {
        "version": CACHE_VERSION,
        "dataset_id": fingerprint,
        "cameras": list(source.spec.camera_names),
        "skills": list(source.spec.skills),
        "action_spec": source.spec.action_spec.to_json(),
        "sim_state_size": _state_size(source),
        "picture_every": source.spec.picture_every,
        **({"pseudo_actions": True} if source.has_pseudo_actions else {}),
    }


def _picture_of(starts: Int64[np.ndarray, " boundary"], every: int) -> Int64[np.ndarray, " frame"]:
    """Which of the kept pictures each frame shows."""
    lengths = np.diff(starts)
    counts = -(-lengths // every)
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    return np.asarray(np.repeat(np.cumsum(counts) - counts, lengths) + within // every, np.int64)


def _state_size(source: Datasets) -> int:
    sizes = {part.spec.sim_state_size for part in source.parts}
    return sizes.pop() if len(sizes) == 1 else 0


def _array_shapes(spec: DatasetSpec, state_size: int, has_pseudo: bool) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape of one frame and dtype, for each array of the cache."""
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "proprio": ((len(spec.proprio_names),), np.float32),
        "actions": ((spec.action_spec.size,), np.float32),
        "object_pose": ((7 * spec.num_objects,), np.float32),
        "skill": ((), np.int64),
        "sim_state": ((state_size,), np.float64),
    }
    if has_pseudo:
        shapes["action_std"] = shapes["actions"]
    return shapes | {f"images-{camera.name}": ((camera.height, camera.width, 3), np.uint8) for camera in spec.cameras}


def _build(source: Datasets, folder: Path, progress: Callable[[int, int], None] | None, workers: int) -> None:
    for part in source.parts:
        part.require_lengths()  # before anything is allocated for them
    lengths = [source.length(i) for i in range(source.num_episodes)]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(folder / "episode_starts.npy", starts)
    np.save(folder / "is_train.npy", np.array([source.is_train(i) for i in range(source.num_episodes)], bool))
    shapes, every = _array_shapes(source.spec, _state_size(source), source.has_pseudo_actions), source.spec.picture_every
    picture_of = _picture_of(starts, every)
    rows = {name: int(picture_of[-1]) + 1 if name.startswith("images-") else int(starts[-1]) for name in shapes}
    needed = sum(rows[name] * math.prod(shape) * np.dtype(kind).itemsize for name, (shape, kind) in shapes.items())
    free = shutil.disk_usage(folder).free
    if needed > free:  # a memory map on a full disk kills the process without a word
        raise DataError(
            f"the cache of {int(starts[-1])} frames needs {needed / 1e9:.1f} GB in {folder.parent}, where {free / 1e9:.1f} GB are free; "
            f"make room, or put it elsewhere with cache=..."
        )
    arrays: dict[str, np.ndarray] = {}
    for name, (shape, dtype) in shapes.items():
        if 0 in shape:  # nothing to map
            np.save(folder / f"{name}.npy", np.zeros((rows[name], *shape), dtype))
        else:
            arrays[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (rows[name], *shape))

    def fill(index: int) -> None:
        episode = source.episode(index)
        frames = slice(int(starts[index]), int(starts[index + 1]))
        arrays["proprio"][frames] = episode.proprio
        arrays["actions"][frames] = np.concatenate([episode.actions, np.zeros_like(episode.actions[:1])])
        if "action_std" in arrays and episode.action_std is not None:  # where it is None, all are true, and 0 stands there
            arrays["action_std"][frames] = np.concatenate([episode.action_std, np.zeros_like(episode.action_std[:1])])
        arrays["object_pose"][frames] = episode.object_pose
        arrays["skill"][frames] = episode.skill
        if "sim_state" in arrays:
            arrays["sim_state"][frames] = episode.sim_state
        for name in source.spec.camera_names:
            arrays[f"images-{name}"][picture_of[frames][::every]] = episode.images[name][::every]

    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(fill, i) for i in range(source.num_episodes)]
        try:
            for done, job in enumerate(jobs, 1):
                job.result()
                if progress is not None:
                    progress(done, len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)
    for array in arrays.values():
        if isinstance(array, np.memmap):
            array.flush()


def _publish(beside: Path, folder: Path) -> None:
    if folder.exists() and not (folder / "cache.json").exists():
        shutil.rmtree(folder)
    try:
        os.rename(beside, folder)
    except OSError:
        if not (folder / "cache.json").exists():  # else another process built the same cache first
            raise
