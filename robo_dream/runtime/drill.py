"""`robo-dream run --drill`: before a day's work, the arm is stopped by each means once, and what came of it is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from robo_dream.config import dump
from robo_dream.control.episode import Bench
from robo_dream.embodiment import Clock
from robo_dream.recording.record import GoalRecord
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.connect import Events, connected, scene_cameras
from robo_dream.runtime.run import RunConfig, SnapshotGoal
from robo_dream.runtime.twin import RenderedKind
from robo_dream.safety.drill import Drilled, drill
from robo_dream.safety.ending import why
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.keys import terminal

DRILLED = "DRILLED"  # how a record of a drill ended
LAG = 0.8  # s by which the softest of these arms is behind its commands, and its servos take to settle
_PRESSED = 15.0  # s that a person has to press a key
_LOOK = 0.02  # s


def run_drill(config: RunConfig, say: Callable[[str], None]) -> int:
    """Exit code 0 when each means stopped the arm as stated, else 1. Needs no checkpoint, goal or camera. `say` is told what happens."""
    config = replace(config, goal=SnapshotGoal(), twin_cameras=RenderedKind(), calibration=None)  # no file of these is read
    folder, events = config.out / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3], Events()
    setup = replace(scene_cameras(config), cameras=())
    with connected(config, setup, False, events, say) as bench:
        assert isinstance(bench.joints, GuardProcess)
        about = {
            "task": "drill", "seed": config.seed, "goal": f"stops{' on a twin' if config.twin else ''}", "config": dump(config),
            "loop": dump(config.loop), "action_spec": bench.joints.action_spec.to_json(), "promises": list(bench.joints.promise_lines),
        }  # fmt: skip
        with RunWriter(folder / "record", about, GoalRecord({}, np.zeros(0, np.float32), None, None)) as writer:
            events.record_by(writer.on_event)
            say("drill: the last joint goes to and fro at 0.15 rad/s and is stopped by each means; keep clear")
            try:
                found = drill(bench.joints, bench.clock, lag=LAG)
                key = _tried_key(bench.joints, bench.clock, say)
            except BaseException as error:
                writer.interrupt([why(error), *bench.joints.reasons])
                events.record = None
                raise
            last = Bench(bench.arm, bench.cameras, bench.clock).observe()
            problems = [f"{one.means}: {one.problem}" for one in found if one.problem]
            writer.finish(last, {"end": DRILLED, "reasons": problems, "drill": [one.to_json() for one in found], "key": key})
            events.record = None  # what the guard says on leaving is logged
    say(drill_table(found))
    say(f"  key      {key}\n  record   {writer.root}")
    for problem in problems:
        say(f"  NOT AS STATED: {problem}. Do not work with this arm before you know why")
    return 1 if problems else 0


def drill_table(found: Sequence[Drilled]) -> str:
    """For people: each means with what was measured and what the limits in force state."""
    lines = [f"{'stopped by':16}{'at rest after':>15}{'stated':>9}{'went on by':>13}{'stated':>11}"]
    for one in found:
        mark = "  NOT AS STATED" if one.problem else ""
        lines.append(
            f"{one.means:16}{one.seconds:13.2f} s{one.stated_seconds:7.2f} s{one.travel:9.3f} rad{one.stated_travel:7.3f} rad{mark}"
        )
    return "\n".join(lines)


def _tried_key(arm: GuardProcess, clock: Clock, say: Callable[[str], None]) -> str:
    """Whether a key of the terminal reaches the guard: a person presses it, so there is no time to measure."""
    if terminal() is None:
        return "not tried: this program has no terminal"
    say(f"now press space, e or escape, within {_PRESSED:.0f} s")
    end = clock.now() + _PRESSED
    while not arm.reasons and clock.now() < end:
        clock.sleep_until(clock.now() + _LOOK)
    if not arm.reasons:
        return "not tried: nobody pressed one"
    pressed = arm.reasons[0]
    arm.reset()
    return f"the guard stopped the arm, latched: {pressed}"
