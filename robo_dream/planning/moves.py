"""Far goals one move at a time: which thing to bring where next, so that all of them can be brought where the goal shows them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from robo_dream.imagination import Belief, Goal, ScenePose
from robo_dream.schema import Unit, configuration

CLOSED = 0.25  # closure from which a hand may hold something
MAX_ARRANGEMENTS = 10_000  # of things at all places that count for them


@configuration
class MoveConfig:
    """How moves are put in order. Each counts 1, and one for which things seem to stand wrongly counts more."""

    there: Annotated[float, Field(gt=0, le=1), Unit("m")] = 0.03  # from where it should be, within which a thing is there
    rarity: Annotated[float, Field(ge=0, le=100)] = 2.0  # what each nat counts by which a move was seen less than by chance
    allowed: Annotated[float, Field(ge=0, le=100)] = 0.5  # nats below chance that count nothing
    nearness: Annotated[float, Field(ge=0, le=100)] = 0.5  # what a metre counts from the hand to the thing that is moved first
    held: Annotated[float, Field(ge=0, le=1), Unit("m")] = 0.06  # from the tool, within which a closed hand holds a thing; 0: it never does


@runtime_checkable
class MoveModel(Protocol):
    """Tells which moves are possible."""

    @property
    def waypoints(self) -> Float[Tensor, "thing waypoint 3"]:
        """Where things can be brought on the way; metres."""
        ...

    @property
    def hands(self) -> Float[Tensor, "thing 3"]:
        """How far the tool is from a thing when it was brought somewhere and left; metres."""
        ...

    def __call__(
        self, things: Float[Tensor, "move thing 3"], which: Int[Tensor, " move"], to: Float[Tensor, "move 3"], /
    ) -> Float[Tensor, " move"]:
        """By how many nats moving `which` of the `things` to `to` was seen more than by chance; metres."""
        ...


@runtime_checkable
class PoseModel(Protocol):
    """Reads poses from latents."""

    def poses(self, latents: Float[Tensor, "*batch channel"], /) -> ScenePose: ...


@dataclass(frozen=True)
class Move:
    """A thing, and where it is brought."""

    thing: int
    to: Float[Tensor, " 3"]


@dataclass(frozen=True)
class NextMove:
    """Gives a decision the next move towards its goal.

    All orders of bringing every thing from where it is to its goal, by way of waypoints, are weighed at once: the cheapest way from
    each arrangement of things to the goal's (Bellman 1957), of which the first move is taken. The hand should end it where hands ended such
    moves, open and turned as it is: where the goal's picture shows it says nothing of the moves before the last.
    """

    model: MoveModel
    config: MoveConfig
    poses: PoseModel

    def of(self, belief: Belief, goal: Goal, seeds: Sequence[int]) -> Goal:
        """`goal` with the scene after the next move of each problem, whatever its seed; where all is done, as it is."""
        read = self.poses.poses(torch.cat([belief.latent, goal.latent.to(belief.latent)]))
        count = len(belief.latent)
        here, there = (
            ScenePose(**{name: part(values) for name, values in vars(read).items()}) for part in (lambda v: v[:count], lambda v: v[count:])
        )
        if goal.object_pos is not None:
            given = goal.object_pos.to(there.object_pos)
            there = replace(there, object_pos=torch.where(given.isnan(), there.object_pos, given))
        if goal.tool_pos is not None:
            there = replace(there, tool_pos=goal.tool_pos.to(there.tool_pos))
        scene = ScenePose(**{name: values.clone() for name, values in vars(there).items()})
        for row in range(count):
            desired = there.object_pos[row]
            move = next_move(self.model, self.config, here.object_pos[row], desired, here.tool_pos[row], float(here.gripper[row]))
            if move is None:
                continue
            scene.object_pos[row], scene.object_yaw[row] = here.object_pos[row], here.object_yaw[row]
            scene.object_pos[row, move.thing] = move.to
            if torch.equal(move.to, desired[move.thing]):
                scene.object_yaw[row, move.thing] = there.object_yaw[row, move.thing]
            scene.tool_pos[row] = move.to + self.model.hands[move.thing].to(move.to)
            scene.tool_yaw[row], scene.gripper[row] = here.tool_yaw[row], 0.0
        return replace(goal, next=scene)


def next_move(
    model: MoveModel,
    config: MoveConfig,
    here: Float[Tensor, "thing 3"],
    goal: Float[Tensor, "thing 3"],
    tool: Float[Tensor, " 3"],
    gripper: float = 0.0,
) -> Move | None:
    """The first move of the cheapest way from `here` to `goal`; None where everything is there.

    Moves were seen from where things lay to where they were left. What a closed `gripper` holds is under way and lies nowhere: of it
    no move is taken for a rare one, or the hand would turn back in mid-air.
    """
    stands = [_apart([here[i], goal[i], *model.waypoints[i].to(here)], config.there) for i in range(len(here))]
    desired = [min(1, len(one) - 1) if (here[i] - goal[i]).norm() > config.there else 0 for i, one in enumerate(stands)]
    if not any(desired):
        return None
    sizes = [len(one) for one in stands]
    stand = torch.cartesian_prod(*(torch.arange(size) for size in sizes)).reshape(-1, len(sizes))  # (arrangement, thing)
    strides = torch.tensor([int(torch.tensor(sizes[i + 1 :]).prod()) for i in range(len(sizes))])
    things = torch.stack([torch.stack(stands[i])[stand[:, i]] for i in range(len(sizes))], 1)
    moves = [(i, place) for i, size in enumerate(sizes) for place in range(size)]
    asked = torch.tensor(moves)
    ends = torch.stack([stands[i][place] for i, place in moves])
    rows = len(stand)
    logits = model(
        things.repeat_interleave(len(moves), 0), asked[:, 0].repeat(rows).to(here.device), ends.repeat(rows, 1)
    ).cpu().unflatten(0, (rows, len(moves)))  # fmt: skip
    rare = (-logits - config.allowed).clamp(min=0)
    away = (here - tool).norm(dim=-1).cpu()
    if gripper > CLOSED and float(away.min()) < config.held:
        thing = int(away.argmin())
        rare[(stand[:, thing] == 0)[:, None] & (asked[:, 0] == thing)] = 0.0
    costs = 1.0 + config.rarity * rare
    costs = costs.masked_fill(stand[:, asked[:, 0]] == asked[:, 1], torch.inf)  # nothing moves
    following = torch.arange(rows)[:, None] + (asked[:, 1] - stand[:, asked[:, 0]]) * strides[asked[:, 0]]
    left = torch.full((rows,), torch.inf)
    left[int((torch.tensor(desired) * strides).sum())] = 0.0
    for _ in range(rows):
        shorter = torch.minimum(left, (costs + left[following]).amin(1))
        if torch.equal(shorter, left):
            break
        left = shorter
    first = int((costs[0] + config.nearness * away[asked[:, 0]] + left[following[0]]).argmin())
    return Move(moves[first][0], ends[first])


def _apart(points: Sequence[Float[Tensor, " 3"]], there: float) -> list[Float[Tensor, " 3"]]:
    """Those of `points` that are no other's, in their order."""
    kept: list[Tensor] = []
    for point in points:
        if all((point - other).norm() > there for other in kept):
            kept.append(point)
    return kept
