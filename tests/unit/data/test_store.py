"""Datasets named by a URL are what the same datasets in a folder are, whoever is killed while writing them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_dream import store
from robo_dream.data.cache import build_cache, open_dataset
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import DataError, MissingExtraError
from tests.unit.data.episodes import assert_same, make_episode, make_spec
from tests.unit.data.s3_server import BUCKET, s3_server
from tests.unit.data.test_kill import ROOT, WRITE


@pytest.fixture(params=["memory", "file", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a folder where nothing is yet."""
    if request.param == "file":
        yield f"file://{tmp_path}/data"
    elif request.param == "memory":
        yield f"memory://{tmp_path.name}/data"
    else:
        with s3_server(monkeypatch):
            yield f"s3://{BUCKET}/data"


def write(root: str | Path, seeds: range, storage: str = "image") -> str | Path:
    spec = replace(make_spec(), storage=storage)
    with DatasetWriter(root, spec) as writer:
        for seed in seeds:
            writer.append(make_episode(spec, seed))
    return root


def test_what_is_written_to_a_url_is_read_from_it(root: str) -> None:
    write(root, range(2))
    write(Path(root), range(2, 3))  # goes on; as a path of pathlib, too, as configurations have it
    data = Dataset.open(root)
    assert [episode.seed for episode in data] == [0, 1, 2]
    for index in range(3):
        assert_same(data.episode(index), make_episode(make_spec(), index))


def test_shards_in_a_store_make_the_cache_that_folders_make(root: str, tmp_path: Path) -> None:
    for shard in range(2):
        for where in (root, str(tmp_path / "here")):
            write(f"{where}/shard-{shard:02d}", range(3 * shard, 3 * shard + 3), "video")
    there, here = open_dataset(root), open_dataset(tmp_path / "here")
    assert len(there.parts) == 2 and there.fingerprint == here.fingerprint
    one, other = build_cache(there, tmp_path / "one"), build_cache(here, tmp_path / "other")
    for name in one.cameras:
        np.testing.assert_array_equal(np.asarray(one.images[name]), np.asarray(other.images[name]))
    np.testing.assert_array_equal(one.actions, other.actions)


def test_a_killed_writer_leaves_whole_episodes_in_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(monkeypatch):
        root, before = f"s3://{BUCKET}/data", -1
        for wait in (0.0, 0.15, 0.31):
            with subprocess.Popen([sys.executable, "-c", WRITE, root], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                last = int(process.stdout.readline())
                assert last == before + 1
                time.sleep(wait)
                os.kill(process.pid, signal.SIGKILL)
                counted = [last, *(int(line) for line in process.stdout.read().split("\n")[:-1])]
            data = Dataset.open(root)
            assert data.num_episodes in (counted[-1] + 1, counted[-1] + 2)
            for index, episode in enumerate(data):
                assert_same(episode, make_episode(make_spec(), index))
            before = data.num_episodes - 1


def test_an_episode_whose_last_file_is_missing_is_not_there_and_is_written_again(root: str) -> None:
    write(root, range(1))
    info = store.place(root) / "meta/info.json"
    path = store.opened(info)
    committed = path.read_bytes() if isinstance(path, Path) else path.read()
    write(root, range(1, 2))
    store.replace_file(info, committed)  # as if killed just before the last put
    assert Dataset.open(root).num_episodes == 1
    write(root, range(7, 8))
    assert [episode.seed for episode in Dataset.open(root)] == [0, 7]


def test_two_writers_of_one_machine_are_noticed(root: str) -> None:
    with DatasetWriter(root, make_spec()), pytest.raises(DataError, match="another process is writing"):
        DatasetWriter(root, make_spec())


def test_what_is_not_there_is_named_with_its_url(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no dataset in "):
        Dataset.open(root)
    with pytest.raises(DataError, match=r"'gs'; known are file, s3, memory"):
        Dataset.open("gs://bucket/data")
    if root.startswith("s3"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        store.filesystem.cache_clear()
        with pytest.raises(DataError, match=f"{root}/meta/info.json: the store did not answer .*AWS_ENDPOINT_URL"):
            Dataset.open(root)


def test_a_damaged_file_in_a_store_is_refused(root: str) -> None:
    data = Dataset.open(write(root, range(2)))
    store.replace_file(data.data_path(1), b"half")
    assert_same(data.episode(0), make_episode(make_spec(), 0))
    with pytest.raises(DataError, match=r"file-001.parquet \(4 bytes\) is not the file that was written"):
        data.episode(1)


def test_a_machine_without_s3_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    store.filesystem.cache_clear()
    with pytest.raises(MissingExtraError, match=r"s3fs is not installed .*'.\[s3\]'"):
        Dataset.open("s3://bucket/data")
