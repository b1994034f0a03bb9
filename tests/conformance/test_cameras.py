"""Every camera of the bench keeps the contract of cameras: RealSense live and recorded, OpenCV, folders, and squares of any of them."""

import time
from pathlib import Path

import numpy as np
import pytest

from hardware.cameras.folder import FolderCamera, FolderConfig, FolderWriter
from hardware.cameras.newest import LiveCamera, WatchConfig
from hardware.cameras.opencv import OpenCVConfig, opencv_camera
from hardware.cameras.realsense import RealSenseExposures, RealSenseRecordingConfig, realsense_recording
from robo_dream.embodiment import Camera, Frame, Intrinsics
from robo_dream.runtime.cameras import Crop, SquareCamera
from robo_dream.testing.camera_suite import CameraSuite
from sim.emulators.realsense import SoftwareRealSense, SoftwareRealSenseConfig
from sim.tabletop.world import World

WATCH = WatchConfig(warm_up_frames=1, start_seconds=20.0, lost_after=5.0)
FPS = 15


class LiveSuite(CameraSuite):
    frame_dt = 0.5  # 7 periods, for a busy machine


class TestSoftwareRealSense(LiveSuite):
    def make(self) -> Camera:
        pytest.importorskip("pyrealsense2")
        self.world = World()
        source = SoftwareRealSense(self.world, "front", SoftwareRealSenseConfig(width=96, height=72, fps=FPS))
        return LiveCamera("front", RealSenseExposures(source, FPS), WATCH, self.world.world_from_camera("front"))


class TestSquareOfRealSense(TestSoftwareRealSense):
    def make(self) -> Camera:
        return SquareCamera(super().make(), 48, Crop(side=0.9))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyrealsense2")
    path = tmp_path_factory.mktemp("session") / "session.db3"
    with World() as world:
        config = SoftwareRealSenseConfig(width=96, height=72, fps=FPS, record=path)
        source = SoftwareRealSense(world, "front", config)
        with LiveCamera("front", RealSenseExposures(source, FPS), WATCH) as live:
            while live.health.exposures < 30:
                time.sleep(0.02)
    return path


class TestRealSenseRecording(LiveSuite):
    @pytest.fixture(autouse=True)
    def _session(self, session: Path) -> None:
        self.session = session

    def make(self) -> Camera:
        return realsense_recording(RealSenseRecordingConfig(self.session, fps=FPS, repeat=True, watch=WATCH), np.eye(4))


class TestOpenCVFile(LiveSuite):
    @pytest.fixture(autouse=True)
    def _video(self, tmp_path: Path) -> None:
        cv2 = pytest.importorskip("cv2")
        self.video = tmp_path / "video.avi"
        writer = cv2.VideoWriter(str(self.video), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
        for i in range(60):
            writer.write(np.full((48, 64, 3), 4 * i, np.uint8))
        writer.release()

    def make(self) -> Camera:
        return opencv_camera(OpenCVConfig(str(self.video), repeat=True, watch=WATCH), np.eye(4))


class TestFolder(LiveSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "frames"
        writer = FolderWriter(self.folder, Intrinsics(32, 24, 40.0, 40.0, 16.0, 12.0))
        for i in range(60):
            writer.add(Frame(7.0 + i / FPS, np.full((24, 32, 3), 4 * i, np.uint8), i))

    def make(self) -> Camera:
        return FolderCamera(FolderConfig(self.folder), np.eye(4))
