"""Recorded episodes with a strip of commands: what stands in the frames on disk, and what stays as it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from episodes import assert_same, make_episode, make_spec

from robo_dream.data.overlaid import OverlayConfig, overlaid, overlaid_spec
from robo_dream.data.reader import Dataset
from robo_dream.data.spec import DatasetSpec
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import ConfigError, DataError
from robo_dream.overlay import commands_in, parted
from robo_dream.runtime.collect import CollectConfig, collect, dataset_spec, seeds_of

SIDE = 40


def recording(root: Path, picture_every: int = 1) -> DatasetSpec:
    spec = replace(make_spec(size=SIDE), picture_every=picture_every)
    with DatasetWriter(root, spec) as writer:
        for seed in range(2):
            episode = make_episode(spec, seed, num_actions=12)
            newest = np.arange(13) - np.arange(13) % picture_every
            writer.append(replace(episode, images={name: seen[newest] for name, seen in episode.images.items()}))
    return spec


def test_stored_frames_show_the_last_commands_and_all_else_is_as_it_was(tmp_path: Path) -> None:
    spec = recording(tmp_path / "plain")
    config = CollectConfig(out=tmp_path / "strips", num_episodes=2, workers=1, overlay=OverlayConfig(dataset=tmp_path / "plain"))
    made = dataset_spec(config)
    assert made.cameras[0].height == SIDE + 20 and made.cameras[1] == spec.cameras[1] and made.cameras[0].intrinsics is not None
    assert made.cameras[0].intrinsics.height == SIDE + 20
    assert sorted(collect(config, made, seeds_of(config))) == [0, 1]
    before, after = Dataset.open(tmp_path / "plain"), Dataset.open(tmp_path / "strips" / "shard-00")
    assert [after.is_train(i) for i in range(2)] == [before.is_train(i) for i in range(2)]
    for index in range(2):
        episode, shown = before.episode(index), after.episode(index)
        above, rows = parted(shown.images["front"], 5)
        assert_same(replace(shown, images={**shown.images, "front": above}), episode)
        read = commands_in(torch.from_numpy(rows), 5).numpy()
        assert np.abs(read[5:, -1] * spec.action_spec.high - episode.actions[4:]).max() < 0.01 * spec.action_spec.high.max()
        assert np.abs(read[8] * spec.action_spec.high - episode.actions[3:8]).max() < 0.01 * spec.action_spec.high.max()
        assert np.abs(read[0]).max() < 0.01, "before the first command"


def test_a_slow_camera_shows_what_had_been_sent_when_it_looked(tmp_path: Path) -> None:
    spec = recording(tmp_path, picture_every=3)
    episode, whole = Dataset.open(tmp_path).episode(0), overlaid_spec(spec, OverlayConfig(commands=3))
    shown = overlaid(episode, spec, OverlayConfig(commands=3))
    shown.check(whole)
    read = commands_in(torch.from_numpy(parted(shown.images["front"], 5)[1]), 3).numpy()
    assert (read[3] == read[5]).all() and np.abs(read[5] * spec.action_spec.high - episode.actions[:3]).max() < 0.002


def test_who_asks_for_strips_that_cannot_be_is_told(tmp_path: Path) -> None:
    recording(tmp_path)
    with pytest.raises(ConfigError, match="here are no cameras"):
        overlaid_spec(replace(make_spec(), cameras=()), OverlayConfig())
    with pytest.raises(DataError, match="has 2 episodes"):
        seeds_of(CollectConfig(num_episodes=3, overlay=OverlayConfig(dataset=tmp_path)))
