"""One run of `robo-dream run`: connect, check, plan, move, record, stop."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from robo_dream.config import dump
from robo_dream.control.decision import goal_record
from robo_dream.control.episode import Bench, EpisodeEnd, EpisodeResult, Hooks
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy, ScriptPolicy
from robo_dream.embodiment import ArmState
from robo_dream.errors import ArmError
from robo_dream.models import checkpoint
from robo_dream.models.perception_check import PerceptionCheck
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.record import read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.arms import lets_go
from robo_dream.runtime.connect import Connected, Events, StillArm, camera_setup_of, connected
from robo_dream.runtime.environment import require_same_cameras, require_same_world
from robo_dream.runtime.goals import goal_of
from robo_dream.runtime.inspect import require_fit
from robo_dream.runtime.made_with import made_with
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.oracle import ORACLE, Oracle, oracle_goal
from robo_dream.runtime.perception import check_of
from robo_dream.runtime.pictures import drawing
from robo_dream.runtime.planner import PlanningConfig, build_planner, planning_for, require_known_tasks
from robo_dream.runtime.run import GOALS_WITHOUT_TASK, DrawnGoal, PairGoal, RunConfig
from robo_dream.safety.ending import why
from robo_dream.safety.guard_process import SAID_NEXT, GuardProcess
from robo_dream.safety.limits import rest_reasons
from robo_dream.viewer.pictures import run_sheet, write_png
from robo_dream.viewer.video import episode_pictures, write_video
from sim.attempt import Attempt
from sim.tabletop.tasks.catalogue import TASKS


def run_session(config: RunConfig, dry: bool, say: Callable[[str], None]) -> int:
    """Exit code 0 when the run ended as it should, 1 when a safety check ended it. `say` is told what happens, for people."""
    require_known_tasks(config.by_task, (*TASKS, *GOALS_WITHOUT_TASK))
    path = config.checkpoint if config.policy == "imagination" else None
    model = None if path is None else load_checkpoint_model(path, config.device, config.compiled, config.precision)
    folder = config.out / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    planning = None if path is None else planning_for(checkpoint.read_info(path), config.task, config.planning, config.by_task)
    if path is not None and model is not None and planning is not None:
        require_fit(path, model, planning, config.refuse_unfit, say)
    check = None if path is None or model is None else check_of(path, checkpoint.read_info(path), model, config.loop.limits)
    events, setup = Events(), camera_setup_of(config, model)
    with connected(config, setup, dry, events, say) as bench:
        if config.twin and model is not None and path is not None:
            require = require_same_cameras if model.action_spec.kind == "joint_move" else require_same_world
            require(model, bench.world, path)
        say(f"connected: {config.arm.kind}{' (twin)' if config.twin else ''}, {' and '.join(setup.cameras)}{', dry run' if dry else ''}")
        if model is None:
            say(f"the moves come from the {ORACLE}")
        say("space, e or escape: emergency stop   Ctrl-C: decelerate and hold")
        episode, attempt = _episode(config, model, planning, check, bench, events, folder, dry, say)
    run, draw = read_run(folder / "record"), _nothing if model is None else drawing(model)
    distances = None if attempt is None else attempt.distances
    verdict = "" if attempt is None else "success" if attempt.is_reached else "not reached"
    video = write_video(folder / "video.mp4", episode_pictures(run, draw, config.video, distances, verdict), config.video.fps)
    sheet = None if model is None else write_png(folder / "decisions.png", run_sheet(run, draw))
    say(_sentence(episode, attempt, [event.kind for event in run.events], video, sheet))
    return 1 if episode.end == EpisodeEnd.SAFETY else 0


def _episode(
    config: RunConfig,
    model: LatentVideoModel | None,
    planning: PlanningConfig | None,
    check: PerceptionCheck | None,
    bench: Connected,
    events: Events,
    folder: Path,
    dry: bool,
    say: Callable[[str], None],
) -> tuple[EpisodeResult, Attempt | None]:
    if model is None:
        assert bench.attempt is not None  # see `require_policy`
        goal, seen = oracle_goal(bench.attempt), bench.attempt.goal_observation()
        pictures = {name: frame.image for name, frame in seen.frames.items()}
        made_by = {"policy": ORACLE, "made_with": made_with(torch.device("cpu"))}
    else:
        assert config.checkpoint is not None and planning is not None
        goal, pictures = goal_of(config.goal, model, bench)
        made_by = {
            "policy": config.policy,
            "planning": dump(planning),
            "checkpoint": str(config.checkpoint),
            "checkpoint_sha256": checkpoint.sha256(config.checkpoint),
            "made_with": made_with(model.device),
        }
    about = {
        "task": config.task,
        "seed": config.seed,
        "goal": _goal_words(config, dry),
        "config": dump(config),
        "moves": dump(bench.arm.limits),
        "action_spec": bench.arm.action_spec.to_json(),
        "loop": dump(config.loop),
        **made_by,
    }
    attempt = bench.attempt  # judges by how the twin was when it was last looked at
    with RunWriter(folder / "record", about, goal_record(goal, pictures)) as writer:
        events.record_by(writer.on_event)
        try:
            if model is None:
                assert bench.attempt is not None
                policy = ScriptPolicy(Oracle(bench.world, bench.attempt, config.seed))
            else:
                assert planning is not None
                planner = build_planner(planning.planner, model, planning.cost, planning.proposals, futures=planning.futures)
                policy = PlannerPolicy(model, planner, goal, config.seed, check=check)
            hooks = Hooks(writer.on_decision, writer.on_step, None if attempt is None else attempt.is_done)
            on = Bench(bench.arm, bench.cameras, bench.clock, None if bench.view is None else bench.view.truth)
            episode = run_episode(on, policy, config.loop, hooks)
        except BaseException as error:  # a signal, an arm or a guard that is gone, a mistake: the record says which
            reasons = _said_of(bench.joints, (why(error),))
            writer.interrupt(reasons, {"distances": [] if attempt is None else attempt.distances})
            events.record = None
            with suppress(OSError):  # the terminal may be what is gone
                say(f"interrupted after {writer.num_steps} control steps: {'; '.join(reasons)}\n  record   {writer.root}")
            if isinstance(error, ArmError):  # whose words may be from before it was known what was done about the arm
                raise ArmError("; ".join(reasons)) from error
            raise
        episode = replace(episode, reasons=_said_of(bench.joints, episode.reasons))
        if attempt is not None:
            attempt.is_done(episode.last)
        torque = _torque_reasons(config, episode.last.arm)
        result = {
            "end": episode.end.value, "reasons": list(episode.reasons), "decision_seconds": list(episode.decision_seconds),
            "distances": [] if attempt is None else attempt.distances, "torque": list(torque),
        }  # fmt: skip
        if attempt is not None:
            progress = attempt.progress
            result |= {"moderate_step": progress.moderate_step, "strict_step": progress.strict_step}
            result |= {"moderate": progress.moderate_step is not None, "strict": progress.strict_step is not None}
        writer.finish(episode.last, result)
        events.record = None  # what the guard says on leaving is logged, and no longer part of this run
    return episode, attempt


def _said_of(joints: GuardProcess | StillArm, reasons: tuple[str, ...]) -> tuple[str, ...]:
    """`reasons`, and where the guard is no more, how it ended and what was done about the arm."""
    lost = joints.reasons if isinstance(joints, GuardProcess) and not joints.is_alive else ()
    said = [reason for reason in reasons if not (lost and reason.endswith(SAID_NEXT))]  # it is said by now
    return tuple(dict.fromkeys([*said, *lost]))


def _torque_reasons(config: RunConfig, state: ArmState) -> tuple[str, ...]:
    """Why the arm is held on leaving; empty where its driver lets go."""
    if not lets_go(config.arm):
        return (f"the controller of an arm of kind {config.arm.kind!r} holds it",)
    return rest_reasons(state, None if config.rest_pose is None else np.asarray(config.rest_pose), config.loop.limits.rest_tolerance)


def _goal_words(config: RunConfig, dry: bool) -> str:
    goal = config.goal
    task = f"{goal.task} as " if isinstance(goal, PairGoal | DrawnGoal) else ""
    return f"{task}{goal.kind}{' on a twin' if config.twin else ''}{', dry run' if dry else ''}"


def _nothing(latents: np.ndarray) -> dict[str, np.ndarray]:
    """What an oracle imagines."""
    return {}


def _sentence(episode: EpisodeResult, attempt: Attempt | None, kinds: list[str], video: Path, sheet: Path | None) -> str:
    seconds = np.asarray(episode.decision_seconds) * 1e3
    timing = "no decision"
    if len(seconds):
        timing = f"{len(seconds)} decisions, {np.percentile(seconds, 50):.0f} ms each (p50), {np.percentile(seconds, 95):.0f} ms (p95)"
    lines = [f"ended after {len(episode.sent)} control steps and {episode.seconds:.1f} s: {episode.end}", f"  {timing}"]
    if attempt is not None:
        reached = "reached" if attempt.is_reached else "not reached"
        lines.insert(1, f"  goal {reached}; {100 * attempt.distances[0]:.1f} cm away, then {100 * attempt.distances[-1]:.1f} cm")
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines += [f"  guard    {counts or 'nothing clipped, nothing stopped'}", f"  video    {video}"]
    lines += [] if sheet is None else [f"  pictures {sheet}"]
    return "\n".join([*lines, *(f"  stopped: {reason}" for reason in episode.reasons)])
