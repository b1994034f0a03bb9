"""Kills `robo-dream plan` and a twin's `run` with SIGKILL at random moments: `python benchmarks/run_kill.py`. Writes run_kills.json.

    python benchmarks/run_kill.py --kills 20              # each verb so often: some minutes

After each kill the record must open, hold every decision that was on disk by then, and no file of it may be damaged.
"""

import argparse
import json
import multiprocessing as mp
import os
import random
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from results_file import write_figures

from robo_dream.recording.record import RUN, read_run

VERBS = ("plan", "run")
_PATIENCE = 600.0  # s without a word of a run, after which something is wrong
_SEARCH = ("planning.planner.num_samples=32", "planning.planner.num_elites=4", "planning.planner.num_proposals=8")


def words_of(verb: str, out: Path, seed: int) -> list[str]:
    """A command line that makes many small decisions."""
    common = [f"out={out}", f"seed={seed}", *_SEARCH, "loop.max_steps=100"]
    if verb == "plan":
        return ["plan", "task=push", *common]
    slow = ["loop.limits.max_state_age=0.5", "loop.limits.max_command_gap=0.5"]  # a computer that others use too
    return ["run", "--config", "configs/hardware/jaco_twin.yaml", *common, *slow]


def run_in_child(words: list[str], pipe: Connection) -> None:
    """One command, told after each decision that is on disk."""
    os.environ |= {"MUJOCO_GL": "egl", "LP_NUM_THREADS": "0"}
    os.setpgid(0, 0)
    import torch

    from robo_dream.cli import main
    from robo_dream.recording.decision import Decision
    from robo_dream.recording.writer import RunWriter

    torch.set_num_threads(1)
    write = RunWriter._write_decision

    def told(self: RunWriter, decision: Decision) -> None:
        write(self, decision)
        pipe.send(decision.step)

    RunWriter._write_decision = told  # type: ignore[method-assign]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        pipe.send(("ended", main.main(words)))


@dataclass(frozen=True)
class Kill:
    """One kill: decisions that were on disk, decisions that the record has, and its files that are damaged."""

    finished: tuple[int, ...]
    kept: tuple[int, ...]
    damaged: int
    came_in_time: bool

    @property
    def lost(self) -> int:
        return len(set(self.finished) - set(self.kept))


def killed(verb: str, folder: Path, number: int, draw: random.Random) -> Kill:
    """One run, killed at a random moment after a random decision."""
    made = mp.get_context("forkserver")
    made.set_forkserver_preload(["robo_dream.runtime.session", "robo_dream.runtime.plan"])
    mine, theirs = made.Pipe()
    process = made.Process(target=run_in_child, args=(words_of(verb, folder, number), theirs))
    process.start()
    theirs.close()
    finished: list[int] = []
    wanted, ended = draw.randrange(1, 6), False
    try:
        while len(finished) < wanted and mine.poll(_PATIENCE):
            said = mine.recv()
            if not isinstance(said, int):
                ended = True
                break
            finished.append(said)
        time.sleep(draw.uniform(0, 0.5))
    except EOFError:
        ended = True
    finally:
        process.kill()
        process.join()
    while mine.poll():
        try:
            said = mine.recv()
        except EOFError:
            break
        finished += [said] if isinstance(said, int) else []
    roots = [path.parent for path in folder.rglob(RUN)]
    if not roots:
        return Kill(tuple(finished), (), 0, not ended)
    found = read_run(roots[0])
    return Kill(tuple(finished), tuple(one.step for one in found.decisions), len(found.damaged), not ended)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each verb")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/run_kills.json"))
    args = parser.parse_args()
    figures: dict[str, float] = {}
    for verb in VERBS:
        draw, kills = random.Random(args.seed), []
        for number in range(args.kills):
            with tempfile.TemporaryDirectory() as folder:
                kills.append(killed(verb, Path(folder), number, draw))
            print(verb, number, kills[-1], flush=True)
        figures |= {
            f"{verb}/kills": sum(kill.came_in_time for kill in kills),
            f"{verb}/finished_decisions": sum(len(kill.finished) for kill in kills),
            f"{verb}/lost_decisions": sum(kill.lost for kill in kills),
            f"{verb}/damaged_files": sum(kill.damaged for kill in kills),
        }  # fmt: skip
    write_figures(args.out, figures)
    print(json.dumps(figures))
    return int(any(value for name, value in figures.items() if name.endswith(("lost_decisions", "damaged_files"))))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main())
