"""The order of moves, worked by hand on a drawer with a lock, and on two boxes that want each other's place."""

from dataclasses import dataclass, replace

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Plan, ScenePose
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.goals import AimedPlanner
from robo_dream.planning.moves import Move, MoveConfig, MoveModel, NextMove, next_move
from robo_dream.planning.predictive import PredictiveConfig, PredictivePlanner
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel, point_action_spec, point_problems

CONFIG = MoveConfig()
HAND = torch.zeros(3)
LOCKED, OPEN = [0.5, 0.0, 0.1], [0.5, 0.0, 0.0]
SHUT, PULLED = [0.3, 0.2, 0.1], [0.3, 0.0, 0.1]


@dataclass(frozen=True)
class Known:
    """Waypoints, and hands that end moves 10 cm above what they moved."""

    waypoints: Float[Tensor, "thing waypoint 3"]

    @property
    def hands(self) -> Float[Tensor, "thing 3"]:
        return torch.tensor([0.0, 0.0, 0.1]).expand(len(self.waypoints), 3)


@dataclass(frozen=True)
class Locked(Known):
    """Thing 0 is a drawer, thing 1 its lock, and nothing else matters."""

    def __call__(
        self, things: Float[Tensor, "move thing 3"], which: Int[Tensor, " move"], to: Float[Tensor, "move 3"]
    ) -> Float[Tensor, " move"]:
        return torch.where((which == 0) & (things[:, 1, 2] > 0.05), -5.0, 0.1)


@dataclass(frozen=True)
class Taken(Known):
    """A thing cannot be brought to where another one is."""

    def __call__(
        self, things: Float[Tensor, "move thing 3"], which: Int[Tensor, " move"], to: Float[Tensor, "move 3"]
    ) -> Float[Tensor, " move"]:
        near = (things - to[:, None]).norm(dim=-1) < 0.05
        is_other = torch.arange(things.shape[1]) != which[:, None]
        return torch.where((near & is_other).any(-1), -5.0, 0.0)


DRAWER = Locked(torch.tensor([[SHUT, PULLED], [LOCKED, OPEN]]))


def carried_out(model: MoveModel, here: Tensor, goal: Tensor, most: int = 10) -> list[tuple[int, list[float]]]:
    """Moves one after the other, each asked for anew."""
    here, moves = here.clone(), []
    while (move := next_move(model, CONFIG, here, goal, HAND)) is not None:
        here[move.thing] = move.to
        moves.append((move.thing, [round(x, 3) for x in move.to.tolist()]))
        assert len(moves) < most
    return moves


def test_what_is_locked_is_unlocked_opened_and_locked_again_though_the_lock_is_as_the_goal_shows_it() -> None:
    here, goal = torch.tensor([SHUT, LOCKED]), torch.tensor([PULLED, LOCKED])
    assert carried_out(DRAWER, here, goal) == [(1, OPEN), (0, PULLED), (1, LOCKED)]


def test_what_is_not_locked_is_opened_before_it_is_locked() -> None:
    here, goal = torch.tensor([SHUT, OPEN]), torch.tensor([PULLED, LOCKED])
    assert carried_out(DRAWER, here, goal) == [(0, PULLED), (1, LOCKED)]


def test_where_no_detour_is_known_the_doubtful_move_is_made_all_the_same() -> None:
    stuck = Locked(torch.tensor([[SHUT], [LOCKED]]))
    here, goal = torch.tensor([SHUT, LOCKED]), torch.tensor([PULLED, LOCKED])
    assert carried_out(stuck, here, goal) == [(0, PULLED)]


def test_two_that_want_each_others_place_do_so_by_way_of_a_third() -> None:
    one, other, free = [0.3, 0.1, 0.0], [0.3, -0.1, 0.0], [0.5, 0.0, 0.0]
    model = Taken(torch.tensor([[free], [free]]))
    moves = carried_out(model, torch.tensor([one, other]), torch.tensor([other, one]))
    assert len(moves) == 3 and moves[0][1] == free and moves[2] == (moves[0][0], other if moves[0][0] == 0 else one)


def test_of_two_orders_that_are_as_good_the_nearer_thing_is_first() -> None:
    model = Taken(torch.zeros(2, 0, 3))
    here, goal = torch.tensor([[0.3, 0.2, 0.0], [0.3, -0.2, 0.0]]), torch.tensor([[0.5, 0.2, 0.0], [0.5, -0.2, 0.0]])
    for y, thing in ((0.2, 0), (-0.2, 1)):
        move = next_move(model, CONFIG, here, goal, torch.tensor([0.3, y, 0.1]))
        assert isinstance(move, Move) and move.thing == thing and torch.equal(move.to, goal[thing])


def test_what_is_there_is_left_alone() -> None:
    here = torch.tensor([SHUT, LOCKED])
    assert next_move(DRAWER, CONFIG, here, here + 0.01, HAND) is None
    move = next_move(DRAWER, replace(CONFIG, there=0.005), here, here + torch.tensor([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0]]), HAND)
    assert move is not None and move.thing == 1


MODEL = PointMassModel(point_action_spec())
FREE = Taken(torch.zeros(1, 0, 3))


def aimed(goal_x: float) -> tuple[Belief, Goal, Goal]:
    """A point mass beside one object, which the goal shows elsewhere; and its goal with the next move."""
    here, there = torch.zeros(1, 8), torch.zeros(1, 8)
    there[0, 0], there[0, 5] = 0.2, goal_x
    belief, goal = Belief(here), Goal(there)
    return belief, goal, NextMove(FREE, CONFIG, MODEL).of(belief, goal, [0])


def test_a_goal_with_its_next_move_keeps_each_thing_but_one_as_it_is_and_asks_for_the_hand_where_such_moves_end() -> None:
    _, goal, found = aimed(0.4)
    assert goal.next is None and found.next is not None
    torch.testing.assert_close(found.next.object_pos, torch.tensor([[[0.4, 0.0, 0.0]]]))
    torch.testing.assert_close(found.next.tool_pos, torch.tensor([[0.4, 0.0, 0.1]]))
    _, goal, done = aimed(0.01)  # there, but for the hand: the goal as it is
    assert done.next is not None
    torch.testing.assert_close(done.next.tool_pos, goal.latent[:, :3])
    told = replace(goal, object_pos=torch.tensor([[[0.02, 0.0, 0.0]]]), tool_pos=torch.tensor([[0.0, 0.1, 0.0]]))
    kept = NextMove(FREE, CONFIG, MODEL).of(Belief(torch.zeros(1, 8)), told, [0]).next  # there already, and what was given is not lost
    assert kept is not None and told.object_pos is not None and told.tool_pos is not None
    torch.testing.assert_close(kept.object_pos, told.object_pos)
    torch.testing.assert_close(kept.tool_pos, told.tool_pos)
    given = NextMove(FREE, CONFIG, MODEL).of(Belief(torch.zeros(1, 8)), replace(goal, object_pos=torch.tensor([[[0.0, 0.3, 0.0]]])), [0])
    assert given.next is not None
    torch.testing.assert_close(given.next.object_pos, torch.tensor([[[0.0, 0.3, 0.0]]]))


def test_costs_and_policies_are_told_of_the_next_move() -> None:
    belief, goal, found = aimed(0.4)
    nearer = Goal(goal.latent, next=replace(MODEL.poses(goal.latent), object_pos=torch.tensor([[[0.1, 0.0, 0.0]]])))
    cost = PoseCost(MODEL, PoseCostConfig())
    imagined = MODEL.imagine(belief, torch.zeros(1, 1, MODEL.action_block, 5))
    assert cost(imagined, found).total.item() == pytest.approx(0.4) and cost(imagined, nearer).total.item() == pytest.approx(0.1)
    proposer = PolicyProposer(MODEL, PointMassInverse(MODEL))
    aside = replace(goal, next=ScenePose(**{**vars(MODEL.poses(goal.latent)), "tool_pos": torch.tensor([[0.0, -0.2, 0.0]])}))
    whole, one = (proposer.propose(belief, asked, 1, MODEL.action_block, [0]).actions[0, 0, 0] for asked in (goal, aside))
    assert whole[0] > 0 and whole[1] == 0 and one[0] == 0 and one[1] < 0


def test_a_planner_is_told_it_at_each_decision_and_each_problem_alone() -> None:
    cost = PoseCost(MODEL, PoseCostConfig(object_pos=0.0, tool_pos=1.0))
    inner = PredictivePlanner(MODEL, cost, PredictiveConfig(horizon=2, num_samples=64))
    planner, (belief, goal) = AimedPlanner(inner, NextMove(FREE, CONFIG, MODEL)), point_problems(3, 0.2, seed=0)
    assert planner.name == inner.name
    plan = planner.plan(belief, goal, [4, 5, 6])
    alone = planner.plan(Belief(belief.latent[1:2]), Goal(goal.latent[1:2]), [5])
    assert isinstance(plan, Plan) and torch.equal(plan.actions[1], alone.actions[0]) and goal.next is None
    with pytest.raises(ContractError, match="3 beliefs, 3 goals and 1 seeds"):
        planner.plan(belief, goal, [0])


@dataclass(frozen=True)
class FromRest(Known):
    """Things were brought to the table only from there or from the shelf, and to the shelf from anywhere."""

    def __call__(
        self, things: Float[Tensor, "move thing 3"], which: Int[Tensor, " move"], to: Float[Tensor, "move 3"]
    ) -> Float[Tensor, " move"]:
        height = things[torch.arange(len(which)), which, 2]
        return torch.where((height - 0.2).abs().less(0.05) & (to[:, 2] < 0.05), -5.0, 0.0)


def test_what_the_hand_holds_goes_on_to_where_it_was_brought_and_an_open_hand_holds_nothing() -> None:
    shelf, table, goal = [0.0, 0.3, 0.3], [0.0, 0.0, 0.02], torch.tensor([[0.3, 0.0, 0.02]])
    model = FromRest(torch.tensor([[table, shelf]]))
    carried, tool = torch.tensor([[0.1, 0.1, 0.2]]), torch.tensor([0.1, 0.1, 0.22])
    for closure, config, to in (
        (0.6, CONFIG, goal[0]),
        (0.0, CONFIG, torch.tensor(shelf)),
        (0.6, replace(CONFIG, held=0.0), torch.tensor(shelf)),
    ):
        move = next_move(model, config, carried, goal, tool, closure)
        assert move is not None and move.thing == 0
        torch.testing.assert_close(move.to, to)
    far = next_move(model, CONFIG, carried, goal, tool + 0.2, 0.6)
    assert far is not None and torch.equal(far.to, torch.tensor(shelf))
