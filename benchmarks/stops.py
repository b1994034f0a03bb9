"""How long an emergency stop takes in every state of the guard: `python benchmarks/stops.py`. Writes docs/results/stops.json.

From a key pressed in another process, a signal from another process, or `emergency_stop` called in the planner's, until the driver was
told to stop and nothing more was sent. The planner's interpreter is kept by calls of C of some 30 ms each, and a process more for each
core keeps them all busy. Times are of one monotonic clock for all processes.
"""

import argparse
import logging
import multiprocessing as mp
import os
import pty
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from guard_latency import PLANNERS, StampingArm, burn
from results_file import write_figures

from robo_dream.calibration.moves import go
from robo_dream.embodiment import WallClock
from robo_dream.errors import RoboDreamError
from robo_dream.runtime.connect import go_to_start
from robo_dream.runtime.run import StartPose
from robo_dream.safety.guard import Guard, MotionLimits
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.limits import SafetyLimits

JOINTS = 6
CONTROL_DT, COMMAND_DT = 0.02, 0.1  # s
BY = ("key", "pipe", "signal")
SOFT = (0.1, 0.4, 4.0, 40.0)  # rad/s^2 of a soft stop
PATIENT = SafetyLimits(max_command_gap=1.0)  # a planner that is blocked commands late, which is not what is measured here
_TAIL = 32768  # bytes of what the arm was told: some 15 s
_LATCHES = 5.0  # s until the guard must say that it is stopped


class SlowArm(StampingArm):
    """Takes its time to connect; what it was told is on disk at once."""

    def __init__(self, file: Path, connecting: float) -> None:
        super().__init__(CONTROL_DT, file)
        self.connecting = connecting

    def __enter__(self) -> "SlowArm":
        self._say("begun", 0.0)
        self._say("connecting", 0.0)
        time.sleep(self.connecting)
        return self

    def __exit__(self, *exc: object) -> None: ...

    def send(self, action: np.ndarray) -> np.ndarray:
        self._say("sent", float(np.abs(action - self.at)[:-1].max()))
        return super().send(action)

    def stop(self) -> None:
        self._say("stopped", 0.0)

    def _say(self, word: str, step: float) -> None:
        os.write(self._out, f"{time.monotonic():.6f} {word} {step:.9f}\n".encode())

    @property
    def _out(self) -> int:
        if not hasattr(self, "_descriptor"):
            self._descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return self._descriptor


def build(file: Path, acceleration: float, connecting: float) -> tuple[SlowArm, Guard]:
    arm, ones = SlowArm(file, connecting), np.ones(JOINTS + 1)
    spec = arm.action_spec
    return arm, Guard(MotionLimits(spec.names, spec.low, spec.high, ones, acceleration * ones, CONTROL_DT), PATIENT)


def finger(channel: Connection) -> None:
    """Another process: presses the key, or sends the signal, when it is told to, and says when."""
    master, slave = pty.openpty()
    channel.send(os.ttyname(slave))
    while (order := channel.recv()) is not None:
        what, delay, pid = order
        time.sleep(delay)
        moment = time.monotonic()
        if what == "key":
            os.write(master, b" ")
        else:
            os.kill(pid, signal.SIGUSR1)
        channel.send(moment)


@dataclass
class Bench:
    """What presses, what it presses on, and what the arm was told."""

    finger: Connection
    tty: Path
    file: Path
    rng: np.random.Generator

    def guard(self, acceleration: float, connecting: float = 0.0) -> GuardProcess:
        return GuardProcess(partial(build, self.file, acceleration, connecting), COMMAND_DT, tty=self.tty, max_silence=30.0)

    def press(self, arm: GuardProcess, by: str, delay: float) -> float:
        """Stops the arm, and says when that was asked for (monotonic s)."""
        if by == "pipe":
            time.sleep(delay)
            moment = time.monotonic()
            arm.emergency_stop("benchmark")
            return moment
        self.finger.send((by, delay, arm.pid))
        return self.finger.recv()

    def words(self) -> list[tuple[float, str, float]]:
        if not self.file.exists():
            return []
        with self.file.open("rb") as file:
            file.seek(max(0, self.file.stat().st_size - _TAIL))
            lines = [line.split() for line in file.read().decode().splitlines()[1:]]
        return [(float(line[0]), line[1], float(line[2])) for line in lines if len(line) == 3]

    def latency(self, moment: float) -> float:
        """ms from `moment` until the driver was told to stop and was sent nothing more that moves."""
        end = time.monotonic() + _LATCHES
        while time.monotonic() < end:
            time.sleep(0.05)
            stops = [at for at, word, _ in self.words() if word == "stopped" and at >= moment]
            if stops:
                later = [at for at, word, step in self.words() if word == "sent" and at > stops[0] and step > 0]
                return 1e3 * (max([stops[0], *later]) - moment)
        return np.inf


@contextmanager
def loaded(bench_planner: str, cores: int) -> Iterator[None]:
    """All cores busy, and a thread of this process that keeps its interpreter."""
    context, seconds = mp.get_context("spawn"), 36000.0
    burners = [context.Process(target=burn, args=(seconds,), daemon=True) for _ in range(cores)]
    ended = threading.Event()

    def keep() -> None:
        while not ended.is_set():
            PLANNERS[bench_planner](time.monotonic() + 0.2)

    planner = threading.Thread(target=keep, daemon=True)
    for each in (*burners, planner):
        each.start()
    yield
    ended.set()
    for process in burners:
        process.terminate()


def run_up(bench: Bench, arm: GuardProcess, speed: float) -> None:
    """Until the commands go at `speed` (rad/s), there or back: to the other end of the range, however late this planner commands."""
    here = np.append(arm.state().joint_pos, 0.0)
    side = -1.0 if here[0] > 0 else 1.0
    first, far = here.copy(), np.append(np.full(JOINTS, 5.8 * side), 0.0)
    first[:-1] += 0.05 * side
    arm.send(first)
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        time.sleep(0.5 * COMMAND_DT)
        arm.send(far)
        steps = [step for _, word, step in bench.words()[-5:] if word == "sent"]
        if steps and max(steps) > 0.9 * speed * CONTROL_DT:
            return
    raise RuntimeError(f"the arm never came up to speed: {arm.reasons}")


def moving(bench: Bench, by: str, num: int) -> Iterator[float]:
    with bench.guard(15.0) as arm:
        for _ in range(num):
            run_up(bench, arm, 0.5)
            yield bench.latency(bench.press(arm, by, bench.rng.uniform(0.0, 0.05)))
            again(arm)


def soft_stop(acceleration: float, bench: Bench, by: str, num: int) -> Iterator[float]:
    speed = min(0.9, np.sqrt(2 * acceleration))
    with bench.guard(acceleration) as arm:
        for _ in range(num):
            run_up(bench, arm, speed)
            soft = threading.Thread(target=arm.stop, args=("softly",))
            soft.start()
            yield bench.latency(bench.press(arm, by, bench.rng.uniform(0.0, 0.5 * speed / acceleration)))
            soft.join()
            again(arm)


def told(move: Callable[[GuardProcess, np.ndarray], None], bench: Bench, by: str, num: int) -> Iterator[float]:
    with bench.guard(15.0) as arm:
        for _ in range(num):
            pose = arm.state().joint_pos + (-1.0 if arm.state().joint_pos[0] > 0 else 1.0)

            def go_there(pose: np.ndarray = pose) -> None:
                with suppress(RoboDreamError):
                    move(arm, pose)

            thread = threading.Thread(target=go_there)
            thread.start()
            time.sleep(0.4)
            yield bench.latency(bench.press(arm, by, bench.rng.uniform(0.0, 0.3)))
            thread.join()
            again(arm)


def home(arm: GuardProcess, pose: np.ndarray) -> None:
    go_to_start(arm, StartPose("home", speed=0.5), pose)


def calibrate(arm: GuardProcess, pose: np.ndarray) -> None:
    go(arm, WallClock(), pose, 0.5)


def reconnecting(bench: Bench, by: str, num: int) -> Iterator[float]:
    """The driver is within its connecting, which takes seconds."""
    for _ in range(num):
        bench.file.unlink(missing_ok=True)
        arm = bench.guard(15.0, connecting=1.5)
        entering = threading.Thread(target=arm.__enter__)
        entering.start()
        while not any(word == "connecting" for _, word, _ in bench.words()):
            time.sleep(0.02)
        yield bench.latency(bench.press(arm, by, bench.rng.uniform(0.0, 0.5)))
        entering.join()
        arm.__exit__(None, None, None)


def again(arm: GuardProcess) -> None:
    end = time.monotonic() + _LATCHES
    while not arm.reasons and time.monotonic() < end:
        time.sleep(0.01)
    arm.reset()
    while arm.reasons and time.monotonic() < end:
        time.sleep(0.01)


STATES: dict[str, Callable[[Bench, str, int], Iterator[float]]] = {
    "moving": moving,
    **{f"soft_stop_{acceleration:g}": partial(soft_stop, acceleration) for acceleration in SOFT},
    "homing": partial(told, home),
    "calibrating": partial(told, calibrate),
    "reconnecting": reconnecting,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=100, help="emergency stops in each state by each means")
    parser.add_argument("--states", nargs="*", default=list(STATES), choices=list(STATES))
    parser.add_argument("--by", nargs="*", default=list(BY), choices=BY)
    parser.add_argument("--planner", default="calls of C", choices=list(PLANNERS))
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="busy processes besides")
    parser.add_argument("--out", type=Path, default=Path("docs/results/stops.json"))
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    ours, theirs = mp.get_context("spawn").Pipe()
    mp.get_context("spawn").Process(target=finger, args=(theirs,), daemon=True).start()
    tty, rng, figures = Path(ours.recv()), np.random.default_rng(0), dict[str, float | int | str | None]()
    print("| state | by | stops | to zero command, ms p50 / p99 / max |\n|---|---|---|---|")
    with loaded(args.planner, args.cores):
        for state in args.states:
            of_state: list[float] = []
            for by in args.by:
                with tempfile.TemporaryDirectory() as folder:
                    found = list(STATES[state](Bench(ours, tty, Path(folder) / "said", rng), by, args.num))
                of_state += found
                figures[f"estop_p99_ms/{state}/{by}"] = round(float(np.percentile(found, 99)), 2)
                p50, p99 = np.percentile(found, [50, 99])
                print(f"| {state} | {by} | {len(found)} | {p50:.2f} / {p99:.2f} / {max(found):.2f} |", flush=True)
            figures |= {
                f"estop_p99_ms/{state}": round(float(np.percentile(of_state, 99)), 2), f"estop_max_ms/{state}": round(max(of_state), 2),
                f"num/{state}": len(of_state),
            }  # fmt: skip
    ours.send(None)
    write_figures(args.out, figures | {"load_average": round(os.getloadavg()[0], 1)})


if __name__ == "__main__":
    main()
