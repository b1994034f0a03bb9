"""What every `Cost` must do. Inherit in a test file, give `make` and `make_futures`, and pytest does the rest."""

import torch

from robo_dream.imagination import Cost, Goal, Imagination, LocalGoal, StepCosts


class CostSuite:
    """`class TestMyCost(CostSuite)`."""

    tolerance = 1e-5  # of sums in another order

    def make(self) -> Cost:
        raise NotImplementedError

    def make_futures(self) -> tuple[Imagination, Goal]:
        """At least two problems of at least three candidates each."""
        raise NotImplementedError

    def test_is_a_cost(self) -> None:
        assert isinstance(self.make(), Cost)

    def test_total_has_one_number_for_each_candidate(self) -> None:
        imagination, goal = self.make_futures()
        costs = self.make()(imagination, goal)
        assert costs.total.shape == imagination.latents.shape[:2]
        assert costs.terms and all(term.shape == imagination.latents.shape[:3] for term in costs.terms.values())

    def test_terms_sum_to_the_total(self) -> None:
        imagination, goal = self.make_futures()
        costs = self.make()(imagination, goal)
        torch.testing.assert_close(self._sum(costs), costs.total, atol=self.tolerance, rtol=self.tolerance)

    def test_cost_of_a_candidate_does_not_depend_on_the_others(self) -> None:
        imagination, goal = self.make_futures()
        together = self.make()(imagination, goal).total
        for b in range(together.shape[0]):
            for k in range(together.shape[1]):
                alone = Imagination(imagination.latents[b : b + 1, k : k + 1], imagination.disagreement[b : b + 1, k : k + 1])
                total = self.make()(alone, self._row(goal, b)).total
                torch.testing.assert_close(total[0, 0], together[b, k], atol=self.tolerance, rtol=self.tolerance)

    def test_not_a_number_is_passed_on_and_stays_with_its_candidate(self) -> None:
        imagination, goal = self.make_futures()
        latents, disagreement = imagination.latents.clone(), imagination.disagreement.clone()
        latents[0, 1], disagreement[0, 1] = torch.nan, torch.nan
        total = self.make()(Imagination(latents, disagreement), goal).total
        assert torch.isnan(total[0, 1])
        assert torch.isfinite(total).sum() == total.numel() - 1

    def test_arguments_are_left_alone(self) -> None:
        imagination, goal = self.make_futures()
        kept = imagination.latents.clone(), imagination.disagreement.clone(), goal.latent.clone()
        self.make()(imagination, goal)
        assert all(torch.equal(a, b) for a, b in zip(kept, (imagination.latents, imagination.disagreement, goal.latent), strict=True))

    def _sum(self, costs: StepCosts) -> torch.Tensor:
        return torch.stack(list(costs.terms.values())).double().sum(dim=(0, -1)).to(costs.total.dtype)

    def _row(self, goal: Goal, b: int) -> Goal:
        object_pos = None if goal.object_pos is None else goal.object_pos[b : b + 1]
        tool_pos = None if goal.tool_pos is None else goal.tool_pos[b : b + 1]
        local = None if goal.local is None else LocalGoal(goal.local.numbers[b : b + 1], goal.local.stds[b : b + 1])
        return Goal(goal.latent[b : b + 1], object_pos, tool_pos, local)
