"""Work on a Ray cluster of two nodes: `python benchmarks/ray_cluster.py` (as root, 3 minutes; writes docs/results/ray.json; Linux).

Each node runs in a network namespace of its own, as on a machine of its own, with one core to give. `robo-dream evaluate` of reaching by
the policy alone runs there, and all processes of the second node are killed while its worker (`workers_killed_in_a_pair`) is at a pair.
Every pair must be in its results once, with the outcome that this machine finds by itself: `pairs_twice_or_missing` and
`outcomes_differing` must be 0. Before that `robo-dream collect` plays there, and the second node's worker is killed while it is at an
episode: `episodes_...` must be 0, too. `overhead_ms` is what a piece of work that does nothing costs there, with both nodes at work.
"""

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["RAY_AUTH_MODE"] = "token"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # that all nodes and the drivers show each other
os.environ.update(RAY_worker_niceness="0")  # Ray gives its workers 15, and other programs here would take all
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from ddp import SPACES, namespaces
from results_file import write_figures

from robo_dream.data.cache import open_dataset
from robo_dream.data.episode import Episode
from robo_dream.evaluation.results import Result, read_results
from robo_dream.runtime.ray_cluster import RayRunner, spread

ROOT = Path(__file__).parents[1]
HEAD, OTHER = "10.77.0.1", "10.77.0.2"
ADDRESS = f"{HEAD}:6379"


def ray(space: str, *words: str) -> subprocess.Popen[bytes]:
    command = ["ip", "netns", "exec", space, str(Path(sys.executable).parent / "ray"), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pids(space: str) -> list[int]:
    return [int(word) for word in subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True).stdout.split()]


def at_work(space: str) -> list[int]:
    """Workers there that are at a piece of work, as Ray titles them."""
    found = []
    for pid in pids(space):
        try:
            title = (Path("/proc") / str(pid) / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        if title.startswith(b"ray::_Actor.do"):
            found.append(pid)
    return found


def ended(space: str) -> None:
    """Kills whatever runs there."""
    for pid in pids(space):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@contextmanager
def cluster() -> Iterator[None]:
    size = ("--num-cpus=1", "--block", "--disable-usage-stats", "--object-store-memory=80000000")
    with namespaces():
        try:
            ray(SPACES[0], "start", "--head", f"--node-ip-address={HEAD}", "--port=6379", "--include-dashboard=false", *size)
            time.sleep(15)
            ray(SPACES[1], "start", f"--address={ADDRESS}", f"--node-ip-address={OTHER}", *size)
            time.sleep(15)
            yield
        finally:
            for space in SPACES:
                ended(space)


def started(space: str | None, verb: str, *words: str) -> subprocess.Popen[bytes]:
    inside = [] if space is None else ["ip", "netns", "exec", space]
    if space is not None:
        words = (*words, "workers=2", f"runner={{kind: ray, address: '{ADDRESS}'}}")
    command = [*inside, sys.executable, "-m", "robo_dream.cli.main", verb, *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def evaluating(out: Path, pairs: int, space: str | None = None) -> subprocess.Popen[bytes]:
    what = ["tasks=[reach]", "methods=[policy_alone]", f"num_pairs={pairs}", "workers=1", f"out={out}"]
    return started(space, "evaluate", "--config=configs/evaluate/jaco.yaml", *what)


def collecting(out: Path, episodes: int, space: str | None = None) -> subprocess.Popen[bytes]:
    what = [f"num_episodes={episodes}", "play.num_steps=100", "workers=1", f"out={out}"]
    return started(space, "collect", "--config=configs/collect/jaco_tiny.yaml", *what)


def until(run: subprocess.Popen[bytes], is_time: Callable[[], bool]) -> list[int]:
    """Waits for `is_time` and for work of the second node; its workers that are at some."""
    workers: list[int] = []
    while run.poll() is None and not (is_time() and (workers := at_work(SPACES[1]))):
        time.sleep(0.02)
    return workers


def waited(run: subprocess.Popen[bytes]) -> None:
    _, said = run.communicate(timeout=900)
    if run.returncode:
        raise RuntimeError(f"evaluate ended with {run.returncode}: {said.decode()[-2000:]}")


def outcomes(out: Path) -> list[Result]:
    return sorted((replace(one, decision_seconds=()) for one in read_results(out / "results.jsonl")), key=lambda one: one.pair)


def episodes(root: Path) -> dict[int, list[Episode]]:
    found: dict[int, list[Episode]] = {}
    for episode in open_dataset(root) if root.exists() else ():
        found.setdefault(episode.seed, []).append(episode)
    return found


def same(one: Episode, other: Episode) -> bool:
    arrays = ("proprio", "actions", "object_pose", "sim_state", "times", "skill")
    alike = all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in arrays)
    return alike and one.info == other.info and all(np.array_equal(one.images[name], other.images[name]) for name in one.images)


def collection(folder: Path, count: int) -> Iterator[tuple[str, int]]:
    """On the cluster beside one process here, with the other node's worker killed."""
    here, there = folder / "played_here", folder / "played_there"
    waited(collecting(here, count))
    run = collecting(there, count, SPACES[0])
    killed = until(run, lambda: len(list(there.glob("shard-*/data/*/*.parquet"))) >= count // 3)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    waited(run)
    one, other = episodes(here), episodes(there)
    yield "episodes", count
    yield "workers_killed_in_an_episode", len(killed)
    yield "episodes_twice_or_missing", sum(len(other.get(seed, ())) != 1 for seed in range(count)) + len(other.keys() - {*range(count)})
    yield "episodes_differing", sum(not same(one[seed][0], other[seed][0]) for seed in other)


def nothing() -> Callable[[int], int]:
    return abs


def overhead(pieces: int) -> float:
    """Seconds a piece of work that does nothing, by two workers of the cluster; of a driver in the head's namespace."""
    answers = spread(RayRunner(address=ADDRESS), nothing, range(pieces), 2)
    for _ in range(pieces // 5):  # until both have begun
        next(answers)
    began, arrived = time.perf_counter(), len(list(answers))
    return (time.perf_counter() - began) / arrived


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--pieces", type=int, default=1000)
    parser.add_argument("--overhead-only", action="store_true", help="of a cluster that runs; prints seconds a piece")
    parser.add_argument("--out", type=Path, default=Path("docs/results/ray.json"))
    args = parser.parse_args()
    if args.overhead_only:
        print(overhead(args.pieces))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        here, there = Path(folder) / "here", Path(folder) / "there"
        waited(evaluating(here, args.pairs))
        with cluster():
            alone = ["ip", "netns", "exec", SPACES[0], sys.executable, __file__, "--overhead-only", f"--pieces={args.pieces}"]
            seconds = float(subprocess.run(alone, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()[-1])
            played = dict(collection(Path(folder), args.episodes))
            run, lines = evaluating(there, args.pairs, SPACES[0]), there / "results.jsonl"
            num_at_work = len(until(run, lambda: lines.exists() and lines.read_bytes().count(b"\n") >= args.pairs // 3))
            done, num_killed = lines.read_bytes().count(b"\n"), len(pids(SPACES[1]))
            ended(SPACES[1])
            waited(run)
        one, other = outcomes(here), outcomes(there)
    figures: dict[str, float | int | str | None] = {
        "pairs": args.pairs, "pairs_done_when_killed": done, "processes_killed": num_killed,
        "workers_killed_in_a_pair": num_at_work,
        "pairs_twice_or_missing": len({*range(args.pairs)} ^ {result.pair for result in other}) + len(other) - len({r.pair for r in other}),
        "outcomes_differing": sum(left != right for left, right in zip(one, other, strict=False)),
        **played, "overhead_ms": round(1e3 * seconds, 2), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    write_figures(args.out, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
