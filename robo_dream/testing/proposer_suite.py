"""What every `Proposer` must do. Inherit in a test file, give `make` and `make_problems`, and pytest does the rest."""

import torch

from robo_dream.embodiment import ActionSpec
from robo_dream.imagination import Belief, Goal, Proposer


class ProposerSuite:
    """`class TestMyProposer(ProposerSuite)`."""

    is_random = True  # whether other seeds give other proposals
    num_steps = 10  # control steps; a multiple of the action block
    tolerance = 0.0  # of actions between one batch and another

    def make(self) -> Proposer:
        raise NotImplementedError

    def make_problems(self) -> tuple[Belief, Goal, ActionSpec]:
        """At least two problems, and what an action means."""
        raise NotImplementedError

    def test_is_a_proposer_with_a_name(self) -> None:
        proposer = self.make()
        assert isinstance(proposer, Proposer) and proposer.name

    def test_gives_as_many_and_as_long_as_asked(self) -> None:
        belief, goal, spec = self.make_problems()
        for num_samples in (1, 4):
            actions = self.make().propose(belief, goal, num_samples, self.num_steps, range(len(belief.latent))).actions
            assert actions.shape == (len(belief.latent), num_samples, self.num_steps, spec.size)

    def test_proposals_are_within_the_limits(self) -> None:
        belief, goal, spec = self.make_problems()
        actions = self.make().propose(belief, goal, 16, self.num_steps, range(len(belief.latent))).actions
        assert (actions >= torch.as_tensor(spec.low)).all() and (actions <= torch.as_tensor(spec.high)).all()

    def test_same_seed_gives_the_same(self) -> None:
        belief, goal, _ = self.make_problems()
        proposer, seeds = self.make(), list(range(len(belief.latent)))
        first = proposer.propose(belief, goal, 4, self.num_steps, seeds).actions
        assert torch.equal(first, proposer.propose(belief, goal, 4, self.num_steps, seeds).actions)

    def test_another_seed_gives_another_proposal(self) -> None:
        if not self.is_random:
            return
        belief, goal, _ = self.make_problems()
        proposer, seeds = self.make(), list(range(len(belief.latent)))
        first = proposer.propose(belief, goal, 4, self.num_steps, seeds).actions
        second = proposer.propose(belief, goal, 4, self.num_steps, [seed + 100 for seed in seeds]).actions
        assert not torch.equal(first, second)

    def test_proposals_do_not_depend_on_the_other_problems(self) -> None:
        belief, goal, _ = self.make_problems()
        proposer, seeds = self.make(), list(range(len(belief.latent)))
        together = proposer.propose(belief, goal, 4, self.num_steps, seeds).actions
        for b in seeds:
            row = slice(b, b + 1)
            alone = proposer.propose(Belief(belief.latent[row]), Goal(goal.latent[row]), 4, self.num_steps, seeds[row]).actions
            torch.testing.assert_close(alone, together[row], atol=self.tolerance, rtol=0)
