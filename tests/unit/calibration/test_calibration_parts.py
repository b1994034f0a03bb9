"""Least squares, poses and lags against closed forms; the board drawn at its true size; the file that a run can refuse."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_dream.calibration import file
from robo_dream.calibration.calibration_board import Board, BoardConfig
from robo_dream.calibration.file import Calibration, CameraCalibration, JointCalibration, LatencyCalibration
from robo_dream.calibration.latency import lag, motion, motion_of_points, sweep
from robo_dream.calibration.poses import distance, fit, from_quat, inverse, moved, rotation, rotation_vector
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import ConfigError, ContractError, DataError

vectors = st.lists(st.floats(-1.7, 1.7), min_size=3, max_size=3).map(np.array)


@given(vectors)
def test_a_rotation_vector_survives_its_matrix(vector: np.ndarray) -> None:
    np.testing.assert_allclose(rotation(rotation_vector(rotation(vector))), rotation(vector), atol=1e-6)
    np.testing.assert_allclose(rotation(vector) @ rotation(vector).T, np.eye(3), atol=1e-12)


def test_a_half_turn_and_a_quaternion_are_what_they_should_be() -> None:
    half = rotation(np.array([0, np.pi, 0]))
    np.testing.assert_allclose(half, np.diag([-1.0, 1, -1]), atol=1e-12)
    np.testing.assert_allclose(np.abs(rotation_vector(half)), [0, np.pi, 0], atol=1e-6)
    np.testing.assert_allclose(from_quat(np.array([0.0, 0, 1, 0]), np.zeros(3))[:3, :3], half, atol=1e-12)


def test_inverse_and_distance() -> None:
    start = moved(np.eye(4), np.array([0.3, -0.2, 0.5, 0.4, -0.1, 0.2]))
    np.testing.assert_allclose(inverse(start) @ start, np.eye(4), atol=1e-12)
    metres, degrees = distance(start, moved(start, np.array([0.003, 0.004, 0, 0, 0, np.deg2rad(2)])))
    assert (metres, degrees) == (pytest.approx(0.005), pytest.approx(2.0))


def test_a_line_is_fitted_with_the_textbook_uncertainty_and_an_outlier_hardly_matters() -> None:
    random, x = np.random.default_rng(0), np.linspace(0, 1, 200)
    y = 2 * x + 1 + random.normal(0, 0.01, 200)
    found = fit(lambda p: p[0] * x + p[1] - y, np.zeros(2), outlier=10.0)
    exact = np.polyfit(x, y, 1)
    np.testing.assert_allclose(found.parameters, exact, atol=1e-6)
    np.testing.assert_allclose(found.std[0], 0.01 / np.sqrt(np.sum((x - x.mean()) ** 2)), rtol=0.15)
    y[7] += 50.0
    bent = fit(lambda p: p[0] * x + p[1] - y, np.zeros(2), outlier=0.03)
    np.testing.assert_allclose(bent.parameters, exact, atol=0.005)


@settings(max_examples=15)
@given(st.floats(-0.25, 0.25), st.sampled_from([1.0, -3.0]), st.sampled_from([15.0, 30.0]))
def test_a_lag_is_found_to_milliseconds_through_slow_pictures_of_either_sign(shift: float, gain: float, rate: float) -> None:
    dt = 0.02
    signal = sweep(8.0, dt=dt)
    times = 100 + dt * np.arange(len(signal))
    pictures = np.arange(times[0], times[-1], 1 / rate)
    seen = gain * np.interp(pictures - shift, times, signal)
    found = lag(times, signal, pictures, seen, either_sign=True)
    assert found.seconds == pytest.approx(shift, abs=0.003) and found.correlation > 0.98


def test_records_that_show_different_things_or_hardly_overlap_are_refused() -> None:
    times = 0.02 * np.arange(400)
    noise = np.random.default_rng(0).normal(size=400)
    with pytest.raises(ContractError, match="agree by"):
        lag(times, sweep(8.0), times, noise)
    with pytest.raises(ContractError, match="overlap"):
        lag(times, sweep(8.0), times + 7.5, sweep(8.0))


def test_motion_is_read_from_points_and_from_whole_pictures() -> None:
    way = sweep(4.0, dt=0.05)
    points = np.array([0.1, 0.2, 0.8]) + way[:, None] * np.array([0.03, -0.04, 0.0])
    assert abs(np.corrcoef(motion_of_points(points), way)[0, 1]) > 0.999
    columns = np.arange(96)
    ramps = [np.clip(40 + 2 * (columns - 48 - 4 * at), 0, 255).astype(np.uint8) for at in way]
    pictures = [np.broadcast_to(ramp[None, :, None], (72, 96, 3)) for ramp in ramps]
    assert abs(np.corrcoef(motion(pictures), way)[0, 1]) > 0.95
    with pytest.raises(ContractError, match="at least 8"):
        motion(pictures[:5])


def test_a_board_is_printed_at_its_true_size_on_paper_that_holds_it(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    config = BoardConfig(columns=7, rows=5, square=0.035, marker=0.026)
    paper = Board(config).write_pdf(tmp_path / "board.pdf")
    assert paper == "A4 landscape"
    pdf = (tmp_path / "board.pdf").read_bytes()
    box = [float(word) for word in pdf.split(b"/MediaBox")[1].split(b"[")[1].split(b"]")[0].split()]
    np.testing.assert_allclose(np.array(box[2:]) / 72 * 0.0254, (0.297, 0.210), atol=1e-4)
    Board(config).write_png(tmp_path / "board.png")
    from PIL import Image

    with Image.open(tmp_path / "board.png") as picture:
        dots = picture.info["dpi"]
        np.testing.assert_allclose(np.array(picture.size) / dots * 0.0254, config.size, atol=1e-4)
        detection = Board(config).detect(np.asarray(picture.convert("RGB").resize((1400, 1000))))
    assert detection is not None and len(detection.ids) == 6 * 4
    pixels = detection.points[:, :2] / 0.035 * 200  # 200 px a square
    np.testing.assert_allclose(detection.pixels, pixels, atol=0.5)


def test_a_board_that_cannot_be_is_refused() -> None:
    pytest.importorskip("cv2")
    with pytest.raises(ConfigError, match="no paper"):
        Board(BoardConfig(columns=12, rows=9, square=0.08, marker=0.06)).write_pdf(Path("/nowhere/board.pdf"))
    with pytest.raises(ConfigError, match="dictionary"):
        Board(BoardConfig(dictionary="9X9_50"))
    with pytest.raises(ConfigError, match="marker"):
        BoardConfig(marker=0.05)
    assert Board(BoardConfig()).detect(np.full((480, 640, 3), 128, np.uint8)) is None


def calibration(made: str = "2026-11-01T12:00:00+00:00") -> Calibration:
    rows = tuple(tuple(row) for row in moved(np.eye(4), np.array([0.9, 0, 0.5, 0.1, 2.0, 0.3])).tolist())
    camera = CameraCalibration("0423", "world", rows, Intrinsics(640, 480, 600.0, 600.0, 320.0, 240.0), made, 14, 0.2, 0.8, 0.2, 0.02)
    joints = JointCalibration(made, (), (0.0, 0.01, -0.02), (0.1, 0.001, 0.001), (False, True, True))
    return Calibration("so101:5A4B", {"front": camera}, joints, LatencyCalibration(made, 0.07, {"front": 0.004}, 0.99))


AT = datetime(2026, 11, 10, tzinfo=UTC)


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    file.save(calibration(), tmp_path / "deep" / "calibration.json")
    assert file.load(tmp_path / "deep" / "calibration.json") == calibration()
    assert file.problems(calibration(), "so101:5A4B", {"front": "0423"}, AT) == ()


@pytest.mark.parametrize(
    ("changed", "arm", "cameras", "at", "said"),
    [
        ({}, "so101:FFFF", {"front": "0423"}, AT, "made with arm 'so101:5A4B', this is 'so101:FFFF'"),
        ({}, "so101:5A4B", {"front": "0511"}, AT, "serial '0423', now it has '0511'"),
        ({}, "so101:5A4B", {"side": "0423"}, AT, "camera 'side' was never calibrated (there is front)"),
        ({}, "so101:5A4B", {"front": "0423"}, AT + timedelta(days=40), "48 days ago, allowed are 30"),
        ({}, "so101:5A4B", {"front": "0423"}, AT - timedelta(days=20), "in the future"),
        ({"rms_px": 3.0}, "so101:5A4B", {"front": "0423"}, AT, "to 3.00 px only, allowed are 1.5"),
        ({"rms_mm": float("nan")}, "so101:5A4B", {"front": "0423"}, AT, "mm only"),
    ],
)
def test_a_run_is_told_why_a_calibration_does_not_hold(changed: dict, arm: str, cameras: dict, at: datetime, said: str) -> None:
    whole = calibration()
    whole = whole.with_camera("front", replace(whole.cameras["front"], **changed))
    (problem,) = file.problems(whole, arm, cameras, at)
    assert said in problem and problem.split(": ", 1)[1].startswith(("run", "set"))


def test_joints_that_count_wrong_are_told() -> None:
    joints = JointCalibration("2026-11-01T12:00:00+00:00", (2,), (0.3, 0.1, 0.0), (0.1, 0.001, 0.001), (False, True, True))
    found = file.problems(replace(calibration(), joints=joints), "so101:5A4B", {}, AT)
    assert len(found) == 2 and "joints [2] turn against" in found[0] and "joint 1 is off by 5.7 degrees" in found[1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "cannot read"),
        (lambda text: text.replace('"version": 1', '"version": 9'), "version 9"),
        (lambda text: text.replace("robo_dream calibration", "something else"), "not a calibration"),
        (lambda text: text.replace('"mount": "world"', '"mount": "moon"'), "moon"),
        (lambda text: text.replace('"num_views"', '"number"'), "damaged"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, damage, said: str) -> None:
    path = tmp_path / "calibration.json"
    file.save(calibration(), path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=said):
        file.load(path)


def test_a_pose_that_is_not_rigid_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    file.save(calibration(), path)
    data = json.loads(path.read_text())
    data["cameras"]["front"]["pose"][0][0] += 0.5
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="not rigid"):
        file.load(path)
    with pytest.raises(DataError, match="calibrate all"):
        file.load(tmp_path / "missing.json")
