"""Every proposer of the package, by the suite that ships with it."""

from robo_dream.embodiment import ActionSpec
from robo_dream.imagination import Belief, Goal, Proposer
from robo_dream.planning.proposals import InverseProposer, RepeatedInverseProposer
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel, point_action_spec, point_problems
from robo_dream.testing.proposer_suite import ProposerSuite

MODEL = PointMassModel(point_action_spec())


class OnThePointMass(ProposerSuite):
    def make_problems(self) -> tuple[Belief, Goal, ActionSpec]:
        return *point_problems(3, 0.2, seed=1), MODEL.action_spec


class TestInverseProposer(OnThePointMass):
    def make(self) -> Proposer:
        return InverseProposer(MODEL, PointMassInverse(MODEL))


class TestSampledInverseProposer(OnThePointMass):
    def make(self) -> Proposer:
        return InverseProposer(MODEL, PointMassInverse(MODEL), sampled_only=True)


class TestRepeatedInverseProposer(OnThePointMass):
    def make(self) -> Proposer:
        return RepeatedInverseProposer(MODEL, PointMassInverse(MODEL))
