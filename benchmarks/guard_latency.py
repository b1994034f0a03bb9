"""How fast an emergency stop is, and how steady the commands are, while the planner computes: `python benchmarks/guard_latency.py`.

A planner that blocks is played by a thread of this process that computes all the time: in torch, in Python (which gives the interpreter
away every 5 ms), or in calls of C that keep it for some 30 ms each. One process more for each core keeps them all busy. A finger, a
process of its own, presses the emergency key on a terminal; latency runs from there to the call of the driver's stop. Times are of one
monotonic clock for all processes.
"""

import argparse
import multiprocessing as mp
import os
import pty
import select
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import SafetyStopError
from robo_dream.safety.guard import Guard, MotionLimits
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.guard_thread import GuardThread
from robo_dream.safety.keys import Keys
from robo_dream.safety.limits import SafetyLimits

_JOINTS = 6


@dataclass
class StampingArm:
    """An arm that is where it was told to be; when it was told something is in `file` once it is left."""

    control_dt: float
    file: Path
    sent: list[float] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)
    at: np.ndarray = field(default_factory=lambda: np.zeros(_JOINTS + 1))

    @property
    def action_spec(self) -> ActionSpec:
        names = (*(f"joint_{i + 1}" for i in range(_JOINTS)), "gripper")
        low, high = np.array([-6.0] * _JOINTS + [0.0]), np.array([6.0] * _JOINTS + [1.0])
        return ActionSpec("joint_target", names, ("rad",) * _JOINTS + ("1",), low, high, self.control_dt)

    def __enter__(self) -> "StampingArm":
        return self

    def __exit__(self, *exc: object) -> None:
        np.savez(self.file, sent=self.sent, stopped=self.stopped)

    def state(self) -> ArmState:
        zero = np.full(3, np.nan)
        return ArmState(time.monotonic(), self.at[:-1], np.zeros(_JOINTS), zero, np.full(4, np.nan), np.nan, 0.0, zero, np.nan, 0.0)

    def send(self, action: np.ndarray) -> np.ndarray:
        self.sent.append(time.monotonic())
        self.at = action
        return action

    def stop(self) -> None:
        self.stopped.append(time.monotonic())


def idle(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))


def in_torch(until: float) -> None:
    import torch

    a = torch.randn(256, 256)
    while time.monotonic() < until:
        a = torch.tanh(a @ a)


def in_python(until: float) -> None:
    total = 0
    while time.monotonic() < until:
        for i in range(1000):
            total += i * i


def in_c(until: float) -> None:
    while time.monotonic() < until:
        sum(range(1_500_000))


PLANNERS: dict[str, Callable[[float], None]] = {"idle": idle, "torch": in_torch, "python": in_python, "calls of C": in_c}


def build(control_dt: float, file: Path) -> tuple[StampingArm, Guard]:
    arm = StampingArm(control_dt, file)
    spec, ones = arm.action_spec, np.ones(_JOINTS + 1)
    return arm, Guard(MotionLimits(spec.names, spec.low, spec.high, ones, 15 * ones, control_dt), SafetyLimits())


def burn(seconds: float) -> None:
    in_python(time.monotonic() + seconds)


def press(channel: Connection, num_presses: int, every: float) -> None:
    """The finger: says where its terminal is, and at the end when it pressed."""
    master, slave = pty.openpty()
    channel.send(os.ttyname(slave))
    channel.recv()
    rng, times = np.random.default_rng(0), []
    for _ in range(num_presses):
        time.sleep(every * rng.uniform(0.7, 1.3))
        times.append(time.monotonic())
        os.write(master, b" ")
    channel.send(times)
    channel.recv()


def watch(tty: str, arm: GuardThread, ended: threading.Event) -> None:
    """The emergency key of a guard that is a thread."""
    with Keys(tty) as keys:
        while not ended.is_set():
            if select.select(keys.files, [], [], 0.1)[0] and (reason := keys.read()):
                arm.emergency_stop(reason)


def measure(where: str, rate: float, planner: str, num_stops: int, every: float, cores: int) -> str:
    context = mp.get_context("spawn")
    burners = [context.Process(target=burn, args=(num_stops * every + 60,), daemon=True) for _ in range(cores)]
    ours, theirs = context.Pipe()
    finger = context.Process(target=press, args=(theirs, num_stops, every), daemon=True)
    for process in (*burners, finger):
        process.start()
    tty, file, ended = ours.recv(), Path(tempfile.mkdtemp()) / "stamps.npz", threading.Event()
    seconds = num_stops * every * 1.3 + 1.0
    if where == "process":
        arm: GuardProcess | GuardThread = GuardProcess(partial(build, 1 / rate, file), 0.1, tty=Path(tty))
    else:
        arm = GuardThread(*build(1 / rate, file), 0.1)
    with arm:
        if isinstance(arm, GuardThread):
            threading.Thread(target=watch, args=(tty, arm, ended), daemon=True).start()
        time.sleep(0.3)
        blocked = threading.Thread(target=PLANNERS[planner], args=(time.monotonic() + seconds,), daemon=True)
        blocked.start()
        ours.send("go")
        target = np.zeros(_JOINTS + 1)
        while not ours.poll():
            try:
                if arm.reasons:
                    arm.reset()
                    target[:-1] = arm.state().joint_pos
                target[:-1] = (target[:-1] + 0.03) if target[0] < 5 else target[:-1] - 0.03
                arm.send(target)
            except SafetyStopError:
                pass
            time.sleep(0.1)
        pressed = np.asarray(ours.recv())
        ours.send("done")
        blocked.join()
        ended.set()
    for process in burners:
        process.terminate()
    stamps = np.load(file)
    sent, stopped = stamps["sent"], stamps["stopped"]
    latency = 1e3 * np.array([stopped[stopped >= at][0] - at for at in pressed])
    gaps = [b - a for a, b in pairwise(sent) if not ((stopped >= a) & (stopped <= b)).any()]
    jitter = 1e3 * np.abs(np.asarray(gaps) - 1 / rate)
    after = max(
        (int(((sent > at + ms / 1e3) & (sent < at + ms / 1e3 + 0.01)).sum()) for at, ms in zip(pressed, latency, strict=True)), default=0
    )
    return f"| {where} | {rate:.0f} Hz | {planner} | {len(latency)} | {_three(latency)} | {len(gaps)} | {_three(jitter)} | {after} |"


def _three(values: np.ndarray) -> str:
    return f"{np.percentile(values, 50):.2f} / {np.percentile(values, 99):.2f} / {values.max():.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=100, help="emergency stops in each row")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two of them")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="busy processes besides")
    parser.add_argument("--where", nargs="*", default=["thread", "process"])
    parser.add_argument("--rates", type=float, nargs="*", default=[10.0, 50.0])
    parser.add_argument("--planners", nargs="*", default=list(PLANNERS))
    args = parser.parse_args()
    print(
        "| guard in a | rate | planner | stops | key to stop, ms p50 / p99 / max | commands | off beat, ms p50 / p99 / max | sent after |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for where in args.where:
        for rate in args.rates:
            for planner in args.planners:
                print(measure(where, rate, planner, args.stops, args.every, args.cores), flush=True)


if __name__ == "__main__":
    main()
