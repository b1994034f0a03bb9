"""How odd a moment looks to a model: a p-value that holds its rate, names what is odd, and survives a checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SIDE, observation, small_model
from squares import square_frames

from robo_dream.control.decision import Decider
from robo_dream.embodiment import Frame, Observation
from robo_dream.errors import CheckpointError, ConfigError, DataError
from robo_dream.imagination import Goal, PlanStatus
from robo_dream.models import checkpoint
from robo_dream.models.perception_check import GRIPPER, PerceptionCalibration, PerceptionCheck, residual_names, residuals
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.runtime.perception import check_of, write_with_perception
from robo_dream.safety.limits import SafetyLimits
from robo_dream.training.perception_calibration import calibrate_perception, calibration_of

CAMERAS = ("front", "side")
NAMES = residual_names(CAMERAS)


def usual_residuals(num_episodes: int, seed: int, length: int = 100) -> list[np.ndarray]:
    """Residuals that depend on each other, and of which those of one kind are a thousand times as large."""
    rng = np.random.default_rng(seed)
    scale = np.array([1.0, 0.1, 1000.0, 1.0, 0.1, 1000.0, 0.01])
    return [scale * np.abs(rng.normal(size=(length, 7)) + rng.normal(size=(length, 1))) for _ in range(num_episodes)]


@pytest.fixture(scope="module")
def made() -> PerceptionCalibration:
    return calibration_of(usual_residuals(40, 0), NAMES)


@pytest.fixture(scope="module")
def squares_model() -> LatentVideoModel:
    return small_model(3)


@pytest.fixture(scope="module")
def of_squares(squares_model: LatentVideoModel) -> PerceptionCalibration:
    return calibrate_perception(squares_model, square_frames(12, 20, SIDE))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_as_many_usual_moments_are_refused_as_the_rate_says(made: PerceptionCalibration, rate: float) -> None:
    fresh = np.concatenate(usual_residuals(100, 1))  # 10,000 moments
    refused = np.mean([made.usual(moment) <= rate for moment in fresh])
    of_calibrating = np.sqrt(rate * (1 - rate) / made.num_moments)  # the share beyond a quantile of 2,000 moments varies, too
    assert abs(refused - rate) < 4 * np.hypot(of_calibrating, np.sqrt(rate * (1 - rate) / len(fresh))) + 0.05 * rate


def test_the_share_is_the_conformal_p_value_rounded_up(made: PerceptionCalibration) -> None:
    others = made.together(np.concatenate(usual_residuals(40, 0)[1::2]))
    for moment in np.concatenate(usual_residuals(3, 2)):
        exact = (1 + np.sum(others >= made.together(moment))) / (len(others) + 1)
        assert exact * (1 - 1e-9) <= made.usual(moment) <= max(exact / 0.93, exact + 2 / len(others))
    worst = np.full(7, 1e9)
    assert made.usual(worst) == pytest.approx(1 / 2001) == made.least and made.usual(np.full(7, np.nan)) == made.least
    assert made.usual(np.zeros(7)) == 1.0


def test_it_is_the_same_after_a_checkpoint(made: PerceptionCalibration, tmp_path: Path) -> None:
    path = checkpoint.save(small_model(), tmp_path / "m.safetensors", settings=checkpoint.Settings(world={"kind": "tabletop"}))
    assert checkpoint.read_info(path).settings.perception is None
    out = write_with_perception(path, tmp_path / "checked.safetensors", made)
    assert checkpoint.read_info(out).settings.perception == made
    weights = [checkpoint.load(one).state_dict() for one in (path, out)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("oddness"),
        lambda told: told.update(shares=[2.0] * len(told["shares"])),
        lambda told: told.update(middle=told["middle"][1:]),
        lambda told: told.update(high=["much"] * 7),
        lambda told: told.update(oddness=[float("nan")] * len(told["oddness"])),
        lambda told: told.update(num_moments=10**400),
    ],
)
def test_numbers_that_do_not_fit_are_a_checkpoint_error(made: PerceptionCalibration, change: Callable[[dict[str, Any]], object]) -> None:
    told = made.to_json()
    change(told)
    with pytest.raises(CheckpointError, match=r"m\.json: .*calibrate perception"):
        PerceptionCalibration.from_json(told, "m.json")


def test_residuals_are_of_the_pictures_that_the_model_draws(squares_model: LatentVideoModel) -> None:
    seen = observation(4)
    views = [torch.from_numpy(image)[None] for image in seen.images(CAMERAS)]
    proprio = torch.from_numpy(seen.arm.proprio)[None]
    found = dict(zip(NAMES, residuals(squares_model, views, proprio)[0].tolist(), strict=True))
    belief = squares_model.believe([[seen]]).latent
    drawn = {name: picture[0].numpy() for name, picture in squares_model.decode(belief).items()}
    for name, view in zip(CAMERAS, views, strict=True):
        cells = (view[0].numpy().astype(float) - drawn[name]).reshape(8, SIDE // 8, 8, SIDE // 8, 3).mean((1, 3)) / 255
        assert found[f"spot/{name}"] == pytest.approx(np.abs(cells).max(), abs=2 / 255)
        assert found[f"picture/{name}"] == pytest.approx(np.sqrt(np.square(cells).mean()), abs=2 / 255)
    again = squares_model.encoder.look([torch.from_numpy(drawn[name])[None].movedim(-1, 1) / 255 for name in CAMERAS])
    first = squares_model.encoder.look([view.movedim(-1, 1) / 255 for view in views])
    wide = len(again[0]) // 2
    assert found["features/side"] == pytest.approx(float((again - first)[0, wide:].square().mean().sqrt()), rel=0.05)
    believed = squares_model.poses(belief).tool_pos[0].numpy()
    assert found[GRIPPER] == pytest.approx(np.linalg.norm(believed - seen.arm.tool_pos), abs=1e-5)


def moment(seed: int) -> Observation:
    """A usual one: of an episode of squares that nobody calibrated on."""
    frames, at = square_frames(1, 20, SIDE, seed), 7
    arm = observation(0).arm
    arm = replace(arm, tool_pos=frames.proprio[at, :3].astype(float), target_pos=frames.proprio[at, :3].astype(float), gripper=0.0)
    return Observation(0.0, {name: Frame(0.0, frames.images[name][at]) for name in CAMERAS}, arm)


def with_spot(seen: Observation, camera: str) -> Observation:
    image = seen.frames[camera].image.copy()
    image[8:14, 8:14] = (255, 0, 255)
    return replace(seen, frames={**seen.frames, camera: Frame(0.0, image)})


def test_an_odd_picture_is_found_and_its_camera_named(squares_model: LatentVideoModel, of_squares: PerceptionCalibration) -> None:
    check = PerceptionCheck(squares_model, of_squares)
    for camera in CAMERAS:
        usual, odd = check.of(moment(50)), check.of(with_spot(moment(50), camera))
        assert odd.usual < 0.02 < usual.usual and f"camera '{camera}'" in odd.cause


def test_the_same_moment_looks_the_same_to_the_bit(squares_model: LatentVideoModel, of_squares: PerceptionCalibration) -> None:
    first, second = (PerceptionCheck(squares_model, of_squares).of(moment(51)) for _ in range(2))
    assert first.usual == second.usual and np.array_equal(first.residuals, second.residuals)


def test_a_decision_on_an_odd_picture_is_unsure_and_keeps_how_odd(
    squares_model: LatentVideoModel, of_squares: PerceptionCalibration
) -> None:
    model = squares_model
    planner = PolicyGuidedPlanner(
        model, PoseCost(model, PoseCostConfig()), PolicyGuidedConfig(horizon=1, num_samples=8, num_elites=2, num_proposals=0)
    )
    goal, check = Goal(model.believe([[moment(52)]]).latent), PerceptionCheck(model, of_squares)
    limits = SafetyLimits(max_tool_error=None, false_alarms=0.02)
    decider = Decider(model, planner, goal, 0, lambda: 0.0, limits, check=check)
    odd, usual = decider.decide([with_spot(moment(53), "side")], 0, None), decider.decide([moment(53)], 0, None)
    assert odd.plan.status == (PlanStatus.UNSURE,) and "camera 'side'" in odd.reasons[0] and odd.decision.unsure_reasons == odd.reasons
    assert usual.plan.status == (PlanStatus.OK,) and usual.reasons == ()
    assert odd.decision.perception is not None and odd.decision.perception <= 0.02 < (usual.decision.perception or 0)
    off = Decider(model, planner, goal, 0, lambda: 0.0, limits).decide([moment(53)], 0, None)
    assert off.decision.perception is None and np.array_equal(off.decision.actions, usual.decision.actions)


def test_a_check_that_was_never_calibrated_or_too_coarsely_is_refused(made: PerceptionCalibration, tmp_path: Path) -> None:
    model = small_model()
    path = checkpoint.save(model, tmp_path / "m.safetensors", settings=checkpoint.Settings())
    info = checkpoint.read_info(path)
    assert check_of(path, info, model, SafetyLimits()) is None
    with pytest.raises(ConfigError, match=r"limits\.false_alarms is 0\.01, and .*calibrate perception --checkpoint"):
        check_of(path, info, model, SafetyLimits(false_alarms=0.01))
    info = checkpoint.read_info(write_with_perception(path, tmp_path / "c.safetensors", made))
    assert check_of(path, info, model, SafetyLimits(false_alarms=0.01)) is not None
    with pytest.raises(ConfigError, match=r"2000 moments, which tell shares from 0\.0005"):
        check_of(path, info, model, SafetyLimits(false_alarms=0.0001))


def test_another_model_and_too_few_episodes_are_refused(of_squares: PerceptionCalibration, squares_model: LatentVideoModel) -> None:
    with pytest.raises(CheckpointError, match="spot/front"):
        PerceptionCheck(squares_model, replace(of_squares, names=residual_names(("wrist", "side"))))
    with pytest.raises(DataError, match="3 episodes to calibrate by; at least 4"):
        calibrate_perception(squares_model, square_frames(3, 10, SIDE))
