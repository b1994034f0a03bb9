"""One control step after another: look, act for a step, or hold; and the accounts of an episode."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from robo_dream.control.decider import Decided
from robo_dream.control.episode import Episode, EpisodeEnd
from robo_dream.control.loop_config import LoopConfig
from robo_dream.control.safety import (
    action_reasons,
    frozen_reasons,
    repeated_frames,
    stale_frame_reasons,
    stale_state_reasons,
    state_reasons,
    unpaired_reasons,
)
from robo_dream.embodiment import ActionSpec, ArmState, Camera, Clock, Observation, RobotArm
from robo_dream.errors import SafetyStopError
from robo_dream.imagination import ImaginationRecord, Plan

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

    def episode(self, end: EpisodeEnd) -> Episode:
        size = self.arm.action_spec.size
        return Episode(
            tuple(self.observations), np.reshape(np.asarray(self.sent, np.float32), (-1, size)),
            np.reshape(np.asarray(self.applied, np.float32), (-1, size)), tuple(self.holds),
            tuple(self.records), tuple(self.decision_seconds), end, self.reasons,
        )  # fmt: skip
