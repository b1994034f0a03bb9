"""`robo-dream collect` that plans for what a checkpoint's heads disagree on."""

from pathlib import Path

import numpy as np
import pytest

from robo_dream.config import load
from robo_dream.data.cache import open_dataset
from robo_dream.errors import ConfigError, DataError
from robo_dream.runtime.collect import CollectConfig, collect, committed_seeds, dataset_spec, seeds_of

CURIOUS = (
    "curious.checkpoint=configs/checkpoints/jaco_recorded_s.safetensors", "curious.num_steps=7", "curious.picture_every=5",
    "curious.planner={kind: cem, horizon: 2, num_samples: 8, num_iterations: 1, num_elites: 2, num_proposals: 0}", "workers=1",
)  # fmt: skip


def collected(out: Path, num_episodes: int, *more: str) -> list[np.ndarray]:
    """The actions of all episodes in `out`, once it has so many; only those that are missing are played."""
    config = load(CollectConfig, None, [f"out={out}", f"num_episodes={num_episodes}", *CURIOUS, *more])
    spec = dataset_spec(config)
    there = committed_seeds(out, spec)
    played = list(collect(config, spec, [seed for seed in seeds_of(config) if seed not in there]))
    assert len(played) == num_episodes - len(there)
    return [episode.actions for episode in open_dataset(out)]


def test_curious_play_goes_on_where_it_stopped_with_the_episodes_of_one_go(tmp_path: Path) -> None:
    first = collected(tmp_path / "parts", 1)
    parts, whole = collected(tmp_path / "parts", 2), collected(tmp_path / "whole", 2)
    assert len(first) == 1 and len(parts) == len(whole) == 2
    assert all(np.array_equal(one, other) for one, other in zip(parts, whole, strict=True))
    assert len(whole[0]) == 7 and not np.array_equal(whole[0], whole[1])
    with pytest.raises(DataError, match=r"curious\.planner"):
        collected(tmp_path / "parts", 2, "curious.planner.horizon=3")


def test_curiosity_about_a_game_is_refused() -> None:
    with pytest.raises(ConfigError, match="curious plans play in a simulated world with an arm"):
        load(CollectConfig, None, [*CURIOUS, "world.kind=vizdoom"])
