"""What kills and pauses of any process do to an arm in motion, on four twins: `python benchmarks/kills.py`. Writes docs/results/kills.json.

    python benchmarks/kills.py --num 20                   # each signal to each process, 20 times on each twin: two hours
    python benchmarks/kills.py --log kills.jsonl          # keeps each strike there as it happens, and strikes only what is not in it yet
    python benchmarks/kills.py --twins line --signals KILL --victims guard --num 3

SIGKILL, SIGSTOP, SIGHUP and SIGTERM go to the guard, to the planner's process, and to the process of the driver's client (Universal Robots
has one), at random moments of a motion. Rest and travel are judged in the physics behind the wire, which no signal reaches, against what
the limits in force promise, what the arm lags behind its commands added. A message must name what happened, and one that says that the arm
was stopped is held against the physics.
"""

import argparse
import json
import logging
import multiprocessing as mp
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from results_file import write_figures

from hardware.arms.ur import UrConfig
from hardware.arms.xarm import XarmConfig
from robo_dream.errors import RoboDreamError
from robo_dream.recording.events import SafetyEvent, append_line
from robo_dream.runtime.arms import ArmKind, LineKind, So101Kind, at_address, build_guarded, last_resort
from robo_dream.runtime.twin import WIRES
from robo_dream.safety.ending import ended_by_signals
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.limits import SafetyLimits
from sim.emulators.plant import JointReading, Plant
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

COMMAND_DT = 0.1  # s
SPEED = 0.8  # rad/s of the swing, at its fastest
AMPLITUDE = 0.25  # rad
STILL = 0.05  # rad/s; below it an arm is at rest
MOVING = 0.15  # rad/s; what is struck moves at least so fast
LIMITS = SafetyLimits(max_state_age=0.3)  # a shared computer pauses an emulated controller for longer than a real one would
SILENCE = 1.0  # s, of the guard's process
LAG = 0.35  # s by which an arm is behind its commands at most
SIGNALS = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP, "HUP": signal.SIGHUP, "TERM": signal.SIGTERM}
VICTIMS = ("guard", "main", "driver")


@dataclass(frozen=True)
class Twin:
    """An arm as it is configured for a busy computer, its model, and s that its servos take to come to rest."""

    arm: ArmKind
    model: str
    settle: float = 0.5
    acts_by_itself: float = 0.0  # s after which its controller stops it, where nothing else does


TWINS = {
    "line": Twin(LineKind(timeout=0.2), "jaco", 0.8),
    "so101": Twin(So101Kind(), "so101"),
    "ur": Twin(UrConfig(max_age=0.15, watchdog=4.0), "ur5e_shapes", acts_by_itself=0.25),
    "xarm": Twin(XarmConfig(gripper="none", reply_timeout=0.15), "xarm6"),
}


def physics(name: str, channel: Connection) -> None:
    """The process that no signal reaches: an arm behind its wire, anew for each "begin", and what it really did."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    twin = TWINS[name]
    with World(SceneConfig(arm=twin.model)) as world:
        while channel.recv() == "begin":
            world.home()
            readings: list[JointReading] = []
            with Plant(world) as plant, WIRES[twin.arm.kind](plant, twin.arm) as address:
                plant.watch(readings.append)
                channel.send(address)
                marked = 0
                while (order := channel.recv()) != "end":
                    with plant.lock:
                        seen = readings[marked:]
                    if order == "mark":
                        with plant.lock:
                            marked = len(readings)
                        recent = readings[-10:]
                        channel.send(float(max(np.abs(one.vel).max() for one in recent)) if recent else 0.0)
                    else:  # how long it moved and how far it went since the mark
                        fast = [one.time for one in seen if np.abs(one.vel).max() > STILL]
                        way = max((float(np.abs(one.pos - seen[0].pos).max()) for one in seen), default=0.0)
                        channel.send((fast[-1] - seen[0].time if fast else 0.0, way))


def drive(name: str, address: str, seed: int) -> None:
    """The planner's process: swings the arm until something stops it, and prints what it was told."""
    twin, rng = TWINS[name], np.random.default_rng(seed)
    arm = at_address(twin.arm, int(address) if address.isdecimal() else address)
    events: list[SafetyEvent] = []
    guard = GuardProcess(
        partial(build_guarded, arm, SceneConfig(arm=twin.model), LIMITS), COMMAND_DT, events.append,
        last_resort=partial(last_resort, arm), max_silence=SILENCE,
    )  # fmt: skip
    said = ""
    try:
        with ended_by_signals(), guard:
            home = guard.state().joint_pos
            ways = rng.uniform(0.4, 1.0, len(home)) * rng.choice([-1, 1], len(home)) * AMPLITUDE
            ways[1:-1] *= 0.3  # most of all the first and the last joint: nothing is near them
            print(json.dumps({"guard": guard.pid}), flush=True)
            phase = 0.0
            while True:
                phase += SPEED / AMPLITUDE * COMMAND_DT
                guard.send(np.append(home + ways * np.sin(phase), guard.state().target_gripper))
                time.sleep(COMMAND_DT)
    except RoboDreamError as error:
        time.sleep(0.3)  # what is done about it may still be under way
        with suppress(RoboDreamError):
            said = "; ".join(dict.fromkeys([str(error), *guard.reasons]))
        said = said or str(error)
    finally:
        print(json.dumps({"said": said, "events": [event.reason for event in events]}), flush=True)


@dataclass
class Outcome:
    """Of one signal. Seconds and rad, measured and stated; `problem` says what was wrong."""

    twin: str
    victim: str
    signal: str
    seconds: float = 0.0
    travel: float = 0.0
    stated_seconds: float = 0.0
    stated_travel: float = 0.0
    message: str = ""
    problem: str = ""
    events: list[str] = field(default_factory=list)


def stated(twin: Twin, victim: str, name: str) -> tuple[float, float]:
    """Seconds until rest and rad of travel, by the limits in force. Commands go no faster than the swing."""
    brake = SPEED / LIMITS.joint_acceleration
    brake_way = SPEED**2 / (2 * LIMITS.joint_acceleration)
    if victim == "guard" and name in ("KILL", "STOP"):  # the last command, or the controller's own watchdog, ends the motion
        noticed = max(0.1, twin.acts_by_itself)
    elif victim == "driver":  # the client is gone, or answers no more: a call, then the dashboard
        noticed = LIMITS.max_state_age + 0.3 + 0.3
    elif (victim, name) == ("main", "STOP"):
        noticed = max(LIMITS.max_command_gap, COMMAND_DT) + 0.1
    else:
        noticed = 0.1
    return noticed + brake + twin.settle + LAG, SPEED * (noticed + LAG) + brake_way


def run(name: str, victim: str, signal_name: str, seed: int, channel: Connection) -> Outcome | None:
    """One signal at a random moment; None where the arm did not move just then, so that nothing was struck."""
    twin, rng, outcome = TWINS[name], np.random.default_rng(seed), Outcome(name, victim, signal_name)
    outcome.stated_seconds, outcome.stated_travel = stated(twin, victim, signal_name)
    channel.send("begin")
    address = channel.recv()
    main = subprocess.Popen(
        [sys.executable, __file__, "--drive", name, str(address), str(seed)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert main.stdout is not None
    stopped: list[int] = []
    try:
        first = main.stdout.readline()
        if not first or "guard" not in first:
            return None
        guard = int(json.loads(first)["guard"])
        time.sleep(rng.uniform(0.8, 2.0))
        pids = {"main": main.pid, "guard": guard, "driver": _client_of(guard)}
        pid = pids[victim]
        channel.send("mark")
        if pid is None or channel.recv() < MOVING:
            return None
        if SIGNALS[signal_name] == signal.SIGSTOP:
            stopped.append(pid)
        os.kill(pid, SIGNALS[signal_name])
        time.sleep(outcome.stated_seconds + (SILENCE + 1.5 if SIGNALS[signal_name] == signal.SIGSTOP else 0.5))
        channel.send("report")
        outcome.seconds, outcome.travel = channel.recv()
        outcome.problem = _judged(outcome)
        for each in stopped:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)
        if victim == "main" and signal_name == "STOP":
            main.send_signal(signal.SIGTERM)
        try:
            text = main.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            main.kill()
            text = main.communicate()[0]
            outcome.problem = outcome.problem or "the planner's process did not end"
        last = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        if last:
            outcome.message, outcome.events = last[-1]["said"], last[-1]["events"]
        outcome.problem = outcome.problem or _untrue(outcome)
        return outcome
    finally:
        for each in stopped:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)
        if main.poll() is None:
            main.kill()
            main.wait()
        end = time.monotonic() + 10
        while first and "guard" in first and _lives(int(json.loads(first)["guard"])) and time.monotonic() < end:
            time.sleep(0.05)
        channel.send("end")


def _judged(outcome: Outcome) -> str:
    if outcome.seconds > outcome.stated_seconds:
        return f"at rest after {outcome.seconds:.2f} s, stated {outcome.stated_seconds:.2f} s"
    if outcome.travel > outcome.stated_travel:
        return f"went on by {outcome.travel:.3f} rad, stated {outcome.stated_travel:.3f} rad"
    return ""


def _untrue(outcome: Outcome) -> str:
    """What is wrong with the message; empty where it is true. A process that is killed says nothing."""
    text = " ".join([outcome.message, *outcome.events])
    if outcome.victim == "main":
        says_why = outcome.signal in ("KILL", "STOP") or f"SIG{outcome.signal}" in text
        return "" if says_why else f"it says nothing of why it stopped: {text!r}"
    wanted = {"KILL": "SIGKILL", "STOP": "silent", "HUP": "SIGHUP", "TERM": "SIGTERM"}[outcome.signal]
    if outcome.victim == "guard" and wanted not in text:
        return f"it does not name what happened: {text!r}"
    if outcome.victim == "guard" and outcome.signal in ("KILL", "STOP") and not re.search("confirmed|failed", text):
        return f"it does not say what acted: {text!r}"
    if outcome.victim == "driver" and not text:
        return "it says nothing"
    return ""


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _client_of(guard: int) -> int | None:
    """The process of the driver's client, where it has one."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == guard and b"ur_client" in (folder / "cmdline").read_bytes():
                return int(folder.name)
    return None


def _logged(log: Path | None) -> list[Outcome]:
    """The strikes that were made already."""
    if log is None or not log.exists():
        return []
    return [Outcome(**json.loads(line)) for line in log.read_text().splitlines()]


@contextmanager
def physics_of(name: str) -> Iterator[Connection]:
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=physics, args=(name, theirs), daemon=True)
    process.start()
    yield ours
    ours.send("leave")
    process.join(5.0)
    process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=20, help="times that each signal strikes each process on each twin")
    parser.add_argument("--twins", nargs="*", default=list(TWINS), choices=list(TWINS))
    parser.add_argument("--victims", nargs="*", default=list(VICTIMS), choices=VICTIMS)
    parser.add_argument("--signals", nargs="*", default=list(SIGNALS), choices=list(SIGNALS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/kills.json"))
    parser.add_argument("--log", type=Path, help="a file of one line a strike, to go on with later")
    parser.add_argument("--drive", nargs=3, metavar=("TWIN", "ADDRESS", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if args.drive:
        return drive(args.drive[0], args.drive[1], int(args.drive[2]))
    outcomes = _logged(args.log)
    for name in args.twins:
        with physics_of(name) as channel:
            for victim in args.victims:
                if victim == "driver" and name != "ur":
                    continue  # its client is a part of the guard's process
                for signal_name in args.signals:
                    found = [one for one in outcomes if (one.twin, one.victim, one.signal) == (name, victim, signal_name)]
                    for seed in range(args.seed + len(found), args.seed + 3 * args.num):
                        if len(found) >= args.num:
                            break
                        if (outcome := run(name, victim, signal_name, seed, channel)) is None:
                            continue
                        found.append(outcome)
                        outcomes.append(outcome)
                        if args.log is not None:
                            append_line(args.log, json.dumps(asdict(outcome)).encode() + b"\n")
                        if outcome.problem:
                            print(f"{name}, {victim}, {signal_name}, seed {seed}: {outcome.problem}", flush=True)
                    if found:
                        worst = replace(found[0], seconds=max(one.seconds for one in found), travel=max(one.travel for one in found))
                        print(
                            f"| {name} | {victim} | {signal_name} | {len(found)} | {worst.seconds:.2f} / {worst.stated_seconds:.2f} s "
                            f"| {worst.travel:.3f} / {worst.stated_travel:.3f} rad | {found[-1].message[:160]} |", flush=True,
                        )  # fmt: skip
    figures: dict[str, float | int | str | None] = {"num": len(outcomes), "num_problems": sum(bool(one.problem) for one in outcomes)}
    for one in outcomes:
        key = f"{one.twin}/{one.victim}/{one.signal}"
        figures[f"num/{key}"] = int(figures.get(f"num/{key}") or 0) + 1
        figures[f"max_seconds/{key}"] = round(max(float(figures.get(f"max_seconds/{key}") or 0), one.seconds), 3)
        figures[f"max_travel_rad/{key}"] = round(max(float(figures.get(f"max_travel_rad/{key}") or 0), one.travel), 4)
        figures[f"stated_seconds/{key}"], figures[f"stated_travel_rad/{key}"] = round(one.stated_seconds, 3), round(one.stated_travel, 4)
    write_figures(args.out, figures)
    sys.exit(1 if figures["num_problems"] else 0)


if __name__ == "__main__":
    main()
