"""Pictures that do not fit are those of the whole cache, of which no more than the bound is ever on disk."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_dream.data import streamed
from robo_dream.data.cache import FrameCache, build_cache, open_dataset, picture_bytes
from robo_dream.data.streamed import StreamedPictures
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import DataError
from robo_dream.training.frames import Turns, frame_index, pictures
from tests.unit.data.episodes import make_episode, make_spec
from tests.unit.data.test_kill import ROOT

NUM_EPISODES = 12


@pytest.fixture(params=[1, 2])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Episodes of which every one, or every second, frame has a new picture."""
    spec = replace(make_spec(num_actions=5), picture_every=request.param)
    with DatasetWriter(tmp_path / "data", spec) as writer:
        for seed in range(NUM_EPISODES):
            episode = make_episode(spec, seed)
            shown = np.arange(episode.num_frames) // request.param * request.param
            writer.append(replace(episode, images={name: images[shown] for name, images in episode.images.items()}))
    yield tmp_path / "data"


def caches(data: Path, tmp_path: Path, share: float = 0.34) -> tuple[FrameCache, FrameCache, int]:
    """One with everything, one that holds this share of the pictures, and how many bytes these are."""
    most = int(picture_bytes(open_dataset(data)) * share)
    return build_cache(data, tmp_path / "whole"), build_cache(data, tmp_path / "some", most=most), most


def on_disk(folder: Path) -> int:
    return sum(np.load(path).nbytes for path in folder.rglob("pictures/*/*.npy"))


def test_streamed_pictures_are_read_as_an_array_would_be_within_the_bound(data: Path, tmp_path: Path) -> None:
    whole, some, most = caches(data, tmp_path)
    rng = np.random.default_rng(0)
    assert some.cameras == whole.cameras and some.num_frames == whole.num_frames and some.dataset_id == whole.dataset_id
    np.testing.assert_array_equal(some.actions, whole.actions)
    for name in whole.cameras:
        one, other = some.images[name], whole.images[name]
        assert isinstance(one, StreamedPictures) and one.shape == other.shape and len(one) == len(other)
        np.testing.assert_array_equal(one[3], other[3])
        np.testing.assert_array_equal(one[5:31], other[5:31])
        for _ in range(5):
            frames = rng.integers(whole.num_frames, size=(4, 3))
            shifts = rng.integers(-2, 3, (4, 3, 2))
            np.testing.assert_array_equal(pictures(one, frames), pictures(other, frames))
            np.testing.assert_array_equal(pictures(one, frames, shifts), pictures(other, frames, shifts))
            assert 0 < on_disk(tmp_path / "some") <= most


def test_the_shard_that_was_used_longest_ago_goes_and_what_is_kept_is_not_decoded_again(data: Path, tmp_path: Path) -> None:
    _, some, _ = caches(data, tmp_path)
    images = some.images["front"]
    assert isinstance(images, StreamedPictures)
    decoded: list[int] = []
    decode = images.shards.decode

    def counted(index: int) -> Mapping[str, np.ndarray]:
        decoded.append(index)
        return decode(index)

    shards = replace(images.shards, decode=counted)
    images = replace(images, shards=shards)
    kept, size = shards.kept_at_once, int(shards.pictures[1])
    frame_of = [int(np.flatnonzero(images.picture_of == shards.pictures[shard])[0]) for shard in range(kept + 1)]
    assert size and len(shards) > kept >= 2
    for shard in range(kept):
        images[frame_of[shard]]
    os.utime(shards.folder / f"{shards.episodes[1]}-{shards.episodes[2]}", (1, 1))  # long ago, whatever the clock's step
    images[frame_of[0]]
    decoded.clear()
    images[frame_of[kept]]
    images[frame_of[0]]
    assert decoded == list(range(int(shards.episodes[kept]), int(shards.episodes[kept + 1])))
    assert not (shards.folder / f"{shards.episodes[1]}-{shards.episodes[2]}").exists()


def test_a_bound_that_holds_no_shard_is_refused_with_what_is_needed(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"largest of which has (\d+); set cache_gib to at least ([\d.e-]+)") as refused:
        build_cache(data, tmp_path / "cache", most=100)
    needed = float(str(refused.value).split()[-1])
    cache = build_cache(data, tmp_path / "cache", most=int(needed * streamed.GIB))
    assert len(pictures(cache.images["front"], np.arange(cache.num_frames))) == cache.num_frames


def test_batches_keep_to_shards_that_fit_and_come_round_to_every_window(data: Path, tmp_path: Path) -> None:
    whole, some, _ = caches(data, tmp_path)
    starts = frame_index(some, 2).starts
    assert Turns(whole, starts, 4, seed=0)(7) is starts
    turns, again = Turns(some, starts, 4, seed=0), Turns(some, starts, 4, seed=0)
    images = some.images["front"]
    assert isinstance(images, StreamedPictures)
    rounds = turns.steps * turns.turns
    for first in (0, rounds):
        seen = set()
        for step in range(first, first + rounds):
            drawn = turns(step)
            assert len(set(images.shards.of(images.picture_of[drawn]))) <= images.shards.kept_at_once
            seen |= set(drawn.tolist())
        assert seen == set(starts.tolist())
    np.testing.assert_array_equal(again(rounds + 1), turns(rounds + 1))  # whatever was asked before


def test_processes_that_share_a_cache_keep_its_bound_together(data: Path, tmp_path: Path) -> None:
    whole, _, most = caches(data, tmp_path)
    code = f"""
import sys
import numpy as np
from pathlib import Path
from robo_dream.data.cache import build_cache
cache = build_cache({str(data)!r}, {str(tmp_path / "some")!r}, most={most})
rng = np.random.default_rng(int(sys.argv[1]))
print(sum(int(cache.images["side"][rng.integers(cache.num_frames, size=4)].sum(dtype=np.int64)) for _ in range(30)))
"""
    crew = [subprocess.Popen([sys.executable, "-c", code, str(n)], cwd=ROOT, stdout=subprocess.PIPE, text=True) for n in range(2)]
    largest = 0
    while any(one.poll() is None for one in crew):
        try:
            largest = max(largest, sum(path.stat().st_size - 128 for path in (tmp_path / "some").rglob("*.npy") if "pictures" in str(path)))
        except FileNotFoundError:  # it went while we looked
            continue
    assert 0 < largest <= most and on_disk(tmp_path / "some") <= most
    for number, one in enumerate(crew):
        rng = np.random.default_rng(number)
        expected = sum(int(whole.images["side"][rng.integers(whole.num_frames, size=4)].sum(dtype=np.int64)) for _ in range(30))
        assert one.communicate()[0].strip() == str(expected) and one.returncode == 0
