"""What decides in an episode, whoever makes the plans: a policy, and plans that are made from what is seen. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from robo_dream.control.episode import Choice, EpisodeRun, Hold
from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.errors import ContractError
from robo_dream.recording.decision import Decision
from robo_dream.safety.limits import plan_age_reasons
from robo_dream.status import PlanStatus

_TRUSTED = (PlanStatus.OK, PlanStatus.OUT_OF_TIME)
_LARGEST_SEED = 2**63 - 1


@runtime_checkable
class Chooser(Protocol):
    """A policy at work in one episode."""

    def choose(self) -> Choice:
        """What to do from the newest observation, whose pictures are fit to plan from. Asked once a control step."""
        ...

    def rest(self) -> None:
        """The arm holds still, for want of a plan or of pictures: what was planned from where it was going to be is of no use."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Policy(Protocol):
    """What decides."""

    def begin(self, run: EpisodeRun) -> Chooser:
        """Itself at work in `run`; raises `ContractError` where it was made for another arm. Nothing has moved yet."""
        ...


@runtime_checkable
class Believed(Protocol):
    """What a model that remembers believed at control step `step`."""

    @property
    def step(self) -> int: ...


Made = TypeVar("Made")
"""A plan as its maker keeps it, to warm-start the next one."""
Memory = TypeVar("Memory", bound=Believed)


@dataclass(frozen=True)
class Decided(Generic[Made, Memory]):
    """A plan as it was made, what is kept of it, and how long it took. `reasons` say why it must not be acted on."""

    plan: Made
    decision: Decision
    seconds: float
    reasons: tuple[str, ...]
    remembered: Memory | None = None  # None: the model remembers nothing


@dataclass(frozen=True)
class NoAnswer:
    """Nobody decided, and why: who makes the plans is elsewhere, and did not answer in time or could not be reached."""

    reasons: tuple[str, ...]


@runtime_checkable
class Decides(Protocol[Made, Memory]):
    """Makes the decisions of one episode."""

    @property
    def action_block(self) -> int:
        """Control steps in one imagined step."""
        ...

    def decide(
        self,
        observations: Sequence[Observation],
        step: int,
        previous: Made | None,
        committed: Float[np.ndarray, "time action"] | None = None,
        start: int | None = None,
        before: Memory | None = None,
        moved: Sequence[Float[np.ndarray, " action"]] = (),
    ) -> Decided[Made, Memory] | NoAnswer:
        """Plans from the newest of `observations`, made at control step `step`; a model that remembers, from `before` and `moved` too,
        the actions really applied since then.

        Where actions are `committed` (a whole number of action blocks, from the moment that the observation shows), the plan is for what
        they are imagined to lead to, at control step `start`.
        """
        ...

    def moved_on(self, plan: Made, num_steps: int) -> Made:
        """`plan` after `num_steps` more were executed than the one block by which planners shift a previous plan."""
        ...


def execute_steps_of(run: EpisodeRun, action_spec: ActionSpec, block: int, remembers: bool) -> int:
    """How many control steps of each plan are executed; raises `ContractError` for a loop or an arm that the model was not made for."""
    config = run.config
    execute_steps = block if config.execute_steps is None else config.execute_steps
    if execute_steps % block:
        raise ContractError(f"execute_steps is {execute_steps}; give a multiple of the model's action block, {block}")
    differences = action_spec.differences(run.arm.action_spec)
    if differences:
        raise ContractError(f"the model was trained for other actions than this arm's: {'; '.join(differences)}")
    if config.blind_steps and not remembers:
        raise ContractError(
            f"blind_steps is {config.blind_steps}, and this model remembers nothing to go on from; set it to 0, or plan with "
            "a checkpoint that has a memory (`robo-dream train stage=memory`)"
        )
    return execute_steps


def judged(status: PlanStatus, unsure_reasons: tuple[str, ...]) -> tuple[PlanStatus, tuple[str, ...]]:
    """The status of a plan that was made from what there are `unsure_reasons` to distrust, and why it must not be acted on."""
    if unsure_reasons and status in _TRUSTED:
        status = PlanStatus.UNSURE
    return status, () if status in _TRUSTED else unsure_reasons or (f"{status}: {status.sentence}",)


def decision_seed(seed: int, step: int) -> int:
    """Another seed for every (episode seed, control step)."""
    return (seed * 1_000_003 + step) & _LARGEST_SEED


class TurnByTurn(Generic[Made, Memory]):
    """Stops to plan, executes `execute_steps` of the plan, and plans again."""

    def __init__(self, run: EpisodeRun, decider: Decides[Made, Memory], execute_steps: int) -> None:
        self._run, self._decider, self._execute_steps = run, decider, execute_steps
        self._pending: list[np.ndarray] = []  # actions of the present plan that are still to be sent
        self._previous: Made | None = None
        self._remembered: Memory | None = None

    def choose(self) -> Choice:
        run = self._run
        if not self._pending:
            made_from, step, before = run.newest.time, run.step, self._remembered
            moved = () if before is None else run.applied[before.step :]
            decided = self._decider.decide(tuple(run.observations), step, self._previous, before=before, moved=moved)
            if isinstance(decided, NoAnswer):
                return Hold(decided.reasons)
            self._remembered = decided.remembered
            run.note(decided.decision, decided.seconds)
            if reasons := plan_age_reasons(run.clock.now() - made_from, run.config.limits) or decided.reasons:
                return Hold(reasons)
            self._pending = list(decided.decision.actions[: self._execute_steps])
            self._previous = self._decider.moved_on(decided.plan, self._execute_steps - self._decider.action_block)
        return self._pending.pop(0)

    def rest(self) -> None:
        self._pending, self._previous = [], None  # what was not executed starts nothing

    def close(self) -> None: ...
