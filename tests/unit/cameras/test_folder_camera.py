"""Folders of pictures with times: written, played, and refused when damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from hardware.cameras.folder import FolderCamera, FolderConfig, FolderWriter, read_folder
from robo_dream.embodiment import Frame, Intrinsics
from robo_dream.errors import CameraError, ConfigError, DataError
from robo_dream.testing.clocks import ManualClock

LENS = Intrinsics(8, 6, 10.0, 10.0, 4.0, 3.0)
TIMES = (50.0, 50.1, 50.2, 52.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "frames"
    writer = FolderWriter(path, LENS, "0423")
    for i, time in enumerate(TIMES):
        writer.add(Frame(time, np.full((6, 8, 3), 20 * i, np.uint8), 3 * i))
    return path


def test_it_shows_what_was_seen_at_the_same_time_after_the_start_and_its_end_is_named(folder: Path) -> None:
    clock = ManualClock(1000.0)
    with FolderCamera(FolderConfig(folder), clock=clock.now) as camera:
        for elapsed, i in ((0.0, 0), (0.05, 0), (0.1001, 1), (0.25, 2), (2.0001, 3)):
            clock.time = 1000.0 + elapsed
            frame = camera.read()
            assert (frame.number, frame.image[0, 0, 0]) == (3 * i, 20 * i)
            assert frame.time == pytest.approx(1000.0 + TIMES[i] - 50.0)
        clock.time = 1001.5
        with pytest.raises(CameraError, match="hole"):
            camera.read()
        clock.time = 1003.5
        with pytest.raises(CameraError, match="has ended"):
            camera.read()


def test_a_line_cut_short_by_a_crash_costs_one_frame(folder: Path) -> None:
    index = folder / "frames.jsonl"
    index.write_bytes(index.read_bytes()[:-9])
    lens, entries = read_folder(folder)
    assert lens == LENS and [entry["number"] for entry in entries] == [0, 3, 6]


def test_damage_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="already holds"):
        FolderWriter(folder, LENS)
    with pytest.raises(DataError, match=r"camera\.json"):
        read_folder(tmp_path)
    lines = (folder / "frames.jsonl").read_text().splitlines()
    (folder / "frames.jsonl").write_text("\n".join([lines[0], "junk", *lines[2:]]))
    with pytest.raises(DataError, match=r"frames\.jsonl:2"):
        read_folder(folder)
    (folder / "frames.jsonl").write_text("\n".join([lines[1], lines[0]]))
    with pytest.raises(DataError, match="times that go up"):
        read_folder(folder)
    (folder / "frames.jsonl").write_text(json.dumps({"number": 0, "time": 1.0, "file": "000000.png"}))
    (folder / "000000.png").write_bytes(b"no picture")
    with FolderCamera(FolderConfig(folder), clock=ManualClock(0.0).now) as camera, pytest.raises(DataError, match=r"000000\.png"):
        camera.read()
