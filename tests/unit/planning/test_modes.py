"""How good candidates are grouped into strategies."""

import time

import torch
from torch import Tensor

from robo_dream.imagination import Belief, Cost, Goal, Imagination, StepCosts
from robo_dream.planning.candidates import NOISE, of_origin, origin_names
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.elites import FOLLOWED, NO_VOTE, find_modes, followed_elites, nearest_better, ranked_groups, selected_action
from robo_dream.planning.scoring import Scored
from robo_dream.planning.search import Problems, Search
from robo_dream.testing.detour import DetourCost, TwoWays, detour_model, detour_problems, passes_left

MODEL = detour_model()
HORIZON, SAMPLES, ELITES = 20, 64, 24
UNIMODAL = PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=1))


def opened(cost: Cost, belief: Belief, goal: Goal) -> Search:
    seeds = [0] * len(belief.latent)
    return Search(
        MODEL, cost, Problems(belief, goal, seeds), planner="test", horizon=HORIZON, sample_budget=8192, clock=time.monotonic,
    )  # fmt: skip


def scored_arcs(search: Search, belief: Belief, goal: Goal, left_share: float = 0.5) -> Scored:
    seeds = list(range(len(belief.latent)))
    arcs = TwoWays(MODEL, left_share).propose(belief, goal, SAMPLES, HORIZON, seeds).actions
    return search.score(of_origin(arcs, NOISE, origin_names(())))


def modes_of(search: Search, scored: Scored) -> Tensor:
    return find_modes(search, scored, scored.best(ELITES), torch.ones_like(scored.totals))


def test_group_with_most_votes_is_followed_and_equal_groups_go_by_their_best() -> None:
    tied = torch.tensor([[True, False, True, True, False]])
    better = torch.tensor([[0, 0, 1, 2, 0]])  # {0}, {1, 2, 3}, {4}
    assert ranked_groups(better, tied, torch.ones(1, 5)).tolist() == [[1, 0, 0, 0, 2]]
    assert ranked_groups(better, tied, torch.tensor([[9.0, 1, 1, 1, 10]])).tolist() == [[1, 2, 2, 2, 0]]


def test_nearest_is_judged_by_the_whole_path_and_only_among_the_better() -> None:
    late, early, similar = torch.zeros(3, 4, 1)  # all end at 1
    late[3], early[0], similar[0], similar[2] = 1.0, 1.0, 0.8, 0.2
    plans, finite = torch.stack([late, early, similar])[None], torch.ones(1, 3, dtype=torch.bool)
    assert nearest_better(plans, finite).tolist() == [[0, 0, 1]]
    assert nearest_better(plans[:, [2, 0, 1]], finite).tolist() == [[0, 0, 0]]
    soon, hold = torch.zeros(2, 4, 1)
    soon[1] = 1.0  # a step after `early`, whose actions are as far from it as can be
    assert nearest_better(torch.stack([hold, early, soon])[None], finite).tolist() == [[0, 0, 1]]
    assert nearest_better(plans, torch.tensor([[True, True, False]])).tolist() == [[0, 0, 0]]


def test_left_and_right_are_two_strategies_and_the_more_frequent_is_followed() -> None:
    belief, goal = detour_problems(20, seed=1)
    search = opened(DetourCost(MODEL), belief, goal)
    scored = scored_arcs(search, belief, goal, left_share=0.7)
    modes, left = modes_of(search, scored), passes_left(belief, goal, scored.actions)
    for b in range(20):
        assert (modes[b] == FOLLOWED).sum() >= (modes[b] > FOLLOWED).sum()  # few stragglers beside the two
        sides = {int(mode): set(left[b, modes[b] == mode].tolist()) for mode in modes[b].unique() if mode != NO_VOTE}
        assert all(len(side) == 1 for side in sides.values()), "a strategy goes to both sides"
        voters = left[b, modes[b] != NO_VOTE]
        if voters.float().mean() > 0.6:
            assert sides[FOLLOWED] == {True}


def test_elites_of_one_valley_are_one_strategy() -> None:
    belief, goal = detour_problems(10, seed=1)
    search = opened(UNIMODAL, belief, goal)
    modes = modes_of(search, scored_arcs(search, belief, goal))  # through the middle is best here: no hill between left and right
    assert ((modes == FOLLOWED).sum(dim=1) == ELITES).all()


class Rough:
    """Metres to the goal with bumps: 16 mm in a total, standard deviation, where the elites' totals differ by 43 mm."""

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        judged = UNIMODAL(imagination, goal)
        bumps = 0.005 * (3e4 * imagination.latents[..., :2].sum(dim=-1)).sin()
        terms = {"tool_pos": judged.terms["tool_pos"] + bumps}
        return StepCosts(terms, terms["tool_pos"].sum(dim=-1))


def test_a_little_roughness_of_the_cost_parts_few() -> None:
    belief, goal = detour_problems(10, seed=1)
    search = opened(Rough(), belief, goal)
    modes = modes_of(search, scored_arcs(search, belief, goal))
    assert ((modes == FOLLOWED).sum(dim=1) > 0.75 * ELITES).all()


def test_futures_without_a_finite_total_never_vote() -> None:
    belief, goal = detour_problems(3, seed=1)
    search = opened(DetourCost(MODEL), belief, goal)
    actions = TwoWays(MODEL).propose(belief, goal, ELITES, HORIZON, [0, 1, 2]).actions
    left = passes_left(belief, goal, actions)
    broken = torch.where(left[0, :, None, None], torch.nan, actions[0])  # all that go left; problem 2 is lost altogether
    scored = search.score(of_origin(torch.stack([broken, actions[1], actions[2] * torch.nan]), NOISE, origin_names(())))
    modes = modes_of(search, scored)
    assert (modes[0, left[0]] == NO_VOTE).all() and (modes[0, ~left[0]] != NO_VOTE).all()
    assert (modes[2] == NO_VOTE).all()
    followed = followed_elites(scored, scored.best(ELITES), modes)
    assert torch.isinf(followed.totals[2]).all() and torch.isfinite(followed.actions[:2][torch.isfinite(followed.totals[:2])]).all()


def test_problem_has_the_same_strategies_alone_and_among_eight() -> None:
    belief, goal = detour_problems(8, seed=1)
    together = opened(DetourCost(MODEL), belief, goal)
    scored = scored_arcs(together, belief, goal)
    modes = modes_of(together, scored)
    for b in range(8):
        alone = opened(DetourCost(MODEL), Belief(belief.latent[b : b + 1]), Goal(goal.latent[b : b + 1]))
        one = alone.score(of_origin(scored.actions[b : b + 1], NOISE, origin_names(())))
        assert torch.equal(modes_of(alone, one)[0], modes[b])


def test_centre_is_executed_only_where_imagination_finds_it_as_good_as_the_best_elite() -> None:
    belief, goal = detour_problems(2, seed=1)
    search = opened(DetourCost(MODEL), belief, goal)
    scored = scored_arcs(search, belief, goal)
    followed = scored.take(scored.best(ELITES))
    through = ((goal.latent - belief.latent)[:, None, :5] / HORIZON).repeat(1, HORIZON, 1)
    centre = torch.stack([through[0], followed.actions[1, 0]])[:, None]
    chosen = selected_action("mode", search, of_origin(centre, "mean", origin_names(())), followed)
    assert chosen is not None and torch.equal(chosen.actions[:, 0], followed.actions[:, 0])
    assert chosen.origins[:, 0].tolist() == [0, origin_names(()).index("mean")]
