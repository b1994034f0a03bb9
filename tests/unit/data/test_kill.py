"""A writer may be killed at any moment: what `append` has returned for stays, and the dataset opens and goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from tests.unit.data.episodes import assert_same, make_episode, make_spec

ROOT = Path(__file__).parents[3]
WRITE = """
import sys
from robo_dream.data.writer import DatasetWriter
from tests.unit.data.episodes import make_episode, make_spec
spec = make_spec()
with DatasetWriter(sys.argv[1], spec) as writer:
    for seed in range(writer.num_episodes, 100_000):
        writer.append(make_episode(spec, seed))
        print(seed, flush=True)
"""


def test_a_killed_writer_loses_no_finished_episode(tmp_path: Path) -> None:
    draw, before = random.Random(0), -1
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            last = int(process.stdout.readline())
            assert last == before + 1
            time.sleep(draw.uniform(0, 0.1))
            os.kill(process.pid, signal.SIGKILL)
            counted = [last, *(int(line) for line in process.stdout.read().split("\n")[:-1])]
        data = Dataset.open(tmp_path)
        assert data.num_episodes in (counted[-1] + 1, counted[-1] + 2)  # committed, but killed before it could say so
        before = data.num_episodes - 1
        assert_same(data.episode(before), make_episode(make_spec(), before))


def test_leftovers_of_a_kill_are_ignored_and_then_removed(tmp_path: Path) -> None:
    spec = make_spec()
    with DatasetWriter(tmp_path, spec) as writer:
        writer.append(make_episode(spec, 0))
        kept = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        writer.append(make_episode(spec, 1))
    info = tmp_path / "meta/info.json"
    info.write_bytes(kept["info.json"])  # as if killed just before the last rename
    (tmp_path / "data/chunk-000/file-002.parquet.tmp-1").write_bytes(b"half")
    assert Dataset.open(tmp_path).num_episodes == 1
    with DatasetWriter(tmp_path, spec) as writer:
        assert not list(tmp_path.rglob("*.tmp-*"))
        assert writer.append(make_episode(spec, 7)) == 1
    assert [episode.seed for episode in Dataset.open(tmp_path)] == [0, 7]
