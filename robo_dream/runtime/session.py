"""One run of `robo-dream run`: connect, check, plan, move, record, stop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from robo_dream.config import dump
from robo_dream.control.episode import Bench, EpisodeEnd, EpisodeResult, Hooks
from robo_dream.control.loop import run_episode
from robo_dream.embodiment import ArmState, RobotArm
from robo_dream.errors import ArmError
from robo_dream.recording.record import read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.arms import lets_go
from robo_dream.runtime.connect import Connected, Events, connected
from robo_dream.runtime.mover import Aimed, Mover
from robo_dream.runtime.run import DrawnGoal, PairGoal, RemotePlanner, RunConfig, TextGoal
from robo_dream.safety.ending import why
from robo_dream.safety.guard_process import SAID_NEXT, GuardProcess
from robo_dream.safety.limits import rest_reasons
from robo_dream.viewer.pictures import run_sheet, write_png
from robo_dream.viewer.video import episode_pictures, write_video
from sim.attempt import Attempt


def run_session(config: RunConfig, dry: bool, say: Callable[[str], None]) -> int:
    """Exit code 0 when the run ended as it should, 1 when a safety check ended it. `say` is told what happens, for people."""
    with mover_of(config, say) as mover:
        return _run(config, mover, dry, say)


@contextmanager
def mover_of(config: RunConfig, say: Callable[[str], None]) -> Iterator[Mover]:
    """Who chooses the moves. What is imagined elsewhere, or by nobody, takes no torch."""
    if isinstance(config.planner, RemotePlanner):
        from robo_dream.runtime.serving.remote import remote_mover

        with remote_mover(config, config.planner) as mover:
            yield mover
    elif config.policy == "imagination":
        from robo_dream.runtime.imagined import imagining_mover

        yield imagining_mover(config, say)
    else:
        from robo_dream.runtime.oracle import oracle_mover

        yield oracle_mover(config)


def _run(config: RunConfig, mover: Mover, dry: bool, say: Callable[[str], None]) -> int:
    folder = config.out / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    events = Events()
    with connected(config, mover.setup, dry, events, say) as bench:
        mover.require(bench)
        cameras = " and ".join(mover.setup.cameras)
        say(f"connected: {config.arm.kind}{' (twin)' if config.twin else ''}, {cameras}{', dry run' if dry else ''}")
        if mover.said:
            say(mover.said)
        say("space, e or escape: emergency stop   Ctrl-C: decelerate and hold")
        episode, attempt = _episode(config, mover, bench, events, folder, dry, say)
    run, draw = read_run(folder / "record"), mover.draw or _nothing
    distances = None if attempt is None else attempt.distances
    verdict = "" if attempt is None else "success" if attempt.is_reached else "not reached"
    video = write_video(folder / "video.mp4", episode_pictures(run, draw, config.video, distances, verdict), config.video.fps)
    sheet = None if mover.draw is None else write_png(folder / "decisions.png", run_sheet(run, draw))
    say(_sentence(episode, attempt, [event.kind for event in run.events], video, sheet))
    return 1 if episode.end == EpisodeEnd.SAFETY else 0


def _episode(
    config: RunConfig, mover: Mover, bench: Connected, events: Events, folder: Path, dry: bool, say: Callable[[str], None]
) -> tuple[EpisodeResult, Attempt | None]:
    aimed = mover.aimed(bench)
    about = about_of(config, aimed, bench, _goal_words(config, dry))
    attempt = bench.attempt  # judges by how the twin was when it was last looked at
    with RunWriter(folder / "record", about, aimed.goal) as writer:
        events.record_by(writer.on_event)
        try:
            hooks = Hooks(writer.on_decision, writer.on_step, None if attempt is None else attempt.is_done)
            on = Bench(bench.arm, bench.cameras, bench.clock, None if bench.view is None else bench.view.truth)
            episode = run_episode(on, aimed.policy, config.loop, hooks)
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


def about_of(config: RunConfig, aimed: Aimed, bench: Connected, goal: str) -> dict[str, Any]:
    """What run.json says; `goal` is in words."""
    return {
        "task": config.task,
        "seed": config.seed,
        "goal": goal,
        "config": dump(config) | dict(aimed.model_config),
        "moves": dump(bench.arm.limits),
        "action_spec": bench.arm.action_spec.to_json(),
        "loop": dump(config.loop),
        **aimed.made_by,
    }


def _said_of(joints: RobotArm, reasons: tuple[str, ...]) -> tuple[str, ...]:
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
    kind = repr(goal.text) if isinstance(goal, TextGoal) else goal.kind
    return f"{task}{kind}{' on a twin' if config.twin else ''}{', dry run' if dry else ''}"


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
