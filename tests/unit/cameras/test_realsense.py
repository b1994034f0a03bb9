"""The RealSense driver over real librealsense objects: a software device that looks into MuJoCo, and what it recorded."""

import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hardware.cameras.newest import LiveCamera, WatchConfig
from hardware.cameras.realsense import (
    RealSenseConfig,
    RealSenseExposures,
    RealSenseRecordingConfig,
    realsense_camera,
    realsense_recording,
)
from robo_dream.errors import CameraError, ConfigError, ContractError
from sim.emulators.camera_faults import CameraFault
from sim.emulators.realsense import SoftwareRealSense, SoftwareRealSenseConfig
from sim.rendering import SceneRenderer
from sim.tabletop.world import World

rs = pytest.importorskip("pyrealsense2")

FPS = 15
SMALL = SoftwareRealSenseConfig(width=96, height=72, fps=FPS)
WATCH = WatchConfig(warm_up_frames=2, start_seconds=10.0, lost_after=1.0, reconnects=3, reconnect_wait=0.05)
STAMP_TOLERANCE = 1e-4  # s; milliseconds since 1970 as a double are good to a microsecond
SCHEDULING = 1.0  # s by which a busy machine may be late


def camera(source: SoftwareRealSense, watch: WatchConfig = WATCH, **settings: float) -> LiveCamera:
    return LiveCamera("front", RealSenseExposures(source, FPS, **settings), watch)


def shot_at(source: SoftwareRealSense, stamp: float):
    return next(shot for shot in list(source.shots) if abs(shot.time - stamp) < 1e-3)


def until(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_frames_are_what_was_rendered_stamped_in_the_middle_of_the_exposure(world: World) -> None:
    source = SoftwareRealSense(world, "front", SMALL)
    with camera(source) as live:
        number = -1
        for _ in range(10):
            frame = live.wait_newer(number, 5.0)
            shot, number = shot_at(source, frame.time), frame.number
            np.testing.assert_array_equal(frame.image, shot.image)
            assert abs(frame.time - shot.time) < STAMP_TOLERANCE
        assert live.health.unpaired >= 1  # the first ones come alone, and never out
        late = live.latency()
    assert late.domain == "epoch" and not late.is_relative and 0 < late.p50 <= late.p95 <= late.p99 <= late.worst


def test_depth_is_in_metres_and_lies_on_colour(world: World) -> None:
    source = SoftwareRealSense(world, "front", SMALL)
    with camera(source) as live:
        depth = live.wait_newer(live.read().number, 5.0).depth
    renderer = SceneRenderer(world.model, SMALL.width, SMALL.height)
    renderer.look(world.data, "front")
    truth = renderer.depth()
    renderer.close()
    assert depth is not None and depth.dtype == np.float32
    smooth = (np.abs(np.gradient(truth)[0]) < 0.01) & (np.abs(np.gradient(truth)[1]) < 0.01) & (depth > 0) & (truth < 3)
    assert smooth.mean() > 0.4
    assert np.quantile(np.abs(depth - truth)[smooth], 0.95) < 0.02  # m: within a pixel of parallax on a slanted table


def test_a_clock_of_the_cameras_own_is_told_and_the_delay_that_it_hides_can_be_corrected(world: World) -> None:
    source = SoftwareRealSense(world, "front", SoftwareRealSenseConfig(width=96, height=72, fps=FPS, latency=0.05, domain="hardware_clock"))
    with camera(source, WatchConfig(warm_up_frames=2, start_seconds=10.0, delay=0.05)) as live:
        until(lambda: live.health.exposures > 15)
        frame = live.read()
        late = live.latency()
        errors = [frame.time - shot.time for shot in list(source.shots)]
    assert late.domain == "device" and late.is_relative
    assert min(np.abs(errors)) < 0.015  # within half a period of the right exposure, most of it scheduling


@pytest.mark.parametrize("kind", ["repeat", "unpaired", "drop"])
def test_faults_of_single_frames_are_counted_and_never_shown(world: World, kind: str) -> None:
    source = SoftwareRealSense(world, "front", SMALL)
    counted = {"repeat": "repeated", "unpaired": "unpaired", "drop": "missing"}[kind]
    with camera(source) as live:
        until(lambda: live.health.exposures > 5)
        before = getattr(live.health, counted)
        source.inject(CameraFault(kind, 3))
        until(lambda: getattr(live.health, counted) >= before + 3)
        frame = live.wait_newer(live.read().number, 5.0)
        np.testing.assert_array_equal(frame.image, shot_at(source, frame.time).image)


def test_the_newest_frame_never_goes_back_in_time_whatever_goes_wrong(world: World) -> None:
    source = SoftwareRealSense(world, "front", SMALL)
    seen, stop = [], threading.Event()
    with camera(source, replace(WATCH, reconnects=100)) as live:  # a busy machine may need many

        def read() -> None:
            while not stop.is_set():
                try:
                    frame = live.read()
                    seen.append((frame.number, frame.time))
                except CameraError:
                    pass
                time.sleep(0.002)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        for kind, count in (("repeat", 3), ("drop", 2), ("loop", 1), ("unpaired", 2), ("unplug", 9)):
            source.inject(CameraFault(kind, count))
            until(lambda start=live.health.exposures: live.health.exposures > start + 8)
        stop.set()
        reader.join()
        assert live.health.loops == 1 and live.health.losses >= 2 and live.health.reconnects == live.health.losses
    assert all(after >= before for before, after in pairwise(seen))
    assert len(set(seen)) > 20


def test_a_stall_is_a_named_error_in_the_stated_time_and_goes_away_by_itself(world: World) -> None:
    source = SoftwareRealSense(world, "front", SMALL)
    with camera(source) as live:
        source.inject(CameraFault("stall", 40))
        start = time.monotonic()
        with pytest.raises(CameraError, match=r"camera 'front' \(software RealSense sim-0001\): no new (frame|exposure) for [12]\.\d+ s"):
            while True:
                live.read()
                time.sleep(0.005)
        assert time.monotonic() - start < WATCH.lost_after + 1 / FPS + SCHEDULING
        until(lambda: _reads(live))
        assert live.health.stalls + live.health.losses >= 1


def test_an_unplugged_camera_is_a_named_error_in_the_stated_time_and_for_good_when_it_stays_away(world: World) -> None:
    source = SoftwareRealSense(world, "front", SMALL)
    with camera(source) as live:
        source.inject(CameraFault("unplug", 10_000))
        start = time.monotonic()
        with pytest.raises(CameraError, match="sim-0001"):
            while True:
                live.read()
                time.sleep(0.005)
        assert time.monotonic() - start < WATCH.lost_after + SCHEDULING
        until(lambda: "3 attempts to open it again failed, the last with: no RealSense with serial sim-0001" in _error(live))


def test_an_unplugged_camera_that_is_plugged_in_again_goes_on(world: World) -> None:
    source = SoftwareRealSense(world, "front", SMALL)
    with camera(source) as live:
        before = live.read()
        source.inject(CameraFault("unplug", 5))
        until(lambda: live.health.reconnects == 1 and _reads(live) and live.read().number > before.number)
        assert live.read().time > before.time


def test_two_cameras_at_once(world: World) -> None:
    lock = threading.Lock()
    configs = {name: SoftwareRealSenseConfig(serial=name, width=96, height=72, fps=15) for name in ("front", "side")}
    sources = [SoftwareRealSense(world, name, config, lock) for name, config in configs.items()]
    first, second = (LiveCamera(source.config.serial, RealSenseExposures(source, 15), WATCH) for source in sources)
    with first, second:
        until(lambda: min(first.health.exposures, second.health.exposures) > 10)
        assert abs(first.read().time - second.read().time) < 0.5
        assert not np.array_equal(first.read().image, second.read().image)


def test_settings_reach_the_colour_sensor_and_one_out_of_range_is_refused(world: World) -> None:
    source = SoftwareRealSense(world, "front", SMALL)
    with camera(source, exposure=0.01, white_balance=4000.0):
        sensor = source.sensors()[0]
        assert sensor.get_option(rs.option.exposure) == 100  # of 0.1 ms
        assert sensor.get_option(rs.option.enable_auto_exposure) == 0 and sensor.get_option(rs.option.white_balance) == 4000
    with pytest.raises(CameraError, match="white_balance would be 9000; allowed 2800 to 6500"), camera(source, white_balance=9000.0):
        pass


def test_a_camera_that_is_not_there_names_what_is() -> None:
    with pytest.raises(CameraError, match=r"no RealSense with serial 0423; connected: "):
        realsense_camera(RealSenseConfig(serial="0423")).__enter__()


def test_what_a_camera_cannot_know_yet_is_nan_and_one_that_is_closed_cannot_be_read(world: World) -> None:
    live = camera(SoftwareRealSense(world, "front", SMALL))
    assert np.isnan(live.world_from_camera).all() and np.isnan(live.intrinsics.fx)
    with pytest.raises(ContractError, match="use it in a `with` block"):
        live.read()


@pytest.mark.parametrize("bad", [{"fps": 0}, {"exposure": 0.1}])
def test_a_bad_configuration_is_refused(bad: dict) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        RealSenseConfig(**bad)


@pytest.fixture(scope="module")
def recording(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half of the software device, as librealsense records it."""
    path = tmp_path_factory.mktemp("recording") / "session.db3"
    config = SoftwareRealSenseConfig(width=96, height=72, fps=FPS, record=path)
    with camera(SoftwareRealSense(world, "front", config)) as live:
        until(lambda: live.health.exposures > 24)
    return path


def test_a_recorded_session_replays_through_the_same_driver_and_its_end_is_a_named_error(recording: Path, world: World) -> None:
    config = RealSenseRecordingConfig(recording, fps=FPS, watch=WatchConfig(warm_up_frames=0, start_seconds=10.0))
    with realsense_recording(config) as live:
        frames = [live.read()]
        with pytest.raises(CameraError, match="has ended"):
            while True:
                frames.append(live.wait_newer(frames[-1].number, 5.0))
        assert live.intrinsics.fx == pytest.approx(world.intrinsics("front").fy * SMALL.height / 96, rel=1e-5)
        assert live.health.loops == 0 and live.health.exposures >= 20
    assert len(frames) > 12 and all(frame.depth is not None and frame.image.std() > 5 for frame in frames)
    assert all(after.time > before.time and after.number > before.number for before, after in pairwise(frames))


def test_a_recording_that_repeats_is_a_loop_each_time_and_time_goes_on(recording: Path) -> None:
    config = RealSenseRecordingConfig(recording, fps=FPS, repeat=True, watch=WatchConfig(warm_up_frames=0, start_seconds=10.0))
    with realsense_recording(config) as live:
        frames = [live.read()]
        while live.health.loops < 2:
            frames.append(live.wait_newer(frames[-1].number, 5.0))
    assert all(after.time > before.time for before, after in pairwise(frames))


@pytest.fixture(scope="module")
def troubled_recording(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session in which exposures came twice, without their own depth, not at all, and for two seconds none."""
    path = tmp_path_factory.mktemp("recording") / "troubled.db3"
    source = SoftwareRealSense(world, "front", SoftwareRealSenseConfig(width=96, height=72, fps=FPS, record=path))
    with camera(source, replace(WATCH, lost_after=5.0)) as live:
        for kind, count in (("repeat", 5), ("unpaired", 5), ("drop", 5), ("stall", 2 * FPS)):
            source.inject(CameraFault(kind, count))
            until(lambda start=live.health.exposures: live.health.exposures > start + 8)
    return path


def test_what_went_wrong_in_a_recorded_session_is_caught_when_it_replays(troubled_recording: Path) -> None:
    watch = WatchConfig(warm_up_frames=0, start_seconds=10.0, lost_after=10.0)
    with realsense_recording(RealSenseRecordingConfig(troubled_recording, fps=FPS, watch=watch)) as live:
        frames = [live.read()]
        with pytest.raises(CameraError, match="has ended"):
            while True:
                frames.append(live.wait_newer(frames[-1].number, 20.0))
        health = live.health
    assert health.repeated >= 1 and health.unpaired >= 1 and health.missing >= 1 and health.stalls >= 1
    assert len(frames) > 10 and all(after.time > before.time and after.number > before.number for before, after in pairwise(frames))


def test_a_stall_in_a_recorded_session_is_a_named_error_at_the_time(troubled_recording: Path) -> None:
    watch = WatchConfig(warm_up_frames=0, start_seconds=10.0, lost_after=0.8, reconnects=0)
    config = RealSenseRecordingConfig(troubled_recording, fps=FPS, watch=watch)
    with realsense_recording(config) as live, pytest.raises(CameraError, match=r"no new (frame|exposure) for"):
        number = live.read().number
        while True:
            number = live.wait_newer(number, 20.0).number


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.db3").write_bytes(b"not a database")
    with pytest.raises(CameraError, match="not a recording"), realsense_recording(RealSenseRecordingConfig(tmp_path / "broken.db3")):
        pass
    with pytest.raises(CameraError, match=r"no RealSense recording .*missing\.db3; recordings in .*: broken\.db3"):
        realsense_recording(RealSenseRecordingConfig(tmp_path / "missing.db3")).__enter__()


def _reads(live: LiveCamera) -> bool:
    return _error(live) == ""


def _error(live: LiveCamera) -> str:
    try:
        live.read()
    except CameraError as error:
        return str(error)
    return ""
