"""What decides in an episode: a planner, with the arm at rest or in motion meanwhile, or a script."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robo_dream.control.asynchronous import Ahead, PlannerWorker, ThreadWorker
from robo_dream.control.choosing import Chooser, TurnByTurn, execute_steps_of
from robo_dream.control.decision import Decider
from robo_dream.control.episode import Choice, EpisodeRun
from robo_dream.embodiment import Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Goal, Planner, Remembering, WorldModel
from robo_dream.models.perception_check import PerceptionCheck

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
        config = run.config
        if len(self.goal.latent) != 1:
            raise ContractError(f"the loop drives one arm, but {len(self.goal.latent)} goals were given; pass a goal with a batch of 1")
        remembers = isinstance(self.model, Remembering) and self.model.remembers
        execute_steps = execute_steps_of(run, self.model.action_spec, self.model.action_block, remembers)
        decider = Decider(self.model, self.planner, self.goal, self.seed, self.clock, config.limits, config.decision_seconds, self.check)
        if config.asynchronous:
            return Ahead(run, decider, self.worker or ThreadWorker())
        return TurnByTurn(run, decider, execute_steps)


class _Scripted:
    def __init__(self, run: EpisodeRun, script: Script) -> None:
        self._run, self._script = run, script

    def choose(self) -> Choice:
        return self._script(self._run.newest)

    def rest(self) -> None: ...

    def close(self) -> None: ...
