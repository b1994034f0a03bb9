"""Every planner of the package, by the suites that ship with it."""

from collections.abc import Callable

from robo_dream.imagination import Cost, Planner, WorldModel
from robo_dream.planning.baselines import (
    BestOfConfig,
    BestOfPlanner,
    PolicyAloneConfig,
    PolicyAlonePlanner,
    RandomConfig,
    RandomPlanner,
    ZeroActionConfig,
    ZeroActionPlanner,
)
from robo_dream.planning.cem import CemConfig, CemPlanner
from robo_dream.planning.gradient import GradientConfig, GradientPlanner
from robo_dream.planning.hybrid import HybridConfig, HybridPlanner
from robo_dream.planning.icem import IcemConfig, IcemPlanner
from robo_dream.planning.mppi import MppiConfig, MppiPlanner
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.planning.predictive import PredictiveConfig, PredictivePlanner
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.planning.video import VideoPlanner, VideoPlannerConfig, VideoProposer
from robo_dream.testing.planner_suite import PlannerSuite
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel, PointMassVideo
from robo_dream.testing.search_planner_suite import SearchPlannerSuite

Clock = Callable[[], float]


def inverse_proposer(model: WorldModel, sampled_only: bool = False) -> PolicyProposer:
    return PolicyProposer(model, PointMassInverse(model), sampled_only=sampled_only)


class TestGuarded(SearchPlannerSuite):
    final_distance = 0.001
    opens_with_the_optimum = True

    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return PolicyGuidedPlanner(model, cost, PolicyGuidedConfig(), (inverse_proposer(model),), clock)


class TestGuardedWithoutProposers(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return PolicyGuidedPlanner(model, cost, PolicyGuidedConfig(), (), clock)


class TestGuardedMean(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return PolicyGuidedPlanner(model, cost, PolicyGuidedConfig(action_selection="mean"), (), clock)


class TestGuardedMode(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return PolicyGuidedPlanner(model, cost, PolicyGuidedConfig(action_selection="mode"), (), clock)


class TestCem(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return CemPlanner(model, cost, CemConfig(num_iterations=5), (), clock)


class TestCemBest(SearchPlannerSuite):
    opens_with_the_optimum = True

    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return CemPlanner(
            model, cost, CemConfig(num_iterations=5, action_selection="best", sample_budget=100), (inverse_proposer(model),), clock
        )


class TestCemMode(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return CemPlanner(model, cost, CemConfig(num_iterations=5, action_selection="mode"), (), clock)


class TestIcem(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return IcemPlanner(model, cost, IcemConfig(), (), clock)


class TestIcemMode(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return IcemPlanner(model, cost, IcemConfig(action_selection="mode"), (), clock)


class TestMppi(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return MppiPlanner(model, cost, MppiConfig(), (), clock)


class TestMppiMode(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return MppiPlanner(model, cost, MppiConfig(action_selection="mode"), (), clock)


class TestPredictive(SearchPlannerSuite):
    iterates = False
    final_distance = 0.08  # one draw of 128 at full width each time: it does not settle

    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return PredictivePlanner(model, cost, PredictiveConfig(), (), clock)


class TestGradient(SearchPlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return GradientPlanner(model, cost, GradientConfig(), (), clock)


class TestGradientFromProposals(SearchPlannerSuite):
    opens_with_the_optimum = True

    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return GradientPlanner(model, cost, GradientConfig(), (inverse_proposer(model),), clock)


class TestHybrid(SearchPlannerSuite):
    final_distance = 0.02

    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return HybridPlanner(model, cost, HybridConfig(), (), clock)


class TestBestOf(PlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return BestOfPlanner(model, cost, BestOfConfig(num_samples=16), (inverse_proposer(model),), clock)


class TestVideo(PlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        assert isinstance(model, PointMassModel)
        return VideoPlanner(model, cost, VideoPlannerConfig(), (VideoProposer(model, PointMassVideo(model)),), clock)


class TestVideoChecked(PlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        assert isinstance(model, PointMassModel)
        return VideoPlanner(
            model, cost, VideoPlannerConfig(choose="best"), (VideoProposer(model, PointMassVideo(model), check=True),), clock
        )


class TestDirectMostLikely(PlannerSuite):
    is_random = False

    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return PolicyAlonePlanner(model, cost, PolicyAloneConfig(), (inverse_proposer(model),), clock)


class TestDirectSampled(PlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return PolicyAlonePlanner(model, cost, PolicyAloneConfig(), (inverse_proposer(model, sampled_only=True),), clock)


class TestRandom(PlannerSuite):
    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return RandomPlanner(model, cost, RandomConfig(), (), clock)


class TestDoNothing(PlannerSuite):
    is_random = False

    def make(self, model: WorldModel, cost: Cost, clock: Clock) -> Planner:
        return ZeroActionPlanner(model, cost, ZeroActionConfig(), (), clock)
