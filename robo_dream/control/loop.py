"""The receding-horizon loop: observe, believe, plan, act for one block, look again."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from robo_dream.control.asynchronous import PlannerWorker, ThreadWorker, asynchronous_episode
from robo_dream.control.episode import Decider, EpisodeEnd, EpisodeResult, LoopConfig, Stepping, hold_action, moved_on, observe
from robo_dream.embodiment import Camera, Clock, Observation, RobotArm
from robo_dream.errors import ContractError
from robo_dream.imagination import Goal, ImaginationRecord, Planner, WorldModel
from robo_dream.safety.limits import plan_age_reasons

__all__ = ["LoopConfig", "hold_action", "observe", "run_episode"]


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
    worker: PlannerWorker | None = None,
) -> EpisodeResult:
    """One episode towards `goal` (a batch of one). Entering and leaving `arm` and `cameras` is the caller's; stopping is done here.

    Each decision's `on_decision` is called before it is acted on, `on_step(before, sent, applied)` after each control step, so a
    recorder misses nothing when the episode is cut short. Safety reasons end the episode and are returned; exceptions pass
    through. In every case the arm is told to stop. `planner_clock` must be the clock the planner was built with. With `config.asynchronous`
    planning overlaps motion (see overlapped.py); `worker` is then where it happens, by default a thread.
    """
    if len(goal.latent) != 1:
        raise ContractError(f"the loop drives one arm, but {len(goal.latent)} goals were given; pass a goal with a batch of 1")
    execute_steps = model.action_block if config.execute_steps is None else config.execute_steps
    if execute_steps % model.action_block:
        raise ContractError(f"execute_steps is {execute_steps}; give a multiple of the model's action block, {model.action_block}")
    differences = model.action_spec.differences(arm.action_spec)
    if differences:
        raise ContractError(f"the model was trained for other actions than this arm's: {'; '.join(differences)}")
    run = Stepping(arm, cameras, clock, config, truth, on_step)
    decider = Decider(model, planner, goal, config, seed, planner_clock)
    if config.asynchronous:
        return asynchronous_episode(run, decider, worker or ThreadWorker(), is_done, on_decision)

    def turn() -> EpisodeEnd | None:
        if run.blind:
            return run.hold(run.blind)
        if run.pending:
            return run.act(run.pending.pop(0))
        return _decide(run, decider, execute_steps, on_decision)

    try:
        end = run.until_end(is_done, turn)
    finally:
        arm.stop()
    return run.episode(end)


def _decide(
    run: Stepping, decider: Decider, execute_steps: int, on_decision: Callable[[ImaginationRecord], None] | None
) -> EpisodeEnd | None:
    """Plans from the newest observations; queues the actions to execute, or holds for one step when there is no plan to trust."""
    observation, step = run.observations[-1], len(run.sent)
    decided = decider.decide(run.observations, step, run.previous)
    run.note(decided, on_decision)
    late = plan_age_reasons(run.clock.now() - observation.time, run.config.limits)
    if decided.is_trusted and not late:
        run.consecutive_holds = 0
        run.pending = list(decided.record.actions[:execute_steps].numpy())
        run.previous = moved_on(decided.plan, execute_steps - decider.model.action_block)
        return None
    return run.hold(late or decided.reasons)


Script = Callable[[Observation], np.ndarray | None]
"""The next action, given what is seen; None when there is none any more."""


def run_script(
    arm: RobotArm,
    cameras: Sequence[Camera],
    clock: Clock,
    script: Script,
    config: LoopConfig,
    *,
    truth: Callable[[], Mapping[str, np.ndarray]] | None = None,
    is_done: Callable[[Observation], bool] | None = None,
    on_step: Callable[[Observation, np.ndarray, np.ndarray], None] | None = None,
) -> EpisodeResult:
    """As `run_episode`, without decisions: an episode ends as BUDGET when the script does."""
    run = Stepping(arm, cameras, clock, config, truth, on_step)

    def turn() -> EpisodeEnd | None:
        if run.blind:
            return run.hold(run.blind)
        action = script(run.observations[-1])
        if action is None:
            return EpisodeEnd.BUDGET
        run.consecutive_holds = 0
        return run.act(action)

    try:
        end = run.until_end(is_done, turn)
    finally:
        arm.stop()
    return run.episode(end)
