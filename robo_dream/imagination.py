"""What imagining is: belief, imagination, goal, plan, and the protocols of model, proposer, cost and planner.

Axes: `batch` planning problems, `sample` candidates, `horizon` imagined steps, `time` control steps (`horizon` times the
model's action block), `iteration` search iterations. Actions are in the physical units of the model's `ActionSpec`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.status import PlanStatus


@dataclass(frozen=True)
class Chance:
    """What is drawn of the world in each of several futures, the same for all candidates of a problem.

    A draw chooses among the outcomes of its imagined step; `temperature` scales how freely: 1 as the model holds them likely, 0 always the
    likeliest.
    """

    draws: Float[Tensor, "batch future horizon"]  # in [0, 1)
    temperature: float = 1.0


@dataclass(frozen=True)
class Belief:
    """The state of the world in the model's own words; planners never look inside.

    `disagreement` is what had gathered on the way to an imagined state; what was seen has none. A model that remembers adds its
    `memory`, zeros where nothing was seen before, and for how many control steps no picture has come (`unseen`).
    `chance` is a planner's own, for the decision under way: who asks a planner leaves it out.
    """

    latent: Float[Tensor, "batch channel"]
    disagreement: Float[Tensor, " batch"] | None = None
    memory: Float[Tensor, "batch memory"] | None = None
    unseen: Int[Tensor, " batch"] | None = None
    chance: Chance | None = None


@dataclass(frozen=True)
class Imagination:
    """What each candidate would lead to. Step h is the state after the h-th action block.

    `disagreement` is the spread of the model's ensemble (0 where the model is sure); a model that cannot be unsure gives zeros.
    `memory` is that of the belief which was imagined from: what is remembered stays as it was, whatever is imagined. Where the belief
    came with a chance, `futures` are what it leads to, and `latents` the likeliest.
    """

    latents: Float[Tensor, "batch sample horizon channel"]
    disagreement: Float[Tensor, "batch sample horizon"]
    memory: Float[Tensor, "batch memory"] | None = None
    futures: Float[Tensor, "future batch sample horizon channel"] | None = None

    def end(self) -> Belief:
        """Where each candidate leads, to imagine on from: as many beliefs as problems times candidates."""
        memory = None if self.memory is None else self.memory.repeat_interleave(self.latents.shape[1], 0)
        return Belief(self.latents[:, :, -1].flatten(0, 1), self.disagreement[:, :, -1].flatten(), memory)


@dataclass(frozen=True)
class ScenePose:
    """Where things are: metres and radians in the world frame.

    `object_yaw` is (cos, sin) of each object's yaw times its symmetry (4 for a box), so that equal looks have equal numbers.
    """

    tool_pos: Float[Tensor, "*batch 3"]
    tool_yaw: Float[Tensor, "*batch 2"]  # cos, sin of yaw
    gripper: Float[Tensor, "*batch"]  # 0 open, 1 closed
    object_pos: Float[Tensor, "*batch object 3"]
    object_yaw: Float[Tensor, "*batch object 2"]


@dataclass(frozen=True)
class LocalGoal:
    """Where things are believed to be some control steps ahead on the way to a goal, in the numbers that a policy sees."""

    numbers: Float[Tensor, "batch number"]
    stds: Float[Tensor, "batch number"]  # how far off each usually is


@dataclass(frozen=True)
class Goal:
    """What to reach: the belief one would have there (a goal picture, encoded), or poses given outright.

    Given poses take precedence over what a pose head reads from `latent`; an object whose position is NaN was not given one.
    `local` and `next`, the scene after the next move on the way to this goal, are a planner's own, for the decision under way: who asks
    a planner leaves them out.
    """

    latent: Float[Tensor, "batch channel"]
    object_pos: Float[Tensor, "batch object 3"] | None = None
    tool_pos: Float[Tensor, "batch 3"] | None = None
    local: LocalGoal | None = None
    next: ScenePose | None = None


@dataclass(frozen=True)
class SearchTrace:
    """What the search looked at in its last iteration, and how it got there: enough to draw or question a decision.

    `terms` are the parts of the per-step cost, already weighted; they sum to `costs`.
    """

    candidates: Float[Tensor, "batch sample time action"]
    latents: Float[Tensor, "batch sample horizon channel"]
    disagreement: Float[Tensor, "batch sample horizon"]
    terms: Mapping[str, Float[Tensor, "batch sample horizon"]]
    totals: Float[Tensor, "batch sample"]
    elites: Int[Tensor, "batch elite"]
    origins: Int[Tensor, "batch sample"]  # index into `origin_names`
    origin_names: tuple[str, ...]
    best_by_iteration: Float[Tensor, "batch iteration"]
    num_not_finite: Int[Tensor, " batch"]
    modes: Int[Tensor, "batch sample"] | None = None  # strategy of each elite, 0 the followed one; -1 no vote; None: not looked for
    late_readings: tuple[int, ...] = ()  # which readings of the clock, counted from 1, were past the deadline; none: it ran to its end


@dataclass(frozen=True)
class Plan:
    """The chosen actions of each problem, what they should lead to, and how the choice was made."""

    planner: str
    actions: Float[Tensor, "batch time action"]
    latents: Float[Tensor, "batch horizon channel"]
    total: Float[Tensor, " batch"]
    status: tuple[PlanStatus, ...]
    seeds: tuple[int, ...]
    trace: SearchTrace
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage
    futures: Float[Tensor, "batch future horizon channel"] | None = None  # where the actions may lead; None: one future was imagined
    future_totals: Float[Tensor, "batch future"] | None = None  # what each of them costs


@runtime_checkable
class WorldModel(Protocol):
    """Predicts. `imagine` is deterministic and treats every row on its own."""

    @property
    def action_spec(self) -> ActionSpec: ...

    @property
    def action_block(self) -> int:
        """Control steps in one imagined step."""
        ...

    @property
    def cameras(self) -> tuple[str, ...]: ...

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        """One belief for each history (oldest observation first); raises `ContractError` for a missing camera."""
        ...

    def imagine(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        """Imagining on from `Imagination.end` is the same as imagining through."""
        ...

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose: ...


@runtime_checkable
class Remembering(Protocol):
    """A world model whose beliefs may be a filter over everything seen, not one frame."""

    @property
    def remembers(self) -> bool:
        """Whether `update` does more than look: a model of this kind may be without memory."""
        ...

    def update(self, previous: Belief, actions: Float[Tensor, "batch time action"], observations: Sequence[Observation]) -> Belief:
        """What is believed now: `actions` were really applied since `previous`. A camera missing in an observation showed nothing."""
        ...


@dataclass(frozen=True)
class Proposals:
    """Action sequences worth imagining, and what was already imagined of exactly these, where the proposing took imagination."""

    actions: Float[Tensor, "batch sample time action"]
    imagination: Imagination | None = None


@runtime_checkable
class Proposer(Protocol):
    """Proposes action sequences worth imagining, within the action limits."""

    @property
    def name(self) -> str: ...

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Proposals: ...


@dataclass(frozen=True)
class StepCosts:
    """The parts of a cost, per imagined step, and the total by which candidates are ranked (lower is better)."""

    terms: Mapping[str, Float[Tensor, "batch sample horizon"]]
    total: Float[Tensor, "batch sample"]


@runtime_checkable
class Cost(Protocol):
    """Scores imagined futures. A value that is not finite is passed on as it is; the planner counts it."""

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts: ...


@runtime_checkable
class Planner(Protocol):
    """Chooses. A pure function of its arguments: the same belief, goal, seed and previous plan give the same plan."""

    @property
    def name(self) -> str: ...

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        """`deadline` is in seconds of the planner's clock; past it the best candidate so far is returned."""
        ...


def finite_or_inf(costs: Float[Tensor, "*batch"]) -> tuple[Float[Tensor, "*batch"], Bool[Tensor, "*batch"]]:
    """`costs` with +inf where they are not finite, and the mask of where that was."""
    bad = ~torch.isfinite(costs)
    return torch.where(bad, torch.full_like(costs, torch.inf), costs), bad
