"""The parts of the trust benchmark that could quietly be wrong."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from robo_dream.imagination import Belief, Goal
from robo_dream.planning.costs import PoseCostConfig
from sim.environment import observation_of
from sim.physics.oracle import PhysicsOracle
from sim.tabletop.world import World

ROOT = Path(__file__).parents[2]


@pytest.fixture
def exploits(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("exploits")


@pytest.fixture
def calibration(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("calibration")


def test_an_exploit_promises_much_and_brings_less_than_half(exploits: ModuleType) -> None:
    promised, brought = np.array([10.0, 10.0, 10.0, 2.0, 10.0]), np.array([6.0, 4.0, -3.0, -9.0, 12.0])
    others = [np.zeros(5)] * 6
    found = exploits.Outcomes(promised, brought, *others)
    assert found.is_exploit.tolist() == [False, True, True, False, False]
    assert found.is_kept.tolist() == [True, False, False, False, True]


def test_a_true_cost_is_in_centimetres_of_the_objects_way(exploits: ModuleType) -> None:
    with World() as world, PhysicsOracle(world, num_threads=1) as oracle:
        here, pose = observation_of(world), world.object_poses[0].copy()
        world.set_object(pose + np.array([0.03, 0.04, 0, 0, 0, 0, 0]))
        there = observation_of(world)
        start, goal = (oracle.believe([[seen]]) for seen in (here, there))
        cost = exploits.costs(oracle, PoseCostConfig(object_pos=100.0, object_yaw=6.0), start.latent, Goal(goal.latent))
        nothing = exploits.costs(oracle, PoseCostConfig(object_pos=100.0, object_yaw=6.0), goal.latent, Goal(goal.latent))
    assert isinstance(start, Belief)
    torch.testing.assert_close(cost, torch.tensor([5.0], dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(nothing, torch.zeros(1, dtype=torch.float64), atol=1e-3, rtol=0)


def test_reliability_orders_cases_by_disagreement_and_loses_none(calibration: ModuleType) -> None:
    disagreement = np.random.default_rng(0).permutation(40).reshape(4, 10).astype(float)
    uncertainty, error = calibration.reliability(disagreement, 2 * disagreement, num_parts=40)
    np.testing.assert_array_equal(uncertainty, np.arange(40))
    np.testing.assert_allclose(error, 2 * uncertainty)
    np.testing.assert_allclose(calibration.reliability(disagreement, disagreement)[0].mean(), disagreement.mean())


def test_decisions_in_a_row_never_cross_an_episode(calibration: ModuleType) -> None:
    values = np.stack([np.zeros(12), np.ones(12)])
    assert sorted(set(calibration.in_a_row(values).ravel())) == [0.0, 1.0]
