"""Every cost of the package, by the suite that ships with it."""

import torch

from robo_dream.imagination import Cost, Goal, Imagination
from robo_dream.planning.costs import CostConfig, DisagreementCost, DistanceCost, LatentCost, PoseCost, PoseCostConfig, build_cost
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


class TestPoseCost(OnRandomFutures):
    def make(self) -> Cost:
        return PoseCost(MODEL, PoseCostConfig(1.0, 0.1, 0.5, 0.1, 0.2, 0.3))


class TestDetourCost(OnRandomFutures):
    def make(self) -> Cost:
        return DetourCost(MODEL)


class TestWeightedSum(OnRandomFutures):
    def make(self) -> Cost:
        return build_cost(CostConfig(distance=1.0, latent=0.5, pose=2.0, disagreement=0.1), MODEL, taxicab)
