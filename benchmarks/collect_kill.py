"""Kills `robo-dream collect` with SIGKILL at random moments and checks that no finished episode is ever lost.

    python benchmarks/collect_kill.py --kills 20

After every kill the dataset must open, hold every episode that the progress bar had counted, and hold those of the last time
unchanged. At the end the command runs undisturbed, and every episode must be there once, equal to one played without any of this.
Every second kill takes the parent alone, so that its workers must end by themselves; the others take all processes at once.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from robo_dream.data.reader import Dataset

ROOT = Path(__file__).parents[1]
Finished = dict[int, str]  # seed of each committed episode: SHA-256 of its data


def start(out: Path, num_episodes: int, num_steps: int, log: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "robo_dream.cli.main", "collect", f"out={out}", f"num_episodes={num_episodes}", "workers=2",
        f"play.num_steps={num_steps}",
    ]  # fmt: skip
    with open(log, "wb") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)


def finished(out: Path) -> Finished:
    """What the dataset holds, every episode of it read and checked against its hash."""
    found: Finished = {}
    for root in sorted(out.glob("shard-*")):
        if not (root / "meta/info.json").exists():
            continue  # killed before the shard was a dataset
        data = Dataset.open(root)
        for index, row in enumerate(data.rows):
            episode = data.episode(index)
            assert episode.seed not in found, f"seed {episode.seed} was played twice"
            found[episode.seed] = row["robo_dream/data_sha256"]
    return found


def counted(log: Path) -> int:
    """The last count that the progress bar showed."""
    return max([int(n) for n in re.findall(rb"(\d+)/\d+ \[", log.read_bytes())], default=0)


def kill(process: subprocess.Popen[bytes], alone: bool) -> None:
    """SIGKILL to the parent alone, whose workers then end by themselves, or to all."""
    if alone:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("workers outlived their parent by a minute")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8.0, help="a kill comes at most this long after the first new episode")
    parser.add_argument("--steps", type=int, default=20, help="control steps of an episode")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    lost, early, history = 0, 0, [0]
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "data", Path(folder) / "log"
        before: Finished = {}
        for number in range(args.kills):
            process = start(out, len(before) + 10_000, args.steps, log)  # more than it can finish
            if number % 4:  # every fourth kill may come while processes are still starting
                while process.poll() is None and counted(log) <= len(before):
                    time.sleep(0.02)
            time.sleep(draw.uniform(0, args.seconds))
            early += process.poll() is None and counted(log) <= len(before)
            kill(process, alone=number % 2 == 0)
            after = finished(out)
            lost += sum(after.get(seed) != digest for seed, digest in before.items()) + max(0, counted(log) - len(after))
            before = after
            history.append(len(after))
        num_episodes = max(before, default=0) + 3  # the holes that kills left among the seeds, and two more
        assert start(out, num_episodes, args.steps, log).wait() == 0, log.read_text()
        done = finished(out)
        lost += sum(done.get(seed) != digest for seed, digest in before.items())
        wrong = sorted(set(range(num_episodes)) ^ set(done))
        equal = _is_as_played_alone(out, args.steps)
    print(json.dumps({
        "kills": args.kills, "kills_before_first_new_episode": early, "finished_after_each_kill": history[1:], "episodes": len(done),
        "lost": lost, "missing_or_odd": wrong, "equal_to_undisturbed": equal,
    }))  # fmt: skip
    return 0 if lost == 0 and not wrong and equal else 1


def _is_as_played_alone(out: Path, num_steps: int) -> bool:
    """Whether the last episode of each shard is what its seed gives in a fresh world."""
    from sim.scripts import scripted_episode
    from sim.tabletop.behaviours.play import PlayConfig
    from sim.tabletop.environment import Tabletop

    with Tabletop() as world:
        for root in sorted(out.glob("shard-*")):
            data = Dataset.open(root)
            kept = data.episode(data.num_episodes - 1)
            again = scripted_episode(world, kept.seed, PlayConfig(num_steps=num_steps))
            same = all(np.array_equal(kept.images[name], again.images[name]) for name in again.images)
            if not (same and np.array_equal(kept.sim_state, again.sim_state) and np.array_equal(kept.actions, again.actions)):
                return False
    return True


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("LP_NUM_THREADS", "0")
    sys.exit(main())
