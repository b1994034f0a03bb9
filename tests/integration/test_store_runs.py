"""The real `robo-dream collect` and `train` with a store that speaks S3: killed, resumed, and equal to what folders give."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from robo_dream.data.cache import open_dataset, picture_bytes
from robo_dream.data.streamed import GIB
from robo_dream.errors import DataError
from tests.integration.test_apps_collect import ROOT, by_seed, collect
from tests.integration.test_apps_train_plan import COLLECT, TRAIN, robo_dream
from tests.unit.data.s3_server import BUCKET, s3_server


def test_what_is_collected_to_a_store_is_what_a_folder_would_have_though_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(monkeypatch):
        there, asked = f"s3://{BUCKET}/play", ("num_episodes=4", "test_fraction=0.5")
        command = [sys.executable, "-m", "robo_dream.cli.main", "collect", f"out={there}", "play.num_steps=12", *asked]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and _num_episodes(there) < 1:
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
        assert _num_episodes(there) >= 1
        done = collect(Path(there), *asked)
        assert done.returncode == 0, done.stderr
        assert f"{there}: 4 episodes" in done.stdout
        done = collect(tmp_path / "here", *asked)
        assert done.returncode == 0, done.stderr
        stored, local = by_seed(Path(there)), by_seed(tmp_path / "here")
        assert sorted(stored) == sorted(local) == [0, 1, 2, 3]
        for seed, (episode, is_train) in local.items():
            other, also_train = stored[seed]
            assert is_train == also_train and np.array_equal(episode.actions, other.actions) and episode.info == other.info
            assert all(np.array_equal(episode.images[name], other.images[name]) for name in episode.images)


def _num_episodes(root: str) -> int:
    try:
        return open_dataset(root).num_episodes
    except DataError:  # nothing is there yet
        return 0


def test_a_training_from_a_store_within_a_bound_learns_what_one_from_a_folder_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(monkeypatch):
        there, here, learned = f"s3://{BUCKET}/play", tmp_path / "here", {}
        for name, root in (("there", there), ("here", str(here))):
            done = robo_dream("collect", *COLLECT, f"out={root}")
            assert done.returncode == 0, done.stderr
            bound = 0.4 * picture_bytes(open_dataset(root)) / GIB
            folders = (f'datasets=["{root}"]', f"cache={tmp_path}/cache_{name}", f"out={tmp_path}/{name}")
            done = robo_dream("train", *TRAIN, *folders, f"cache_gib={bound:.9f}")
            assert done.returncode == 0, done.stderr
            kept = sum(np.load(path).nbytes for path in (tmp_path / f"cache_{name}").rglob("pictures/*/*.npy"))
            assert 0 < kept <= bound * GIB
            with safe_open(tmp_path / name / "model.safetensors", framework="np") as file:
                learned[name] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
        assert learned["there"].keys() == learned["here"].keys()
        for key, value in learned["here"].items():
            np.testing.assert_array_equal(learned["there"][key], value, err_msg=key)
