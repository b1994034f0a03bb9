"""`robo-dream train` as torchrun starts it: on two processes, of which one is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from train_kill import overrides, write_data

from robo_dream.cli.main import main

ROOT = Path(__file__).parents[2]
STEPS = 4
LEARNED = 5e-3  # of a loss (or 0.01 of it): the rounding of sums, learned from again for some steps and over stages
LOSSES = {"representation": "reconstruction", "dream": "dynamics", "policy": "goal_policy", "decoder": "pictures"}


def curves(out: Path) -> dict[tuple[str, int], list[float]]:
    """The main loss of each stage, of every time that each step was done."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()):
        if row["stage"] in LOSSES:
            found.setdefault((row["stage"], row["step"]), []).append(row[LOSSES[row["stage"]]])
    return found


def worker_of(torchrun: int, rank: int) -> int:
    """Its process id; Linux says whose child is whose."""
    children = (Path("/proc") / str(torchrun) / "task" / str(torchrun) / "children").read_text().split()
    return next(int(child) for child in children if f"\0RANK={rank}\0" in (Path("/proc") / child / "environ").read_text())


def test_a_training_that_loses_a_process_goes_on_from_what_was_saved_and_learns_what_one_process_does(tmp_path: Path) -> None:
    data, alone, both = write_data(tmp_path / "data"), tmp_path / "alone", tmp_path / "both"
    words = {out: ["train", *overrides(data, out, STEPS), "training.log_steps=1"] for out in (alone, both)}
    assert main(words[alone]) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m"]
    log = tmp_path / "said"
    with log.open("w") as said:
        torchrun = subprocess.Popen(
            [*command, "robo_dream.cli.main", *words[both]], cwd=ROOT, stdout=said, stderr=said, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        while not (both / "dream.state.safetensors").exists():
            assert torchrun.poll() is None, log.read_text()
            time.sleep(0.01)
        os.kill(worker_of(torchrun.pid, 1), signal.SIGKILL)
        assert torchrun.wait(300) == 0, log.read_text()
    one, two = curves(alone), curves(both)
    assert one.keys() == two.keys()
    assert all(len(two["representation", step]) == 1 for step in range(1, STEPS + 1))  # what was done is not done again
    assert all(abs(values[-1] - one[key][0]) < LEARNED * max(abs(one[key][0]), 0.01) for key, values in two.items())
    assert log.read_text().count("Checkpoint: ") == 1 and "(exitcode: -9) local_rank: 1" in log.read_text()
