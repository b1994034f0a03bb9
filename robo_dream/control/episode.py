"""One episode of the loop: what it runs on, who watches, what it keeps count of, and how it ended."""

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic import Field

from robo_dream.embodiment import ActionSpec, ArmState, Camera, Clock, Observation, RobotArm
from robo_dream.errors import SafetyStopError
from robo_dream.recording.decision import Decision
from robo_dream.safety.limits import (
    SafetyLimits,
    action_reasons,
    frozen_reasons,
    repeated_frames,
    stale_frame_reasons,
    stale_state_reasons,
    state_reasons,
    unpaired_reasons,
)
from robo_dream.schema import Unit, configuration

Steps = Annotated[int, Field(ge=1, le=1_000_000), Unit("control steps")]
Seconds = Annotated[float, Field(gt=0, le=10_000_000), Unit("s")]
Delay = Annotated[float, Field(ge=0, lt=2), Unit("s")]

_log = logging.getLogger(__name__)


@configuration
class LoopConfig:
    """`execute_steps` None is one action block: replanning each block instead of every fifth is worth tens of points (field.md)."""

    max_steps: Steps = 50  # control steps
    execute_steps: Steps | None = None  # control steps of each plan that are executed; a multiple of the model's action block
    decision_seconds: Seconds | None = None  # deadline of each decision; None lets the search finish
    asynchronous: bool = False  # plan in a thread while the arm moves, instead of stopping to think
    commit_steps: Steps | None = None  # control steps that are fixed while the next ones are planned; None: one action block
    actuation_seconds: Delay = 0.0  # from sending a target to the arm moving, as calibrated; compensated where planning overlaps
    blind_steps: Annotated[int, Field(ge=0, le=100), Unit("control steps")] = 0  # a model with memory goes on without good pictures
    history: Annotated[int, Field(ge=1, le=10_000)] = 16  # newest observations handed to the model, which takes what it needs of them
    limits: SafetyLimits = field(default_factory=SafetyLimits)


@dataclass(frozen=True)
class Bench:
    """What an episode runs on. Entering and leaving arm and cameras is the caller's."""

    arm: RobotArm
    cameras: Sequence[Camera]
    clock: Clock
    truth: Callable[[], Mapping[str, np.ndarray]] | None = None  # labels observations; no model or planner reads it

    def observe(self) -> Observation:
        """The newest frame of each camera and the arm's state."""
        frames = {camera.name: camera.read() for camera in self.cameras}
        known = {} if self.truth is None else self.truth()
        state = self.arm.state()  # last: it may be least old
        return Observation(self.clock.now(), frames, state, known)


@dataclass(frozen=True)
class Hooks:
    """Who is told of what happens, and who says that the goal is reached. None: nobody."""

    on_decision: Callable[[Decision], None] | None = None  # of each decision, before it is acted on
    on_step: Callable[[Observation, np.ndarray, np.ndarray], None] | None = None  # (before, sent, applied), after each control step
    is_done: Callable[[Observation], bool] | None = None  # asked once of each observation


class EpisodeEnd(StrEnum):
    """Why an episode ended."""

    DONE = "DONE"  # `Hooks.is_done` said so
    BUDGET = "BUDGET"  # all control steps were used, or the script ended
    SAFETY = "SAFETY"  # a safety check refused to go on; see `EpisodeResult.reasons`


@dataclass(frozen=True)
class EpisodeResult:
    """The actions as chosen and as applied, and how it went. Observations and decisions are for the hooks: of them only the last stays.

    `holds` tells for each control step whether the arm was told to hold still for want of a plan. `decision_seconds` runs
    from having the observation to having the plan, encoding included, by the planner's clock.
    """

    last: Observation  # after the last action
    sent: Float[np.ndarray, "time action"]
    applied: Float[np.ndarray, "time action"]
    holds: tuple[bool, ...]
    decision_seconds: tuple[float, ...]
    seconds: float  # of the clock, from the first observation to the last
    end: EpisodeEnd
    reasons: tuple[str, ...]

    @property
    def num_steps(self) -> int:
        """Control steps; there was one observation more."""
        return len(self.sent)


@dataclass(frozen=True)
class Hold:
    """Stay where you are for one control step. `reasons` say why there is no plan to trust; none: all is well, and the arm waits."""

    reasons: tuple[str, ...] = ()


Choice = np.ndarray | Hold | None
"""What a policy decides for one control step: an action, to hold still, or that there is nothing more to do."""


class EpisodeRun:
    """The accounts of an episode under way. A policy reads them; the loop alone writes them."""

    def __init__(self, bench: Bench, config: LoopConfig, hooks: Hooks) -> None:
        self.arm, self.clock, self.config = bench.arm, bench.clock, config
        self.observations: deque[Observation] = deque(maxlen=config.history)  # the newest; older ones are let go
        self.applied: list[np.ndarray] = []
        self.blind: tuple[str, ...] = ()  # why the newest pictures must not be planned from
        self._bench, self._hooks = bench, hooks
        self._sent: list[np.ndarray] = []
        self._holds: list[bool] = []
        self._decision_seconds: list[float] = []
        self._reasons: tuple[str, ...] = ()
        self._consecutive_holds = 0
        self._repeats: dict[str, int] = {}
        self._blind_steps: int | None = None  # control steps in a row whose pictures were not good; None: there was no good one yet
        self._next_time = -math.inf
        self._began = math.nan

    @property
    def newest(self) -> Observation:
        return self.observations[-1]

    @property
    def step(self) -> int:
        """How many control steps were made: the number of the one that comes next."""
        return len(self._sent)

    @property
    def hold_action(self) -> Float[np.ndarray, " action"]:
        return hold_action(self.arm.action_spec, self.newest.arm)

    def note(self, decision: Decision, seconds: float) -> None:
        """Tells of a decision, before it is acted on; `seconds` is how long it took."""
        self._decision_seconds.append(seconds)
        if self._hooks.on_decision is not None:
            self._hooks.on_decision(decision)

    def look(self) -> EpisodeEnd | None:
        """Adds an observation; SAFETY when the arm's own word must not be acted on. `blind` says why its pictures must not."""
        seen = self._bench.observe()
        if self.observations:
            self._repeats = repeated_frames(self._repeats, self.newest, seen)
        else:
            self._began = seen.time
        self.observations.append(seen)
        limits, now = self.config.limits, self.clock.now()
        reasons = stale_frame_reasons(seen, now, limits)
        reasons += unpaired_reasons(seen, limits) + frozen_reasons(self._repeats, limits)
        if not reasons:
            self._blind_steps = 0
        elif self._blind_steps is not None:
            self._blind_steps += 1
        goes_on = self._blind_steps is not None and self._blind_steps <= self.config.blind_steps
        if goes_on and reasons:
            _log.info("going on from what is remembered at control step %d: %s", self.step, "; ".join(reasons))
        self.blind = () if goes_on else reasons
        return self._stopped_by(stale_state_reasons(seen.arm, now, limits) + state_reasons(seen.arm))

    def due(self) -> EpisodeEnd | None:
        """DONE or BUDGET, where the newest observation ends the episode."""
        if self._hooks.is_done is not None and self._hooks.is_done(self.newest):
            return EpisodeEnd.DONE
        return EpisodeEnd.BUDGET if self.step >= self.config.max_steps else None

    def take(self, choice: Choice) -> EpisodeEnd | None:
        """Does what was chosen, for one control step, and looks. SAFETY when the arm held too often in a row for want of a plan."""
        if choice is None:
            return EpisodeEnd.BUDGET
        if not isinstance(choice, Hold):
            self._consecutive_holds = 0
            return self._act(choice)
        if choice.reasons:
            _log.info("holding still at control step %d: %s", self.step, "; ".join(choice.reasons))
            self._consecutive_holds += 1
            if self._consecutive_holds > self.config.limits.max_consecutive_holds:
                return self._stopped_by((f"{self._consecutive_holds} decisions in a row gave no plan to trust", *choice.reasons))
        return self._act(self.hold_action, is_hold=True)

    def result(self, end: EpisodeEnd) -> EpisodeResult:
        sent, applied = (np.reshape(np.asarray(made, np.float32), (-1, self.arm.action_spec.size)) for made in (self._sent, self.applied))
        seconds = self.newest.time - self._began
        return EpisodeResult(
            self.newest, sent, applied, tuple(self._holds), tuple(self._decision_seconds), seconds, end, self._reasons
        )  # fmt: skip

    def _act(self, action: np.ndarray, is_hold: bool = False) -> EpisodeEnd | None:
        """Sends one action, waits for the control step to pass, and looks."""
        spec, before = self.arm.action_spec, self.newest
        end = self._stopped_by(action_reasons(spec, action))
        if end is not None:
            return end
        now = self.clock.now()
        start = self._next_time if now - self._next_time < spec.control_dt / 2 else now  # keep the beat, or begin a new one
        try:
            applied = self.arm.send(action)
        except SafetyStopError as error:
            return self._stopped_by((str(error),))
        self._sent.append(action)
        self.applied.append(np.asarray(applied, np.float32))
        self._holds.append(is_hold)
        if self._hooks.on_step is not None:
            self._hooks.on_step(before, action, applied)
        self._next_time = start + spec.control_dt
        self.clock.sleep_until(self._next_time)
        return self.look()

    def _stopped_by(self, reasons: tuple[str, ...]) -> EpisodeEnd | None:
        if not reasons:
            return None
        _log.warning("the arm is stopped: %s", "; ".join(reasons))
        self._reasons = reasons
        return EpisodeEnd.SAFETY


def hold_action(spec: ActionSpec, state: ArmState) -> Float[np.ndarray, " action"]:
    """The action that keeps the arm where it is, within the limits: zeros, or the joints' present targets (positions when unknown)."""
    if spec.kind != "joint_target":
        return spec.clip(np.zeros(spec.size, np.float32))
    joints = state.joint_pos if state.joint_target is None else state.joint_target  # a position sags below its target under load
    return spec.clip(np.append(joints, state.target_gripper).astype(np.float32)[: spec.size])
