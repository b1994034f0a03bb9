"""The video and the sheets show what the record says, where they say they show it."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from recorded_runs import SIDE, draw, observation, write_run

from robo_dream.errors import DataError
from robo_dream.recording.record import RunRecord, read_run
from robo_dream.viewer.pictures import banner, contact_sheet, enlarge, run_sheet
from robo_dream.viewer.video import VideoConfig, episode_pictures, write_video

CONFIG = VideoConfig(picture_size=64, fps=5.0, last_seconds=0.4)
GAP, TITLE = 6, 24  # px between pictures, and above them
PICTURE = 64


def panel(picture: np.ndarray, column: int, row: int = 0) -> np.ndarray:
    top, left = TITLE + row * (PICTURE + GAP), column * (PICTURE + GAP)
    return picture[top : top + PICTURE, left : left + PICTURE]


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    write_run(tmp_path, 12)
    return read_run(tmp_path)


def test_goal_reality_and_imagination_stand_side_by_side(run: RunRecord) -> None:
    pictures = list(episode_pictures(run, draw, CONFIG))
    assert len(pictures) == 13 + 2 and len({picture.shape for picture in pictures}) == 1
    for step in range(13):
        for row, camera in enumerate(("front", "side")):
            assert (panel(pictures[step], 0, row) == 200).all()
            assert np.array_equal(panel(pictures[step], 1, row), enlarge(observation(step).frames[camera].image, PICTURE // SIDE))


def test_between_two_decisions_the_whole_plan_is_played_once(run: RunRecord) -> None:
    shades = [int(panel(picture, 2)[0, 0, 0]) for picture in list(episode_pictures(run, draw, CONFIG))[:13]]
    assert shades == [50, 50, 100, 100, 150] * 2 + [50, 50, 100]


def test_the_last_picture_says_how_it_ended_and_stays(run: RunRecord) -> None:
    silent, said = (list(episode_pictures(run, draw, CONFIG, [0.1] * 13, verdict)) for verdict in ("", "success, held"))
    assert np.array_equal(silent[5], said[5])
    assert not np.array_equal(silent[-1], said[-1]) and np.array_equal(said[-1], said[-2])


def test_a_run_without_steps_cannot_be_shown(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    for path in (tmp_path / "steps").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no steps"):
        list(episode_pictures(read_run(tmp_path), draw, CONFIG))


def test_the_video_plays_anywhere_and_has_every_picture(run: RunRecord, tmp_path: Path) -> None:
    pictures = list(episode_pictures(run, draw, CONFIG))
    path = write_video(tmp_path / "deep" / "video.mp4", pictures, 5.0, crf=1)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, float(stream.average_rate or 0)) == ("h264", "yuv420p", 5.0)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream) if isinstance(frame, VideoFrame)]
    assert len(frames) == len(pictures)
    shown = panel(frames[4], 2)[8:-8, 8:-8].astype(int)
    assert abs(shown.mean() - 150) < 8  # colours survive H.264 within a few levels
    assert not list((tmp_path / "deep").glob("*.tmp*"))


def test_text_is_there_to_be_read() -> None:
    line = banner("decision 3: guarded", 300)
    assert line.shape == (24, 300, 3) and line.max() > 200 and (line > 200).any(axis=(1, 2)).sum() >= 8


def test_a_sheet_has_a_row_for_each_decision_and_camera(run: RunRecord) -> None:
    one, all_three = run_sheet(run, draw, max_decisions=1), run_sheet(run, draw)
    assert all_three.shape[0] == 3 * one.shape[0] and all_three.shape[1] == one.shape[1] >= 5 * 128


def test_a_contact_sheet_is_as_wide_as_its_widest_strip() -> None:
    sheet = contact_sheet([("a", np.full((4, 10, 3), 9, np.uint8)), ("b", np.full((4, 30, 3), 8, np.uint8))], factor=2)
    assert sheet.shape[1] == 60 and (sheet == 9).all(axis=2).sum() == 8 * 20 and (sheet == 8).all(axis=2).sum() == 8 * 60
