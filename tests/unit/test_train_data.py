"""What a training refuses before it begins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import DataError
from robo_dream.runtime.training_data import open_training_data
from robo_dream.training.config import TrainingConfig
from tests.unit.data.episodes import make_episode, make_spec


def write(root: Path, blind: bool = False, num_actions: int = 5, known: bool = True) -> Path:
    spec = make_spec(num_actions=num_actions)
    with DatasetWriter(root, replace(spec, cameras=()) if blind else spec) as writer:
        for seed in range(3):
            episode = make_episode(spec, seed)
            pose = episode.object_pose if known else np.where(np.arange(8)[:, None] == 5, np.nan, episode.object_pose).astype(np.float32)
            writer.append(replace(episode, images={} if blind else episode.images, object_pose=pose))
    return root


def test_demonstrations_are_read_beside_the_play_and_both_caches_stay(tmp_path: Path) -> None:
    play, shown = write(tmp_path / "play"), write(tmp_path / "shown", blind=True)
    for _ in range(2):  # the second time nothing is built
        data = open_training_data([play], [shown], tmp_path / "cache", TrainingConfig(), 1)
        assert data.demonstrations is not None and data.demonstrations.cameras == () and data.play.cameras == ("front", "side")
        built = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("cache.json")}
        assert len(built) == 2
    assert data.recipes["demonstrations"]["num_frames"] == 24


def test_a_recipe_tells_every_way_in_which_data_were_made(tmp_path: Path) -> None:
    roots = []
    for name, way in (("shard-00", "long"), ("shard-01", "long"), ("glances", "short")):
        spec = replace(make_spec(num_actions=5), recipe={"script": way})
        with DatasetWriter(tmp_path / name, spec) as writer:
            writer.append(make_episode(spec, len(roots)))
        roots.append(tmp_path / name)
    long, short = {"script": "long", "num_episodes": 2, "num_frames": 16}, {"script": "short", "num_episodes": 1, "num_frames": 8}
    blind = [write(tmp_path / "shown", blind=True)]
    alone = open_training_data(roots[:2], blind, tmp_path / "cache", TrainingConfig(), 1)
    both = open_training_data(roots, blind, tmp_path / "cache", TrainingConfig(), 1)
    assert alone.recipes["data"] == long
    assert both.recipes["data"] == {"parts": [long, short], "num_episodes": 3, "num_frames": 24}


def test_demonstrations_that_do_not_fit_are_named(tmp_path: Path) -> None:
    play, config = write(tmp_path / "play"), TrainingConfig()
    with pytest.raises(DataError, match=r"lost does not always say where the object is.*leave those episodes out"):
        open_training_data([play], [write(tmp_path / "lost", blind=True, known=False)], tmp_path / "cache", config, 1)
    with pytest.raises(DataError, match="action"):
        open_training_data([play], [write(tmp_path / "other", blind=True, num_actions=4)], tmp_path / "cache", config, 1)
    with pytest.raises(DataError, match=r"blind has no pictures.*name it in demonstrations"):
        open_training_data([write(tmp_path / "blind", blind=True)], [], tmp_path / "cache", config, 1)
