"""The receding-horizon loop: observe, believe, plan, act for one block, look again."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float

from robo_dream.control.episode import Episode, EpisodeEnd
from robo_dream.control.safety import (
    SafetyLimits,
    action_reasons,
    belief_reasons,
    frozen_reasons,
    plan_age_reasons,
    repeated_frames,
    stale_reasons,
    state_reasons,
)
from robo_dream.embodiment import ActionSpec, ArmState, Camera, Clock, Observation, RobotArm
from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Goal, ImaginationRecord, Plan, Planner, PlanStatus, WorldModel
from robo_dream.planning.record import record_of
from robo_dream.planning.warm_start import shift

_log = logging.getLogger(__name__)
_TRUSTED = (PlanStatus.OK, PlanStatus.OUT_OF_TIME)


@dataclass(frozen=True)
class LoopConfig:
    """`execute_steps` None is one action block: replanning each block instead of every fifth is worth tens of points (field.md)."""

    max_steps: int = 50  # control steps
    execute_steps: int | None = None  # control steps of each plan that are executed; a multiple of the model's action block
    decision_seconds: float | None = None  # deadline of each decision; None lets the search finish
    history: int = 16  # newest observations handed to the model, which takes what it needs of them
    limits: SafetyLimits = field(default_factory=SafetyLimits)

    def __post_init__(self) -> None:
        for name in ("max_steps", "execute_steps", "history"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"LoopConfig.{name} is {value}; allowed is 1 or more")
        if self.decision_seconds is not None and not self.decision_seconds > 0:
            raise ConfigError(f"LoopConfig.decision_seconds is {self.decision_seconds} s; allowed is any positive number, or none")


def observe(cameras: Sequence[Camera], arm: RobotArm, clock: Clock, truth: Callable[[], Mapping[str, np.ndarray]] | None) -> Observation:
    """The newest frame of each camera and the arm's state; `truth` only labels, no model or planner reads it."""
    frames = {camera.name: camera.read() for camera in cameras}
    state = arm.state()
    return Observation(clock.now(), frames, state, {} if truth is None else truth())


def hold_action(spec: ActionSpec, state: ArmState) -> Float[np.ndarray, " action"]:
    """The action that keeps the arm where it is, within the limits: no move, or the joints' present targets (positions when unknown)."""
    if spec.kind == "tool_move":
        return spec.clip(np.zeros(spec.size, np.float32))
    joints = state.joint_pos if state.joint_target is None else state.joint_target  # a position sags below its target under load
    return spec.clip(np.append(joints, state.target_gripper).astype(np.float32)[: spec.size])


def run_episode(
    arm: RobotArm,
    cameras: Sequence[Camera],
    clock: Clock,
    model: WorldModel,
    planner: Planner,
    goal: Goal,
    config: LoopConfig,
    seed: int = 0,
    *,
    truth: Callable[[], Mapping[str, np.ndarray]] | None = None,
    is_done: Callable[[Observation], bool] | None = None,
    on_decision: Callable[[ImaginationRecord], None] | None = None,
    on_step: Callable[[Observation, np.ndarray, np.ndarray], None] | None = None,
    planner_clock: Callable[[], float] = time.monotonic,
) -> Episode:
    """One episode towards `goal` (a batch of one). Entering and leaving `arm` and `cameras` is the caller's; stopping is done here.

    Each decision's `on_decision` is called before it is acted on, `on_step(before, sent, applied)` after each control step, so a
    recorder misses nothing when the episode is cut short. Safety reasons end the episode and are returned; exceptions pass
    through. In every case the arm is told to stop. `planner_clock` must be the clock the planner was built with.
    """
    if len(goal.latent) != 1:
        raise ContractError(f"the loop drives one arm, but {len(goal.latent)} goals were given; pass a goal with a batch of 1")
    execute_steps = model.action_block if config.execute_steps is None else config.execute_steps
    if execute_steps % model.action_block:
        raise ContractError(f"execute_steps is {execute_steps}; give a multiple of the model's action block, {model.action_block}")
    differences = model.action_spec.differences(arm.action_spec)
    if differences:
        raise ContractError(f"the model was trained for other actions than this arm's: {'; '.join(differences)}")
    run = _Run(arm, cameras, clock, config, truth, on_step)
    try:
        end = run.look()
        while end is None:
            if is_done is not None and is_done(run.observations[-1]):
                end = EpisodeEnd.DONE
            elif len(run.sent) >= config.max_steps:
                end = EpisodeEnd.BUDGET
            elif run.pending:
                end = run.act(run.pending.pop(0))
            else:
                end = _decide(run, model, planner, goal, execute_steps, seed, on_decision, planner_clock)
    finally:
        arm.stop()
    size = arm.action_spec.size
    return Episode(
        tuple(run.observations), np.reshape(np.asarray(run.sent, np.float32), (-1, size)),
        np.reshape(np.asarray(run.applied, np.float32), (-1, size)), tuple(run.holds),
        tuple(run.records), tuple(run.decision_seconds), end, run.reasons,
    )  # fmt: skip


class _Run:
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
        self.pending: list[np.ndarray] = []  # actions of the present plan that are still to be sent
        self.previous: Plan | None = None
        self.consecutive_holds = 0
        self._repeats: dict[str, int] = {}
        self._next_time = -math.inf

    def look(self) -> EpisodeEnd | None:
        """Adds an observation; SAFETY when it must not be acted on."""
        observation = observe(self._cameras, self.arm, self.clock, self._truth)
        if self.observations:
            self._repeats = repeated_frames(self._repeats, self.observations[-1], observation)
        self.observations.append(observation)
        limits = self.config.limits
        return self.stopped_by(
            stale_reasons(observation, self.clock.now(), limits)
            + state_reasons(observation.arm)
            + frozen_reasons(self._repeats, limits)
        )

    def act(self, action: np.ndarray, is_hold: bool = False) -> EpisodeEnd | None:
        """Sends one action, waits for the control step to pass, and looks."""
        spec, before = self.arm.action_spec, self.observations[-1]
        end = self.stopped_by(action_reasons(spec, action))
        if end is not None:
            return end
        now = self.clock.now()
        start = self._next_time if now - self._next_time < spec.control_dt / 2 else now  # keep the beat, or begin a new one
        applied = self.arm.send(action)
        self.sent.append(action)
        self.applied.append(np.asarray(applied, np.float32))
        self.holds.append(is_hold)
        if self._on_step is not None:
            self._on_step(before, action, applied)
        self._next_time = start + spec.control_dt
        self.clock.sleep_until(self._next_time)
        return self.look()

    def stopped_by(self, reasons: tuple[str, ...]) -> EpisodeEnd | None:
        if not reasons:
            return None
        _log.warning("the arm is stopped: %s", "; ".join(reasons))
        self.reasons = reasons
        return EpisodeEnd.SAFETY


def _decide(
    run: _Run,
    model: WorldModel,
    planner: Planner,
    goal: Goal,
    execute_steps: int,
    seed: int,
    on_decision: Callable[[ImaginationRecord], None] | None,
    planner_clock: Callable[[], float],
) -> EpisodeEnd | None:
    """Plans from the newest observations; queues the actions to execute, or holds for one step when there is no plan to trust."""
    config, observation, step = run.config, run.observations[-1], len(run.sent)
    start = planner_clock()
    with torch.no_grad():
        belief = model.believe([run.observations[-config.history :]])
    deadline = None if config.decision_seconds is None else start + config.decision_seconds
    plan = planner.plan(belief, goal, [_decision_seed(seed, step)], run.previous, deadline)
    with torch.no_grad():
        doubts = belief_reasons(model.poses(belief.latent).tool_pos[0].cpu().numpy(), observation.arm, config.limits)
    if doubts and plan.status[0] in _TRUSTED:
        plan = replace(plan, status=(PlanStatus.UNSURE,))
    run.decision_seconds.append(planner_clock() - start)
    record = record_of(plan, 0, step, observation.time, belief, goal, run.previous, doubts)
    run.records.append(record)
    if on_decision is not None:
        on_decision(record)
    late = plan_age_reasons(run.clock.now() - observation.time, config.limits)
    if plan.status[0] in _TRUSTED and not late:
        run.consecutive_holds = 0
        run.pending = list(record.actions[:execute_steps].numpy())
        run.previous = _moved_on(plan, execute_steps - model.action_block)
        return None
    reasons = late or doubts or (f"{plan.status[0]}: {plan.status[0].sentence}",)
    _log.info("holding still at control step %d: %s", step, "; ".join(reasons))
    run.consecutive_holds += 1
    run.previous = None  # nothing of it was executed
    if run.consecutive_holds > config.limits.max_consecutive_holds:
        return run.stopped_by((f"{run.consecutive_holds} decisions in a row gave no plan to trust", *reasons))
    return run.act(hold_action(run.arm.action_spec, observation.arm), is_hold=True)


def _moved_on(plan: Plan, num_steps: int) -> Plan:
    """`plan` after `num_steps` more were executed than the one block by which planners shift a previous plan."""
    if num_steps == 0:
        return plan
    still = plan.actions.new_zeros(plan.actions.shape[-1])
    trace = replace(plan.trace, candidates=shift(plan.trace.candidates, num_steps, still))
    return replace(plan, actions=shift(plan.actions, num_steps, still), trace=trace)


def _decision_seed(seed: int, step: int) -> int:
    """Another seed for every (episode seed, control step)."""
    return (seed * 1_000_003 + step) & torch.iinfo(torch.int64).max
