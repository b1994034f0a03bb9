"""Every proposer of the package, by the suite that ships with it."""

import torch

from robo_dream.embodiment import ActionSpec
from robo_dream.imagination import Belief, Goal, Proposer
from robo_dream.models.config import ModelConfig, ModelSpec, Normaliser
from robo_dream.models.policy_prior import Bridge, PolicyPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.proposals import BridgeProposer, PolicyProposer, RepeatedPolicyProposer
from robo_dream.testing.point_mass import PointMassBridge, PointMassInverse, PointMassModel, point_action_spec, point_problems
from robo_dream.testing.proposer_suite import ProposerSuite

MODEL = PointMassModel(point_action_spec())
UNIT = Normaliser((0.0,) * 11, (0.5,) * 11)
SPEC = ModelSpec(ModelConfig(image_size=32, policy_input="latents"), ("front",), MODEL.action_spec, UNIT, UNIT)
LEARNED = LatentVideoModel(SPEC).eval().requires_grad_(False)


class OnThePointMass(ProposerSuite):
    def make_problems(self) -> tuple[Belief, Goal, ActionSpec]:
        return *point_problems(3, 0.2, seed=1), MODEL.action_spec


class TestInverseProposer(OnThePointMass):
    def make(self) -> Proposer:
        return PolicyProposer(MODEL, PointMassInverse(MODEL))


class TestSampledInverseProposer(OnThePointMass):
    def make(self) -> Proposer:
        return PolicyProposer(MODEL, PointMassInverse(MODEL), sampled_only=True)


class TestRepeatedInverseProposer(OnThePointMass):
    def make(self) -> Proposer:
        return RepeatedPolicyProposer(MODEL, PointMassInverse(MODEL))


class TestBridgeProposer(OnThePointMass):
    def make(self) -> Proposer:
        return BridgeProposer(MODEL, PointMassBridge(MODEL))


class OnALatentVideoModel(ProposerSuite):
    tolerance = 1e-6  # m: matrices are multiplied in another order in another batch

    def make_problems(self) -> tuple[Belief, Goal, ActionSpec]:
        latents, goals = torch.randn(2, 3, 256, generator=torch.Generator().manual_seed(0))
        return Belief(latents), Goal(goals), LEARNED.action_spec


class TestLearnedBridgeProposer(OnALatentVideoModel):
    num_steps = 15

    def make(self) -> Proposer:
        return BridgeProposer(LEARNED, Bridge(LEARNED))


class TestSpreadInverseProposer(OnALatentVideoModel):
    def make(self) -> Proposer:
        return PolicyProposer(LEARNED, PolicyPrior(LEARNED, LEARNED), spread=True)
