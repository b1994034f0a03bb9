"""Every cost of the package, by the suite that ships with it."""

from dataclasses import replace

import torch

from robo_dream.imagination import Cost, Goal, Imagination, LocalGoal
from robo_dream.planning.costs import (
    CostConfig,
    CuriosityCost,
    DisagreementCost,
    DistanceCost,
    LatentCost,
    PoseCost,
    PoseCostConfig,
    StepWeights,
    build_cost,
)
from robo_dream.planning.local_goals import LocalGoalConfig, LocalGoalCost
from robo_dream.testing.cost_suite import CostSuite
from robo_dream.testing.detour import DetourCost
from robo_dream.testing.point_mass import PointMassModel, point_action_spec

MODEL = PointMassModel(point_action_spec())


def taxicab(latents: torch.Tensor, goals: torch.Tensor, /) -> torch.Tensor:
    return (latents - goals).abs().sum(dim=-1)


class OnRandomFutures(CostSuite):
    def make_futures(self) -> tuple[Imagination, Goal]:
        generator = torch.Generator().manual_seed(0)
        latents, goal = torch.randn(2, 3, 4, 8, generator=generator), torch.randn(2, 8, generator=generator)
        return Imagination(latents, torch.rand(2, 3, 4, generator=generator)), Goal(goal)


class TestLatentCost(OnRandomFutures):
    def make(self) -> Cost:
        return LatentCost()


class TestDistanceCost(OnRandomFutures):
    def make(self) -> Cost:
        return DistanceCost(taxicab)


class TestDisagreementCost(OnRandomFutures):
    def make(self) -> Cost:
        return DisagreementCost()


class TestCuriosityCost(OnRandomFutures):
    def make(self) -> Cost:
        return CuriosityCost()


class TestPoseCost(OnRandomFutures):
    def make(self) -> Cost:
        return PoseCost(MODEL, PoseCostConfig(1.0, 0.1, 0.5, 0.1, 0.2, 0.3))


class TestDetourCost(OnRandomFutures):
    def make(self) -> Cost:
        return DetourCost(MODEL)


class ByLatents:
    """A `LocalGoalModel` that is asked for nothing but what it sees."""

    num_numbers = 1

    def seen(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def soon(self, latents: torch.Tensor, goals: torch.Tensor, chance: torch.Tensor, noise: torch.Tensor, steps: int) -> LocalGoal:
        raise NotImplementedError


class OnFuturesWithLocalGoals(OnRandomFutures):
    def make_futures(self) -> tuple[Imagination, Goal]:
        imagination, goal = super().make_futures()
        generator = torch.Generator().manual_seed(1)
        return imagination, replace(goal, local=LocalGoal(torch.randn(2, 8, generator=generator), torch.rand(2, 8, generator=generator)))


class TestLocalGoalCost(OnFuturesWithLocalGoals):
    def make(self) -> Cost:
        return LocalGoalCost(ByLatents(), LocalGoalConfig(steps=10), 5)


class TestNearestLocalGoalCost(OnFuturesWithLocalGoals):
    def make(self) -> Cost:
        return LocalGoalCost(ByLatents(), LocalGoalConfig(steps=5, at="nearest"), 5)


class TestSumWithLocalGoalAndNearestStep(OnFuturesWithLocalGoals):
    def make(self) -> Cost:
        steps = StepWeights(0.2, 0.3, 0.5)
        return build_cost(CostConfig(distance=0.0, latent=0.5, steps=steps, local_goal=LocalGoalConfig()), MODEL, None, ByLatents())


class TestWeightedSum(OnRandomFutures):
    def make(self) -> Cost:
        return build_cost(CostConfig(distance=1.0, latent=0.5, pose=2.0, disagreement=0.1), MODEL, taxicab)
