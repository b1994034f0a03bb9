"""The parts of the comparison of costs that could quietly be wrong."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from robo_dream.imagination import ScenePose
from robo_dream.planning.costs import TemporalDistance
from sim.environment import task_named
from sim.pairs import build_manifest
from sim.tabletop.environment import Tabletop

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("cost_ranking")


def test_a_cost_that_is_the_truth_has_no_regret_and_its_opposite_has_all(benchmark: ModuleType) -> None:
    left = np.array([0.3, 0.1, 0.2, 0.4])
    origins = np.array([benchmark.ORIGINS.index(origin) for origin in ("proposed", "recorded", "proposed", "noise")])
    best, worst = (benchmark.rank(sign * left, left, left < 0.15, origins) for sign in (1, -1))
    assert (best.spearman, best.regret, best.success) == (1.0, 0.0, 1.0)
    assert (worst.spearman, worst.suggested_spearman, worst.success, worst.possible) == pytest.approx((-1.0, -1.0, 0.0, 1.0))
    assert (worst.regret, worst.unrecorded_regret) == pytest.approx((0.3, 0.2))


def test_a_candidate_drawn_at_random_regrets_the_mean(benchmark: ModuleType) -> None:
    left, origins = np.array([0.3, 0.1, 0.2]), np.array([benchmark.ORIGINS.index(origin) for origin in ("noise", "recorded", "noise")])
    drawn = benchmark.chance(left, left < 0.15, origins)
    assert (drawn.regret, drawn.unrecorded_regret, drawn.success) == pytest.approx((0.1, 0.05, 1 / 3))


def test_pairs_whose_candidates_all_end_alike_do_not_count(benchmark: ModuleType) -> None:
    mean, low, high = benchmark.interval([0.5, float("nan"), 0.5])
    assert (mean, low, high) == (0.5, 0.5, 0.5)


def test_the_object_has_arrived_wherever_the_hand_is_unless_it_is_asked_for(benchmark: ModuleType) -> None:
    arrived = import_module("dream_value").arrived
    wanted = ScenePose(torch.zeros(1, 3), torch.tensor([[1.0, 0.0]]), torch.zeros(1), torch.zeros(1, 1, 3), torch.tensor([[[1.0, 0.0]]]))
    away = ScenePose(torch.ones(1, 3), wanted.tool_yaw, wanted.gripper, wanted.object_pos + 0.01, wanted.object_yaw)
    turned = ScenePose(wanted.tool_pos, wanted.tool_yaw, wanted.gripper, wanted.object_pos, -wanted.object_yaw)
    assert arrived("above_object", away, wanted) and not arrived("as_shown", away, wanted)
    assert not arrived("above_object", turned, wanted)


def test_a_value_reads_as_control_steps_with_goals_encoded_once(benchmark: ModuleType) -> None:
    model = benchmark.load_checkpoint_model(ROOT / "configs/checkpoints/jaco_s.safetensors")
    value = import_module("dream_value").DreamValue(model).requires_grad_(False)
    latents = torch.randn(2, 3, 4, model.spec.config.latent, generator=torch.Generator().manual_seed(0))
    goals = latents[:, :1, :1]
    steps = value(latents, goals)
    assert isinstance(value, TemporalDistance) and steps.shape == (2, 3, 4) and (steps >= 0).all()
    torch.testing.assert_close(steps[1, 2], value(latents[1, 2], goals[1, 0].expand(4, -1)))


def test_pairs_are_as_far_apart_as_asked_and_from_the_seeds_that_were_named() -> None:
    with Tabletop() as world:
        rule = task_named(world, "push").pairs
        assert rule is not None
        rule = replace(rule, nearest=10, farthest=10, num_steps=40)
        manifest = build_manifest(world, "push", 1, first_seed=9_000_000, rule=rule)
    assert manifest.steps.tolist() == [10] and min(manifest.episodes) >= 9_000_000
