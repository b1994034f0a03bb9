import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from robo_dream.data.cache import build_cache
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import DataError
from tests.unit.data.episodes import make_episode, make_spec


def write(root: Path, seeds: range) -> Path:
    spec = make_spec()
    with DatasetWriter(root, spec) as writer:
        for seed in seeds:
            writer.append(make_episode(spec, seed))
    return root


def test_the_cache_holds_what_the_episodes_hold(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    cache = build_cache(write(tmp_path / "data", range(3)), tmp_path / "cache", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for seed in range(3):
        episode = make_episode(make_spec(), seed)
        frames = slice(cache.episode_starts[seed], cache.episode_starts[seed + 1])
        for name in episode.images:
            assert (cache.images[name][frames] == episode.images[name]).all()
        assert (cache.actions[frames][:-1] == episode.actions).all() and not cache.actions[frames][-1].any()
        for name in ("proprio", "object_pose", "sim_state", "skill"):
            np.testing.assert_array_equal(getattr(cache, name)[frames], getattr(episode, name))
    with pytest.raises(ValueError, match="read-only"):
        cache.images["front"][0, 0, 0, 0] = 1  # type: ignore[index]


def test_a_cache_is_built_once_and_again_when_the_data_has_changed(tmp_path: Path) -> None:
    seen: list[int] = []
    data = write(tmp_path / "data", range(2))
    first = build_cache(data, tmp_path / "cache", lambda done, _: seen.append(done))
    again = build_cache(data, tmp_path / "cache", lambda done, _: seen.append(done))
    assert seen == [1, 2] and again.dataset_id == first.dataset_id
    write(data, range(2, 3))
    changed = build_cache(data, tmp_path / "cache", lambda done, _: seen.append(done))
    assert seen == [1, 2, 1, 2, 3] and changed.num_episodes == 3 and changed.dataset_id != first.dataset_id
    assert len(list((tmp_path / "cache").iterdir())) == 1  # the old one is gone


def test_an_empty_dataset_has_no_cache(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no episodes yet"):
        build_cache(write(tmp_path / "data", range(0)), tmp_path / "cache")


def test_skills_of_several_datasets_keep_their_names(tmp_path: Path) -> None:
    specs = [make_spec(), replace(make_spec(), skills=("push", "throw", "none"))]
    for shard, spec in enumerate(specs):
        with DatasetWriter(tmp_path / "data" / f"shard-{shard:02d}", spec) as writer:
            writer.append(make_episode(spec, shard))
    cache = build_cache(tmp_path / "data", tmp_path / "cache")
    names = [cache.skills[number] for number in cache.skill]
    assert names == [spec.skills[number] for shard, spec in enumerate(specs) for number in make_episode(spec, shard).skill]


def test_a_disk_without_room_is_said_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "data", range(1))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=1, used=1, free=1000))
    with pytest.raises(DataError, match=r"needs .* GB in .*cache, where 0\.0 GB are free"):
        build_cache(data, tmp_path / "cache", lambda done, total: pytest.fail("it decoded an episode"))
    assert not list((tmp_path / "cache").iterdir())


def test_a_build_that_is_killed_is_built_again(tmp_path: Path) -> None:
    data, cache = write(tmp_path / "data", range(4)), tmp_path / "cache"
    code = f"""
import time
from pathlib import Path
from robo_dream.data.cache import build_cache
build_cache(Path({str(data)!r}), Path({str(cache)!r}), lambda done, total: (print(done, flush=True), time.sleep(30)))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == b"1"
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert not list(cache.glob("frames-*/cache.json")) or all(".tmp-" in path.parent.name for path in cache.glob("frames-*/cache.json"))
    assert build_cache(data, cache).num_episodes == 4
