"""A run trusts a calibration file only while it is of this arm and these cameras, and young."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hardware.arms.ur import UrConfig
from hardware.cameras.realsense import RealSenseConfig
from robo_dream.calibration.file import Calibration, CalibrationLimits, CameraCalibration, save
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import ConfigError, DataError
from robo_dream.runtime.arms import So101Kind, identity_of
from robo_dream.runtime.connect import calibrated_poses
from robo_dream.runtime.run import RunConfig

NOW = datetime(2026, 11, 22, tzinfo=UTC)
POSE = np.array([[0, 1, 0, 0.5], [1, 0, 0, 0], [0, 0, -1, 0.6], [0, 0, 0, 1]], float)


def camera(serial: str, days: float = 1.0) -> CameraCalibration:
    lens, made = Intrinsics(640, 480, 600, 600, 320, 240), (NOW - timedelta(days=days)).isoformat(timespec="seconds")
    return CameraCalibration(serial, "world", tuple(map(tuple, POSE.tolist())), lens, made, 15, 0.3, 1.0, 0.5, 0.1)


def bench(tmp_path: Path, arm: str = "ur 2022", **cameras: CameraCalibration) -> RunConfig:
    path = tmp_path / "calibration.json"
    save(Calibration(arm, cameras or {"front": camera("0423")}), path)
    seen = (RealSenseConfig(name="front", serial="0423"),)
    return RunConfig(arm=UrConfig("10.0.0.2", serial="2022"), cameras=seen, calibration=path)


def test_an_arm_of_servos_is_known_by_its_adapters_serial_number_whatever_its_port_and_by_the_port_where_that_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robo_dream.runtime.arms.usb_serial", {"/dev/ttyACM0": "5A46", "/dev/ttyACM1": "5A46"}.get)
    first, second, none = (identity_of(So101Kind(port=port)) for port in ("/dev/ttyACM0", "/dev/ttyACM1", "/dev/ttyS0"))
    assert first == second == "so101 5A46" and none == "so101 /dev/ttyS0"
    good = bench(tmp_path, arm="so101 5A46")
    assert set(calibrated_poses(replace(good, arm=So101Kind(port="/dev/ttyACM1")), ["front"], NOW)) == {"front"}
    with pytest.raises(ConfigError, match="so101 /dev/ttyS0"):
        calibrated_poses(replace(good, arm=So101Kind(port="/dev/ttyS0")), ["front"], NOW)


def test_a_good_file_gives_the_cameras_poses(tmp_path: Path) -> None:
    np.testing.assert_allclose(calibrated_poses(bench(tmp_path), ["front"], NOW)["front"], POSE)
    assert calibrated_poses(RunConfig(), ["front"]) == {}


def test_a_file_that_is_old_or_of_something_else_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for wanted, said in (
        (bench(tmp_path / "a", "ur 7"), "it was made with arm 'ur 7', this is 'ur 2022': run `robo-dream calibrate all`"),
        (bench(tmp_path / "b", front=camera("0423", 45)), "calibrated 45 days ago, allowed are 30: run `robo-dream calibrate hand-eye`"),
        (bench(tmp_path / "c", front=camera("9")), "camera 'front' had serial '9', now it has '0423'"),
        (bench(tmp_path / "d", side=camera("0423")), "camera 'front' was never calibrated"),
    ):
        with pytest.raises(ConfigError, match="does not hold") as error:
            calibrated_poses(wanted, ["front"], NOW)
        assert said in str(error.value)
    patient = replace(bench(tmp_path / "e", front=camera("0423", 45)), calibration_limits=CalibrationLimits(max_age_days=60))
    assert calibrated_poses(patient, ["front"], NOW)


def test_an_arm_or_camera_that_cannot_be_told_from_others_is_refused(tmp_path: Path) -> None:
    good = bench(tmp_path)
    with pytest.raises(ConfigError, match=r"arm\.serial is not given"):
        calibrated_poses(replace(good, arm=UrConfig("10.0.0.2")), ["front"], NOW)
    with pytest.raises(ConfigError, match="no serial for front"):
        calibrated_poses(replace(good, cameras=(RealSenseConfig(name="front"),)), ["front"], NOW)
    with pytest.raises(ConfigError, match="this is 'so101 /dev/ttyACM0'"):
        calibrated_poses(replace(good, arm=So101Kind(port="/dev/ttyACM0")), ["front"], NOW)
    with pytest.raises(DataError, match="run `robo-dream calibrate all`"):
        calibrated_poses(replace(good, calibration=tmp_path / "none.json"), ["front"], NOW)


def test_a_twin_is_known_by_its_model(tmp_path: Path) -> None:
    wanted = replace(bench(tmp_path, "twin jaco", front=camera("sim-front")), twin=True)
    assert set(calibrated_poses(wanted, ["front"], NOW)) == {"front"}
