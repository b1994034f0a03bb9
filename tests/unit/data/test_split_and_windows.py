from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robo_dream.data.cache import build_cache, open_dataset
from robo_dream.data.reader import Dataset
from robo_dream.data.spec import SplitRule
from robo_dream.data.writer import DatasetWriter
from robo_dream.training.frames import frame_index
from tests.unit.data.episodes import make_episode, make_spec


@given(st.integers(0, 2**31), st.sampled_from([0.5, 0.25, 0.1, 0.05]), st.integers(1, 5))
def test_the_split_is_exact_and_a_function_of_the_episode_alone(seed: int, fraction: float, blocks: int) -> None:
    rule = SplitRule(seed, fraction)
    held_out = [index for index in range(blocks * rule.block) if not rule.is_train(index)]
    assert len(held_out) == blocks and len({index // rule.block for index in held_out}) == blocks


def test_the_split_is_recorded_and_does_not_move_when_episodes_are_added(tmp_path: Path) -> None:
    spec = make_spec()
    splits = []
    for number in (3, 9):
        with DatasetWriter(tmp_path, spec) as writer:
            for seed in range(writer.num_episodes, number):
                writer.append(make_episode(spec, seed))
        data = Dataset.open(tmp_path)
        splits.append([data.is_train(i) for i in range(number)])
        assert [row["robo_dream/split"] == "train" for row in data.rows] == splits[-1]
        assert set(data.info["splits"]) <= {"train", "test"}
    assert splits[1][:3] == splits[0] and True in splits[1]


def test_shards_are_read_one_after_the_other(tmp_path: Path) -> None:
    spec = make_spec()
    for shard in range(2):
        with DatasetWriter(tmp_path / f"shard-{shard:02d}", spec) as writer:
            for seed in (shard, shard + 10):
                writer.append(make_episode(spec, seed))
    data = open_dataset(tmp_path)
    assert [episode.seed for episode in data] == [0, 10, 1, 11]
    assert data.num_frames == 4 * 8


def test_no_window_crosses_an_episode(tmp_path: Path) -> None:
    spec = make_spec()
    with DatasetWriter(tmp_path / "data", spec) as writer:
        for seed, length in enumerate((3, 9, 4, 12, 5, 7, 8, 6, 10, 11)):
            writer.append(make_episode(spec, seed, num_actions=length))
    cache = build_cache(tmp_path / "data", tmp_path / "cache")
    episode_of = np.repeat(np.arange(cache.num_episodes), np.diff(cache.episode_starts))
    for split in ("train", "test"):
        for num_frames in (1, 2, 5, 8):
            starts = frame_index(cache, num_frames, split).starts
            assert (episode_of[starts] == episode_of[starts + num_frames - 1]).all()
            assert (cache.is_train[episode_of[starts]] == (split == "train")).all()
            lengths = np.diff(cache.episode_starts)[cache.is_train == (split == "train")]
            assert len(starts) == np.maximum(lengths - num_frames + 1, 0).sum()  # none is missing either
