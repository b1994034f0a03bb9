"""Several datasets as one: parallel collectors write a shard each, and training reads them together."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robo_dream.data import layout
from robo_dream.data.episode import Episode
from robo_dream.data.reader import Dataset
from robo_dream.data.spec import DatasetSpec
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import DataError

Roots = Path | str | Sequence[Path | str]


def shard_root(root: Path | str, shard: int) -> Path:
    return Path(root) / f"shard-{shard:02d}"


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
    roots: Roots, cameras: tuple[str, ...] | None = None, action_spec: ActionSpec | None = None, pictures: bool = True
) -> Datasets:
    """The datasets in `roots` as one; a folder of shards (`shard-00/`, ...) stands for all of them.

    Without `pictures` those that are there are left out, as if nobody had looked.
    Raises `DataError` when one does not open (see `Dataset.open`) or does not fit the first. Sets whose simulator states
    differ in size fit together, since different scenes have different states.
    """
    roots = [roots] if isinstance(roots, (str, Path)) else roots
    folders = [folder for root in roots for folder in _shards(Path(root))]
    if not folders:
        raise DataError("no dataset folder given; give at least one")
    parts = [Dataset.open(folder, cameras, action_spec) for folder in folders]
    if not pictures:
        parts = [replace(part, spec=replace(part.spec, cameras=(), picture_every=1)) for part in parts]
    for part in parts[1:]:
        first = parts[0].spec
        comparable = replace(part.spec, storage=first.storage, skills=first.skills, sim_state_size=first.sim_state_size)
        comparable = replace(comparable, picture_every=first.picture_every)
        differences = first.differences(comparable)
        if differences:
            raise DataError(f"{part.root} does not fit {parts[0].root}: {'; '.join(differences)}; use them one at a time")
    return Datasets(tuple(parts))


def _shards(root: Path) -> list[Path]:
    if (root / layout.INFO).exists():
        return [root]
    return [folder for folder in sorted(root.glob("shard-*")) if (folder / layout.INFO).exists()] or [root]
