"""The OpenCV driver, over video files that OpenCV wrote."""

import time
from pathlib import Path

import numpy as np
import pytest

from hardware.cameras.newest import WatchConfig
from hardware.cameras.opencv import OpenCVConfig, opencv_camera
from robo_dream.errors import CameraError, ConfigError

cv2 = pytest.importorskip("cv2")

FPS, COUNT = 25, 20
WATCH = WatchConfig(warm_up_frames=0, start_seconds=20.0, lost_after=5.0)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Frame i is red, 10 i bright."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
    for i in range(COUNT):
        writer.write(np.full((48, 64, 3), (0, 0, 10 * i), np.uint8))  # OpenCV's order is blue, green, red
    writer.release()
    return path


def test_a_video_plays_at_its_own_speed_in_rgb_until_a_named_end(video: Path) -> None:
    with opencv_camera(OpenCVConfig(str(video), watch=WATCH)) as live:
        frames = [live.read()]
        with pytest.raises(CameraError, match=r"video file .*video\.avi has ended"):
            while True:
                frames.append(live.wait_newer(frames[-1].number, 5.0))
        assert live.latency().domain == "arrival" and live.latency().is_relative
    assert frames[-1].time - frames[0].time == pytest.approx((frames[-1].number - frames[0].number) / FPS, abs=0.2)
    assert frames[-1].image[..., 0].mean() == pytest.approx(10 * (COUNT - 1), abs=6) and frames[-1].image[..., 2].mean() < 6


def test_a_repeated_video_goes_on_and_its_number_too(video: Path) -> None:
    with opencv_camera(OpenCVConfig(str(video), repeat=True, watch=WATCH)) as live:
        end, numbers = time.monotonic() + 20, [live.read().number]
        while numbers[-1] < COUNT + 5 and time.monotonic() < end:
            numbers.append(live.wait_newer(numbers[-1], 5.0).number)
    assert numbers[-1] >= COUNT + 5 and numbers == sorted(set(numbers))


def test_what_is_not_there_or_no_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"no camera /dev/video99; V4L2 devices: "), opencv_camera(OpenCVConfig("/dev/video99")):
        pass
    with pytest.raises(CameraError, match=r"no video file .*missing\.avi"), opencv_camera(OpenCVConfig(str(tmp_path / "missing.avi"))):
        pass
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(CameraError, match=r"text\.avi does not open"), opencv_camera(OpenCVConfig(str(tmp_path / "text.avi"))):
        pass


def test_intrinsics_are_those_told_or_guessed_from_the_field_of_view(video: Path) -> None:
    with opencv_camera(OpenCVConfig(str(video), fovy=90.0, repeat=True, watch=WATCH)) as live:
        assert (live.intrinsics.fy, live.intrinsics.cx) == (pytest.approx(24.0), 32.0)
    with opencv_camera(OpenCVConfig(str(video), focal=(50.0, 51.0), centre=(30.0, 25.0), repeat=True, watch=WATCH)) as live:
        assert (live.intrinsics.fx, live.intrinsics.fy, live.intrinsics.cx, live.intrinsics.cy) == (50.0, 51.0, 30.0, 25.0)


@pytest.mark.parametrize("bad", [{"fourcc": "MJ"}, {"fovy": 180.0}, {"width": 0}])
def test_a_bad_configuration_is_refused(bad: dict) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        OpenCVConfig("/dev/video0", **bad)
