"""What is imagined, how often, and what is kept of very many candidates."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robo_dream.imagination import Belief, Imagination, PlanStatus
from robo_dream.planning.candidates import NOISE, Candidates, of_origin, origin_names
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.predictive import PredictiveConfig, PredictivePlanner
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.planning.scoring import MAX_KEPT, Stopwatch, score
from robo_dream.testing.clocks import TickingClock
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel, point_action_spec, point_problems

MODEL = PointMassModel(point_action_spec())
COST = PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=1))


@dataclass(frozen=True)
class Counting(PointMassModel):
    """Remembers how many candidates it was asked to imagine."""

    asked: list[int] = field(default_factory=list)

    def imagine(self, belief: Belief, actions: Tensor) -> Imagination:
        self.asked.append(actions.shape[1])
        return super().imagine(belief, actions)


def drawn(num: int, seed: int = 0) -> Candidates:
    actions = 0.02 * torch.randn(2, num, 10, 5, generator=torch.Generator().manual_seed(seed))
    return of_origin(actions, NOISE, origin_names(()))


def test_what_a_proposer_imagined_is_judged_and_not_imagined_again() -> None:
    belief, goal = point_problems(2, 0.15, seed=3)
    model = Counting(point_action_spec())
    given = PolicyProposer(MODEL, PointMassInverse(MODEL, std=0.5)).propose(belief, goal, 3, 10, [0, 1])
    done = Candidates(given.actions, torch.zeros(2, 3, dtype=torch.int64), given.imagination)
    scored, _ = score(model, COST, belief, goal, [drawn(4), done, drawn(2)], 100, Stopwatch(TickingClock()))
    assert model.asked == [6]  # of each problem, in one call
    anew, _ = score(MODEL, COST, belief, goal, [drawn(4), Candidates(done.actions, done.origins), drawn(2)], 100, Stopwatch(TickingClock()))
    torch.testing.assert_close(scored.totals, anew.totals)
    torch.testing.assert_close(scored.latents, anew.latents)


def test_pieces_are_no_larger_than_the_budget_and_change_nothing() -> None:
    belief, goal = point_problems(2, 0.15, seed=3)
    model = Counting(point_action_spec())
    parts = [drawn(7), drawn(5, seed=1)]
    pieces, _ = score(model, COST, belief, goal, parts, 8, Stopwatch(TickingClock()))  # 4 of each of 2 problems at once
    whole, _ = score(MODEL, COST, belief, goal, parts, 1000, Stopwatch(TickingClock()))
    assert max(model.asked) <= 4 and sum(model.asked) == 12
    torch.testing.assert_close(pieces.totals, whole.totals)


def test_of_very_many_candidates_the_best_keep_their_futures_and_all_are_counted() -> None:
    belief, goal = point_problems(2, 0.15, seed=3)
    many = drawn(MAX_KEPT + 500)
    many.actions[1, :100] = torch.nan
    scored, num_not_finite = score(MODEL, COST, belief, goal, [many], 2000, Stopwatch(TickingClock()))
    assert scored.latents.shape[1] == MAX_KEPT
    assert num_not_finite.tolist() == [0, 100]
    every = COST(MODEL.imagine(belief, many.actions), goal).total.nan_to_num(nan=torch.inf)
    torch.testing.assert_close(scored.totals.sort(dim=1).values, every.sort(dim=1).values[:, :MAX_KEPT])


def test_a_deadline_between_two_pieces_leaves_the_best_of_what_was_judged() -> None:
    belief, goal = point_problems(1, 0.15, seed=3)
    config = PredictiveConfig(num_samples=400, sample_budget=100, horizon=2)
    whole = PredictivePlanner(MODEL, COST, config, clock=TickingClock()).plan(belief, goal, [0])
    cut = PredictivePlanner(MODEL, COST, config, clock=TickingClock()).plan(belief, goal, [0], deadline=10.0)
    assert whole.status == (PlanStatus.OK,) and whole.trace.totals.shape == (1, 400)
    assert cut.status == (PlanStatus.OUT_OF_TIME,) and cut.trace.totals.shape[1] in (100, 200)
    torch.testing.assert_close(cut.total[0], whole.trace.totals[0, : cut.trace.totals.shape[1]].min())
