"""What decides in an episode: a planner, with the arm at rest or in motion meanwhile, or a script."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from robo_dream.control.asynchronous import Ahead, PlannerWorker, ThreadWorker
from robo_dream.control.decision import Decider, Remembered, moved_on
from robo_dream.control.episode import Choice, EpisodeRun, Hold
from robo_dream.embodiment import Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Goal, Plan, Planner, Remembering, WorldModel
from robo_dream.models.perception_check import PerceptionCheck
from robo_dream.safety.limits import plan_age_reasons


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


Script = Callable[[Observation], np.ndarray | None]
"""The next action, given what is seen; None when there is none any more."""


@dataclass(frozen=True)
class ScriptPolicy:
    """Actions from a script, without decisions: an episode ends as BUDGET when the script does."""

    script: Script

    def begin(self, run: EpisodeRun) -> "_Scripted":
        return _Scripted(run, self.script)


@dataclass(frozen=True)
class PlannerPolicy:
    """Actions from plans towards `goal` (a batch of one), made from what `model` believes.

    `clock` must be the clock the planner was built with. Where the loop is asynchronous, planning overlaps motion (see
    `control.asynchronous`); `worker` is then where it happens, by default a thread.
    """

    model: WorldModel
    planner: Planner
    goal: Goal
    seed: int = 0
    clock: Callable[[], float] = time.monotonic
    worker: PlannerWorker | None = None
    check: PerceptionCheck | None = None  # of the model, of all that it sees

    def begin(self, run: EpisodeRun) -> Chooser:
        config, block = run.config, self.model.action_block
        if len(self.goal.latent) != 1:
            raise ContractError(f"the loop drives one arm, but {len(self.goal.latent)} goals were given; pass a goal with a batch of 1")
        execute_steps = block if config.execute_steps is None else config.execute_steps
        if execute_steps % block:
            raise ContractError(f"execute_steps is {execute_steps}; give a multiple of the model's action block, {block}")
        differences = self.model.action_spec.differences(run.arm.action_spec)
        if differences:
            raise ContractError(f"the model was trained for other actions than this arm's: {'; '.join(differences)}")
        if config.blind_steps and not (isinstance(self.model, Remembering) and self.model.remembers):
            raise ContractError(
                f"blind_steps is {config.blind_steps}, and this model remembers nothing to go on from; set it to 0, or plan with "
                "a checkpoint that has a memory (`robo-dream train stage=memory`)"
            )
        decider = Decider(self.model, self.planner, self.goal, self.seed, self.clock, config.limits, config.decision_seconds, self.check)
        if config.asynchronous:
            return Ahead(run, decider, self.worker or ThreadWorker())
        return _TurnByTurn(run, decider, execute_steps)


class _TurnByTurn:
    """Stops to plan, executes `execute_steps` of the plan, and plans again."""

    def __init__(self, run: EpisodeRun, decider: Decider, execute_steps: int) -> None:
        self._run, self._decider, self._execute_steps = run, decider, execute_steps
        self._pending: list[np.ndarray] = []  # actions of the present plan that are still to be sent
        self._previous: Plan | None = None
        self._remembered: Remembered | None = None

    def choose(self) -> Choice:
        run = self._run
        if not self._pending:
            made_from, step, before = run.newest.time, run.step, self._remembered
            moved = () if before is None else run.applied[before.step :]
            decided = self._decider.decide(tuple(run.observations), step, self._previous, before=before, moved=moved)
            self._remembered = decided.remembered
            run.note(decided.decision, decided.seconds)
            if reasons := plan_age_reasons(run.clock.now() - made_from, run.config.limits) or decided.reasons:
                return Hold(reasons)
            self._pending = list(decided.decision.actions[: self._execute_steps])
            self._previous = moved_on(decided.plan, self._execute_steps - self._decider.model.action_block)
        return self._pending.pop(0)

    def rest(self) -> None:
        self._pending, self._previous = [], None  # what was not executed starts nothing

    def close(self) -> None: ...


class _Scripted:
    def __init__(self, run: EpisodeRun, script: Script) -> None:
        self._run, self._script = run, script

    def choose(self) -> Choice:
        return self._script(self._run.newest)

    def rest(self) -> None: ...

    def close(self) -> None: ...
