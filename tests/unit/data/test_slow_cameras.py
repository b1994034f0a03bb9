"""Cameras slower than control: a picture is kept once, and shown until the next."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_dream.data.cache import build_cache, open_dataset
from robo_dream.data.episode import Episode
from robo_dream.data.reader import Dataset
from robo_dream.data.spec import DatasetSpec
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import ContractError, DataError
from tests.unit.data.episodes import assert_same, make_episode, make_spec

EVERY = 3
SPEC = replace(make_spec(size=32), picture_every=EVERY)


def slow_episode(seed: int, num_actions: int = 7) -> Episode:
    episode = make_episode(SPEC, seed, num_actions)
    shown = np.arange(num_actions + 1) // EVERY * EVERY
    return replace(episode, images={name: images[shown] for name, images in episode.images.items()})


def write(root: Path, spec: DatasetSpec, *episodes: Episode) -> Path:
    with DatasetWriter(root, spec) as writer:
        for episode in episodes:
            writer.append(episode)
    return root


def test_episodes_come_back_and_a_repeated_picture_takes_no_room(tmp_path: Path) -> None:
    slow = write(tmp_path / "slow", SPEC, slow_episode(0, 30))
    quick = write(tmp_path / "quick", replace(SPEC, picture_every=1), slow_episode(0, 30))
    assert Dataset.open(slow).spec.to_json() == SPEC.to_json()
    assert_same(Dataset.open(slow).episode(0), slow_episode(0, 30))
    sizes = [sum(path.stat().st_size for path in (root / "data").rglob("*.parquet")) for root in (slow, quick)]
    assert sizes[0] < 0.5 * sizes[1]


def test_the_cache_keeps_a_picture_once_and_reads_it_at_every_frame(tmp_path: Path) -> None:
    episodes = [slow_episode(seed, 5 + seed) for seed in range(3)]
    cache = build_cache(write(tmp_path / "data", SPEC, *episodes), tmp_path / "cache")
    assert cache.picture_every == EVERY and len(np.load(next((tmp_path / "cache").glob("*/images-front.npy")))) == 2 + 3 + 3
    for name in cache.cameras:
        whole, held = np.concatenate([episode.images[name] for episode in episodes]), cache.images[name]
        assert held.shape == whole.shape and len(held) == len(whole)
        np.testing.assert_array_equal(held[np.arange(len(whole))], whole)
        np.testing.assert_array_equal(held[3:9], whole[3:9])
        frames, rows = np.array([[4], [11]]), np.array([[0, 5]])
        np.testing.assert_array_equal(held[frames, rows, 2], whole[frames, rows, 2])


def test_quick_and_slow_cameras_are_read_together_where_both_have_new_pictures(tmp_path: Path) -> None:
    quick, slow = make_episode(make_spec(size=32), 7), slow_episode(1)
    roots = [write(tmp_path / "quick", make_spec(size=32), quick), write(tmp_path / "slow", SPEC, slow)]
    cache = build_cache(roots, tmp_path / "cache")
    assert cache.picture_every == EVERY
    both = np.concatenate([quick.images["side"][np.arange(8) // EVERY * EVERY], slow.images["side"]])
    np.testing.assert_array_equal(cache.images["side"][np.arange(16)], both)
    unseen = build_cache(open_dataset(roots, pictures=False), tmp_path / "unseen")
    assert unseen.cameras == () and unseen.picture_every == 1 and unseen.num_frames == 16
    with pytest.raises(DataError, match="picture_every: 1 against 3"):
        DatasetWriter(roots[0], SPEC)


def test_a_picture_that_changes_in_between_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"images\['front'\] changes at observation 1; .* every 3th"):
        write(tmp_path, SPEC, make_episode(SPEC, 0))
    with pytest.raises(ContractError, match="picture_every is 0"):
        replace(SPEC, picture_every=0)
