"""How the receding-horizon loop runs."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from robo_dream.embodiment import ActionSpec, ArmState, Camera, Clock, Observation, RobotArm
from robo_dream.errors import SafetyStopError
from robo_dream.imagination import Goal, ImaginationRecord, Plan, Planner, PlanStatus, WorldModel
from robo_dream.planning.candidates import shift
from robo_dream.planning.record import record_of
from robo_dream.safety.limits import (
    SafetyLimits,
    action_reasons,
    belief_reasons,
    frozen_reasons,
    repeated_frames,
    stale_frame_reasons,
    stale_state_reasons,
    state_reasons,
    unpaired_reasons,
)
from robo_dream.schema import Unit, configuration

Steps = Annotated[int, Field(ge=1, le=1_000_000), Unit("control steps")]
Seconds = Annotated[float, Field(gt=0, le=3600), Unit("s")]
Delay = Annotated[float, Field(ge=0, lt=2), Unit("s")]


@configuration
class LoopConfig:
    """`execute_steps` None is one action block: replanning each block instead of every fifth is worth tens of points (field.md)."""

    max_steps: Steps = 50  # control steps
    execute_steps: Steps | None = None  # control steps of each plan that are executed; a multiple of the model's action block
    decision_seconds: Seconds | None = None  # deadline of each decision; None lets the search finish
    asynchronous: bool = False  # plan in a thread while the arm moves, instead of stopping to think
    commit_steps: Steps | None = None  # control steps that are fixed while the next ones are planned; None: one action block
    actuation_seconds: Delay = 0.0  # from sending a target to the arm moving, as calibrated; compensated where planning overlaps
    history: Annotated[int, Field(ge=1, le=10_000)] = 16  # newest observations handed to the model, which takes what it needs of them
    limits: SafetyLimits = field(default_factory=SafetyLimits)


class EpisodeEnd(StrEnum):
    """Why an episode ended."""

    DONE = "DONE"  # the caller's `is_done` said so
    BUDGET = "BUDGET"  # all control steps were used
    SAFETY = "SAFETY"  # a safety check refused to go on; see `EpisodeResult.reasons`


@dataclass(frozen=True)
class EpisodeResult:
    """Observations (one more than actions), the actions as chosen and as applied, and every decision.

    `holds` tells for each control step whether the arm was told to hold still for want of a plan. `decision_seconds` runs
    from having the observation to having the plan, encoding included, by the planner's clock.
    """

    observations: tuple[Observation, ...]
    sent: Float[np.ndarray, "time action"]
    applied: Float[np.ndarray, "time action"]
    holds: tuple[bool, ...]
    records: tuple[ImaginationRecord, ...]
    decision_seconds: tuple[float, ...]
    end: EpisodeEnd
    reasons: tuple[str, ...]


_TRUSTED = (PlanStatus.OK, PlanStatus.OUT_OF_TIME)


@dataclass(frozen=True)
class Decided:
    """A plan as it was made, what is kept of it, and how long it took. `reasons` say why it must not be acted on."""

    plan: Plan
    record: ImaginationRecord
    seconds: float
    reasons: tuple[str, ...]

    @property
    def is_trusted(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Decider:
    """What every decision of an episode has in common."""

    model: WorldModel
    planner: Planner
    goal: Goal
    config: LoopConfig
    seed: int
    clock: Callable[[], float]  # of the planner

    def decide(
        self,
        observations: Sequence[Observation],
        step: int,
        previous: Plan | None,
        committed: Float[Tensor, "time action"] | None = None,
        start: int | None = None,
    ) -> Decided:
        """Plans from the newest observation, made at control step `step`.

        Where actions are `committed` (a whole number of action blocks, from the moment that the observation shows), the plan is for what
        they are imagined to lead to, at control step `start`. The model is doubted by what it sees, not by what it imagines.
        """
        began, observation = self.clock(), observations[-1]
        with torch.no_grad():
            belief = self.model.believe([observations[-self.config.history :]])
            seen = self.model.poses(belief.latent).tool_pos[0].cpu().numpy()
            if committed is not None and len(committed):
                belief = self.model.imagine(belief, committed.to(belief.latent)[None, None]).end()
        deadline = None if self.config.decision_seconds is None else began + self.config.decision_seconds
        plan = self.planner.plan(belief, self.goal, [_decision_seed(self.seed, step)], previous, deadline)
        unsure_reasons = belief_reasons(seen, observation.arm, self.config.limits)
        if unsure_reasons and plan.status[0] in _TRUSTED:
            plan = replace(plan, status=(PlanStatus.UNSURE,))
        status = plan.status[0]
        reasons = () if status in _TRUSTED else unsure_reasons or (f"{status}: {status.sentence}",)
        seconds = self.clock() - began
        at = step if start is None else start
        return Decided(plan, record_of(plan, 0, at, observation.time, belief, self.goal, previous, unsure_reasons), seconds, reasons)


def moved_on(plan: Plan, num_steps: int) -> Plan:
    """`plan` after `num_steps` more were executed than the one block by which planners shift a previous plan."""
    if num_steps == 0:
        return plan
    still = plan.actions.new_zeros(plan.actions.shape[-1])
    trace = replace(plan.trace, candidates=shift(plan.trace.candidates, num_steps, still))
    return replace(plan, actions=shift(plan.actions, num_steps, still), trace=trace)


def _decision_seed(seed: int, step: int) -> int:
    """Another seed for every (episode seed, control step)."""
    return (seed * 1_000_003 + step) & torch.iinfo(torch.int64).max


_log = logging.getLogger(__name__)


def observe(cameras: Sequence[Camera], arm: RobotArm, clock: Clock, truth: Callable[[], Mapping[str, np.ndarray]] | None) -> Observation:
    """The newest frame of each camera and the arm's state; `truth` only labels, no model or planner reads it."""
    frames = {camera.name: camera.read() for camera in cameras}
    known = {} if truth is None else truth()
    state = arm.state()  # last: it may be least old
    return Observation(clock.now(), frames, state, known)


def hold_action(spec: ActionSpec, state: ArmState) -> Float[np.ndarray, " action"]:
    """The action that keeps the arm where it is, within the limits: zeros, or the joints' present targets (positions when unknown)."""
    if spec.kind != "joint_target":
        return spec.clip(np.zeros(spec.size, np.float32))
    joints = state.joint_pos if state.joint_target is None else state.joint_target  # a position sags below its target under load
    return spec.clip(np.append(joints, state.target_gripper).astype(np.float32)[: spec.size])


class Stepping:
    """The accounts of one episode, and the two things it can do: act for a control step, and look."""

    def __init__(
        self,
        arm: RobotArm,
        cameras: Sequence[Camera],
        clock: Clock,
        config: LoopConfig,
        truth: Callable[[], Mapping[str, np.ndarray]] | None,
        on_step: Callable[[Observation, np.ndarray, np.ndarray], None] | None,
    ) -> None:
        self.arm, self.clock, self.config = arm, clock, config
        self._cameras, self._truth, self._on_step = cameras, truth, on_step
        self.observations: list[Observation] = []
        self.sent: list[np.ndarray] = []
        self.applied: list[np.ndarray] = []
        self.holds: list[bool] = []
        self.records: list[ImaginationRecord] = []
        self.decision_seconds: list[float] = []
        self.reasons: tuple[str, ...] = ()
        self.blind: tuple[str, ...] = ()  # why the newest pictures must not be planned from
        self.pending: list[np.ndarray] = []  # actions of the present plan that are still to be sent
        self.previous: Plan | None = None
        self.consecutive_holds = 0
        self._repeats: dict[str, int] = {}
        self._next_time = -math.inf

    def until_end(self, is_done: Callable[[Observation], bool] | None, turn: Callable[[], EpisodeEnd | None]) -> EpisodeEnd:
        """Looks, then takes one `turn` after another until one ends the episode, `is_done` says so, or the control steps are used."""
        end = self.look()
        while end is None:
            if is_done is not None and is_done(self.observations[-1]):
                end = EpisodeEnd.DONE
            elif len(self.sent) >= self.config.max_steps:
                end = EpisodeEnd.BUDGET
            else:
                end = turn()
        return end

    def look(self) -> EpisodeEnd | None:
        """Adds an observation; SAFETY when the arm's own word must not be acted on. `blind` says why its pictures must not."""
        observation = observe(self._cameras, self.arm, self.clock, self._truth)
        if self.observations:
            self._repeats = repeated_frames(self._repeats, self.observations[-1], observation)
        self.observations.append(observation)
        limits, now = self.config.limits, self.clock.now()
        self.blind = stale_frame_reasons(observation, now, limits)
        self.blind += unpaired_reasons(observation, limits) + frozen_reasons(self._repeats, limits)
        return self.stopped_by(stale_state_reasons(observation.arm, now, limits) + state_reasons(observation.arm))

    def act(self, action: np.ndarray, is_hold: bool = False) -> EpisodeEnd | None:
        """Sends one action, waits for the control step to pass, and looks."""
        spec, before = self.arm.action_spec, self.observations[-1]
        end = self.stopped_by(action_reasons(spec, action))
        if end is not None:
            return end
        now = self.clock.now()
        start = self._next_time if now - self._next_time < spec.control_dt / 2 else now  # keep the beat, or begin a new one
        try:
            applied = self.arm.send(action)
        except SafetyStopError as error:
            return self.stopped_by((str(error),))
        self.sent.append(action)
        self.applied.append(np.asarray(applied, np.float32))
        self.holds.append(is_hold)
        if self._on_step is not None:
            self._on_step(before, action, applied)
        self._next_time = start + spec.control_dt
        self.clock.sleep_until(self._next_time)
        return self.look()

    def hold(self, reasons: tuple[str, ...]) -> EpisodeEnd | None:
        """Holds still for one control step, for want of a plan to trust; SAFETY when that was so too often in a row."""
        _log.info("holding still at control step %d: %s", len(self.sent), "; ".join(reasons))
        self.consecutive_holds += 1
        self.previous, self.pending = None, []  # what was not executed starts nothing
        if self.consecutive_holds > self.config.limits.max_consecutive_holds:
            return self.stopped_by((f"{self.consecutive_holds} decisions in a row gave no plan to trust", *reasons))
        return self.act(hold_action(self.arm.action_spec, self.observations[-1].arm), is_hold=True)

    def stopped_by(self, reasons: tuple[str, ...]) -> EpisodeEnd | None:
        if not reasons:
            return None
        _log.warning("the arm is stopped: %s", "; ".join(reasons))
        self.reasons = reasons
        return EpisodeEnd.SAFETY

    def note(self, decided: Decided, on_decision: Callable[[ImaginationRecord], None] | None) -> None:
        """Keeps a decision, before it is acted on."""
        self.decision_seconds.append(decided.seconds)
        self.records.append(decided.record)
        if on_decision is not None:
            on_decision(decided.record)

    def episode(self, end: EpisodeEnd) -> EpisodeResult:
        size = self.arm.action_spec.size
        return EpisodeResult(
            tuple(self.observations), np.reshape(np.asarray(self.sent, np.float32), (-1, size)),
            np.reshape(np.asarray(self.applied, np.float32), (-1, size)), tuple(self.holds),
            tuple(self.records), tuple(self.decision_seconds), end, self.reasons,
        )  # fmt: skip
