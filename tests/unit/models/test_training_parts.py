"""Parts of training against an independent truth."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from squares import square_frames

from robo_dream.errors import DataError
from robo_dream.models.config import ModelConfig
from robo_dream.training.frames import (
    Frames,
    blocks_after,
    bootstrap_weights,
    frame_index,
    goal_frames,
    model_spec,
    pictures,
    pose_labels,
    returns,
)
from robo_dream.training.losses import covariance_loss, expectile_loss, pixel_loss, pose_loss
from robo_dream.training.probes import linear_probe, probe_errors, spearman
from robo_dream.training.stage import MetricsLog


def test_returns_are_where_the_hand_is_back_and_the_object_is_elsewhere() -> None:
    cache = square_frames(2, 20)
    tool, things = np.zeros((len(cache.actions), 3)), np.zeros((len(cache.actions), 2, 3))
    tool[5:15] = 0.5  # away, and back at frame 15
    assert not len(returns(cache, tool, things, 10))  # nothing was changed
    things[10:20, 1] = 0.1  # one was moved on the way, in the first episode
    found = returns(cache, tool, things, 10)
    assert len(found) and cache.is_train[0]
    start, goal = found.T
    assert (goal - start >= 10).all() and (start < 5).all() and (goal >= 15).all() and (goal < cache.episode_starts[1]).all()
    assert not len(returns(cache, tool, np.full_like(things, np.nan), 10))


def test_windows_and_goals_never_cross_an_episode() -> None:
    cache = square_frames(6, 20)
    assert isinstance(cache, Frames)
    index = frame_index(cache, 11)
    episode = np.repeat(np.arange(6), 20)
    assert (episode[index.starts] == episode[index.starts + 10]).all()
    assert cache.is_train[episode[index.starts]].all()
    assert len(index.starts) == 10 * int(cache.is_train.sum())
    goals = goal_frames(np.random.default_rng(0), index.starts, index.last[index.starts], 5, 60)
    assert (episode[goals] == episode[index.starts]).all() and (goals >= index.starts + 5).all()


def test_too_long_a_window_is_an_error_that_says_how_long_the_episodes_are() -> None:
    with pytest.raises(DataError, match="longest of 20"):
        frame_index(square_frames(4, 20), 30)


def test_blocks_are_the_actions_after_the_frame_in_order() -> None:
    actions = np.arange(40, dtype=np.float32).reshape(20, 2)
    blocks = blocks_after(actions, np.array([3]), 2, 5)
    assert blocks.shape == (1, 2, 5, 2)
    np.testing.assert_array_equal(blocks.reshape(10, 2), actions[3:13])


def test_a_shifted_picture_moves_down_and_right() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    moved = pictures(images, np.array([1]), np.array([[2, 1]]))
    np.testing.assert_array_equal(moved[0, 2:, 1:], images[1, :-2, :-1])


def test_bootstrap_gives_each_head_its_own_half_every_time() -> None:
    windows = np.arange(0, 160000, 16)
    weights = bootstrap_weights(windows, 4, 0.5, 0)
    assert set(np.unique(weights)) == {0.0, 2.0}
    np.testing.assert_allclose(weights.mean(1), 1.0, atol=0.06)  # 6 standard errors of 10,000 coins
    together = np.corrcoef(weights) - np.eye(4)
    assert np.abs(together).max() < 0.06
    np.testing.assert_array_equal(weights[:, 7], bootstrap_weights(windows[7:8], 4, 0.5, 0)[:, 0])


def test_spearman_agrees_with_scipy_with_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 10, 200).astype(float), rng.normal(size=200)
    assert spearman(a, a + b) == pytest.approx(stats.spearmanr(a, a + b).statistic)


def test_equal_looks_of_a_box_have_equal_labels() -> None:
    cache = square_frames(2, 10)
    for turn in (0.0, np.pi / 2, np.pi, -np.pi / 2):
        cache.object_pose[:, 3:] = [np.cos(turn / 2), 0, 0, np.sin(turn / 2)]
        np.testing.assert_allclose(pose_labels(cache, 4)[:, 9:], [[1, 0]] * 20, atol=1e-5)


def test_unknown_object_poses_teach_nothing_and_break_nothing() -> None:
    wanted = torch.zeros(2, 11)
    wanted[1, 6:] = torch.nan
    predicted = torch.ones(2, 11, requires_grad=True)
    pose_loss(predicted, wanted).backward()
    assert predicted.grad is not None and (predicted.grad[1, 6:] == 0).all() and (predicted.grad[1, :6] != 0).all()
    cache = square_frames(2, 10)
    cache.object_pose[:] = np.nan
    assert all(np.isfinite(model_spec(cache, ModelConfig(image_size=32)).pose.std))


def test_drawing_the_mean_picture_costs_one_without_focus() -> None:
    pixels = torch.rand(500, 3, 4, 4)
    mean = pixels.mean(0)
    variance = float((pixels - mean).square().mean())
    assert float(pixel_loss(mean.expand_as(pixels), pixels, mean, variance, 0.0)) == pytest.approx(1.0, rel=1e-4)


def test_expectile_loss_is_least_at_the_optimistic_expectile() -> None:
    seen = torch.tensor([0.2] * 50 + [0.8] * 50)
    grid = torch.linspace(0, 1, 101)
    costs = torch.stack([expectile_loss(guess.expand(100), seen, 0.9) for guess in grid])
    # closed form: 0.9 * (g - 0.2) = 0.1 * (0.8 - g)
    assert float(grid[costs.argmin()]) == pytest.approx(0.26, abs=0.011)


def test_copies_of_a_channel_cost_covariance_and_independent_ones_do_not() -> None:
    free = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    assert float(covariance_loss(free)) < 0.05 < float(covariance_loss(free[:, :1].expand(-1, 8)))


def test_linear_probe_recovers_a_linear_map_and_errors_are_in_millimetres_and_degrees() -> None:
    generator = torch.Generator().manual_seed(0)
    latents, linear = torch.randn(400, 16, generator=generator), torch.randn(16, 11, generator=generator)
    predicted = linear_probe(latents[:300], latents[:300] @ linear, latents[300:])
    torch.testing.assert_close(predicted, latents[300:] @ linear, atol=0.05, rtol=0.01)
    wanted = torch.zeros(5, 11)
    wanted[:, 9] = 1.0
    moved = wanted.clone()
    moved[:, 6] = 0.01
    moved[:, 9:] = torch.tensor([np.cos(0.4), np.sin(0.4)])  # 4 times 0.1 rad
    errors = probe_errors(moved, wanted, 4)
    assert errors["object_mm"] == pytest.approx(10.0) and errors["tool_mm"] == 0
    assert errors["object_yaw_deg"] == pytest.approx(np.degrees(0.1), rel=1e-4)


def test_pictures_of_another_size_are_named() -> None:
    with pytest.raises(DataError, match="front"):
        model_spec(square_frames(2, 10, side=32), ModelConfig(image_size=64))


def test_metrics_are_appended_as_lines_of_json(tmp_path: Path) -> None:
    for step in (1, 2):
        with MetricsLog(tmp_path) as log:
            log.write("dream", step, {"loss": 0.5})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"], line["loss"]) for line in lines] == [("dream", 1, 0.5), ("dream", 2, 0.5)]
