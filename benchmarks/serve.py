"""A planner that serves: `python benchmarks/serve.py` (about 4 minutes, and `--minutes` more; writes docs/results/serve.json).

`robo-dream serve` runs in a process of its own with the released checkpoint, on one thread; clients are threads of this one, each asking
for pushes from its own seed, one question after another. For 1, 4 and 16 of them, with searches shared (max_together 16) and not (1), in
turn, again and again: decisions a second, the times from question to answer, and the median ratio of the two rates. `alone_ms_p50` is the
same decision in process.

Then 16 clients for `--minutes`: each asks, and now and then hangs up before, while or after it is answered, or sends what is no message.
Memory and descriptors of the server before and after, and how many clients are still connected when all have gone.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from results_file import write_figures
from websockets.sync.client import connect

from robo_dream.control.episode import Bench, LoopConfig
from robo_dream.embodiment import Observation
from robo_dream.errors import NoAnswerError
from robo_dream.runtime.attempt import prepare, simulated_devices
from robo_dream.runtime.run import RemotePlanner
from robo_dream.runtime.serving.remote import Link
from robo_dream.runtime.serving.server import ServeConfig, answers_for
from robo_dream.runtime.serving.wire import observation_message, pack
from sim.pairs import drawn_pair
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import SceneConfig

CLIENTS, SHARED = (1, 4, 16), {"batched": 16, "unbatched": 1}
PATIENCE = 300.0  # s; what is slow is measured, not given up


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=8, help="how often each is made, in turn: other work on the machine comes and goes")
    parser.add_argument("--minutes", type=float, default=30.0, help="of 16 clients that come and go; 0 keeps what the file says of them")
    parser.add_argument("--out", type=Path, default=Path("docs/results/serve.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, float | int | str | None] = {}
    answers = answers_for(ServeConfig(port=0), print)
    seen, goal = looked_at(answers.model)
    encoded = answers.goal_answer(answers.asked(goal_question(goal)))["goal"]  # type: ignore[arg-type]
    times = []
    for number in range(12):
        began = time.perf_counter()
        answers.decisions([answers.asked(question(seen, encoded, number))])  # type: ignore[list-item]
        times.append(time.perf_counter() - began)
    figures["alone_ms_p50"] = round(1e3 * float(np.median(times[2:])), 1)
    with served(16) as batched, served(1) as unbatched:
        urls = {"batched": batched, "unbatched": unbatched}
        found: dict[str, list[float]] = {}
        counted: dict[str, list[float]] = {}
        for _ in range(args.rounds):
            for clients in CLIENTS:
                for name, url in urls.items():
                    key = f"{name}_{clients}"
                    before = metrics(url)
                    times, rate = asked_by(url, clients, seen, encoded, args.seconds)
                    after = metrics(url)
                    found.setdefault(key, []).extend(times)
                    counted.setdefault(key, []).append(rate)
                    searches = after["searches_total"] - before["searches_total"]
                    counted.setdefault(f"{key}_together", []).append((after["decisions_total"] - before["decisions_total"]) / searches)
                    print(f"{key}: {rate:.2f} decisions/s, {counted[f'{key}_together'][-1]:.2f} a search", flush=True)
        for clients in CLIENTS:
            ratios = np.divide(counted[f"batched_{clients}"], counted[f"unbatched_{clients}"])
            figures[f"batching_ratio_{clients}"] = round(float(np.median(ratios)), 2)
        for key, times in found.items():
            figures[f"{key}_decisions_per_second"] = round(float(np.mean(counted[key])), 2)
            figures[f"{key}_together"] = round(float(np.mean(counted[f"{key}_together"])), 2)
            for percent in (50, 95, 99):
                figures[f"{key}_ms_p{percent}"] = round(1e3 * float(np.percentile(times, percent)), 1)
    if args.out.exists():
        figures |= {key: value for key, value in json.loads(args.out.read_text()).items() if key.startswith("endurance_")}
    write_figures(args.out, figures)
    if args.minutes:
        with served(16) as url:
            figures |= endurance(url, seen, encoded, args.minutes)
    write_figures(args.out, figures)
    print(args.out.read_text())
    return 0


def looked_at(model: Any) -> tuple[Observation, Observation]:
    """What is seen at the start of a push, and how it should look."""
    with Tabletop(SceneConfig()) as world:
        prepared = prepare(world, drawn_pair(world, "push", np.random.default_rng(0)), LoopConfig())
        devices = simulated_devices(prepared, model)
        return Bench(devices.arm, devices.cameras, devices.clock).observe(), prepared.goal_observation


def goal_question(goal: Observation) -> dict[str, Any]:
    return {"ask": "goal", "task": "push", "goal": {"observation": observation_message(goal)}}


def question(seen: Observation, goal: dict[str, Any], seed: int) -> dict[str, Any]:
    return {"task": "push", "observation": observation_message(seen), "goal": goal, "seed": seed, "seconds": PATIENCE}


@contextmanager
def served(most: int) -> Any:
    """A server in a process of its own; gives its address."""
    command = [sys.executable, "-m", "robo_dream.cli.main", "serve", str(ServeConfig().checkpoint)]
    options = ["port=0", f"max_together={most}", f"seconds={PATIENCE}", "max_clients=64"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if " plans at " in line)
        yield line.split(" plans at ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(20)


def asked_by(url: str, clients: int, seen: Observation, goal: dict[str, Any], seconds: float) -> tuple[list[float], float]:
    """How long each answer took (s) with so many clients, and answers a second."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        link, asked = Link(RemotePlanner(url=url)), 0
        while time.perf_counter() < end:
            began = time.perf_counter()
            link.ask(question(seen, goal, 1000 * number + asked), 2 * PATIENCE)
            times.append(time.perf_counter() - began)
            asked += 1
        link.close()

    began = time.perf_counter()
    run_together(work, clients)
    return times, len(times) / (time.perf_counter() - began)


def endurance(url: str, seen: Observation, goal: dict[str, Any], minutes: float) -> dict[str, float | int]:
    """16 clients that come and go. What the server holds before and after, clients that stay connected, and answers that never came."""
    asked_by(url, 16, seen, goal, 10.0)  # warm: what is allocated once is no leak
    time.sleep(1.0)
    before, end = metrics(url), time.perf_counter() + 60 * minutes
    counts = {"answers": 0, "hung_up": 0, "malformed": 0, "unanswered": 0}
    lock = threading.Lock()

    def count(name: str) -> None:
        with lock:
            counts[name] += 1

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        while time.perf_counter() < end:
            link = Link(RemotePlanner(url=url))
            for _ in range(int(rng.integers(1, 6))):
                chance = rng.random()
                if chance < 0.2:  # hangs up while it waits
                    with suppress(NoAnswerError):
                        link.ask(question(seen, goal, number), float(rng.uniform(0.0, 0.5)))
                    count("hung_up")
                elif chance < 0.3:
                    with connect(url, max_size=None) as connection:
                        connection.recv()
                        connection.send(pack(question(seen, goal, number))[: int(rng.integers(0, 2000))])
                        count("malformed" if isinstance(connection.recv(timeout=PATIENCE), str) else "unanswered")
                else:
                    try:
                        link.ask(question(seen, goal, number), PATIENCE)
                        count("answers")
                    except NoAnswerError:
                        count("unanswered")
            link.close()

    middle: list[dict[str, float]] = []
    halfway = threading.Timer(30 * minutes, lambda: middle.append(metrics(url)))
    halfway.start()
    run_together(work, 16)
    halfway.join()
    time.sleep(3.0)
    after = metrics(url)
    return {
        "endurance_minutes": minutes, **{f"endurance_{name}": value for name, value in counts.items()},
        "endurance_rss_mb_before": round(before["resident_bytes"] / 1e6, 1),
        "endurance_rss_mb_middle": round(middle[0]["resident_bytes"] / 1e6, 1),
        "endurance_rss_mb_after": round(after["resident_bytes"] / 1e6, 1),
        "endurance_descriptors_before": int(before["open_descriptors"]), "endurance_descriptors_after": int(after["open_descriptors"]),
        "endurance_clients_left": int(after["clients"]), "endurance_waiting_left": int(after["waiting"]),
    }  # fmt: skip


def run_together(work: Any, number: int) -> None:
    failed: list[BaseException] = []

    def kept(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=kept, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def metrics(url: str) -> dict[str, float]:
    """The server's own numbers, histogram left out."""
    with urllib.request.urlopen(f"{url.replace('ws', 'http', 1)}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    values = (line.removeprefix("robo_dream_").split() for line in lines if not line.startswith("#") and "{" not in line)
    return {name: float(value) for name, value in values}


if __name__ == "__main__":
    sys.exit(main())
