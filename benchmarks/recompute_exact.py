"""How many recorded decisions of each planner can be made again to the bit, by another process, from record and checkpoint.

    robo-dream plan --config configs/plan/demo.yaml task=push out=runs/push
    python benchmarks/recompute_exact.py --run runs/push/<date>/push-3/record --out runs/recompute

Shows every planner `--decisions` times what the arm of `--run` saw, each plan warm-starting the next and every third one cut by a
deadline, keeps a record of that, and lets `robo-dream replay RECORD --recompute` make all of it again.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from robo_dream import config
from robo_dream.control.decision import decision_of, goal_record
from robo_dream.imagination import Goal
from robo_dream.models import checkpoint
from robo_dream.planning.kinds import PLANNER_CONFIGS
from robo_dream.recording.record import RunRecord, find_record, read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.made_with import made_with
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, build_planner

KINDS = ("policy_guided", "cem", "icem", "mppi", "predictive", "gradient", "hybrid", "policy_alone")
SMALLER = {"cem": {"num_samples": 100, "num_iterations": 4}, "mppi": {"num_samples": 128}, "gradient": {"num_iterations": 5}}
COST = {"distance": 0.0, "pose": 1.0, "pose_parts": {"object_pos": 100.0, "tool_pos": 5.0}}


def record(run: RunRecord, kind: str, num_decisions: int, root: Path) -> float:
    """Records `num_decisions` of planner `kind` in `root`; the share of them that a deadline cut."""
    path = Path(run.about["checkpoint"])
    model = load_checkpoint_model(path)
    assert kind in PLANNER_CONFIGS
    planning = config.parse(PlanningConfig, {"planner": {"kind": kind} | SMALLER.get(kind, {}), "cost": COST}, "benchmark")
    planner = build_planner(planning.planner, model, planning.cost, planning.proposals)
    about = {
        "planning": config.dump(planning), "checkpoint": str(path), "checkpoint_sha256": checkpoint.sha256(path),
        "made_with": made_with(model.device),
    }  # fmt: skip
    goal, previous, num_cut, typical = Goal(torch.tensor(run.goal.latent)[None]), None, 0, 0.1
    with RunWriter(root, about, goal_record(goal, {}), max_wait=60.0) as writer:
        for number in range(num_decisions):
            observation = run.steps[number % len(run.steps)].observation
            belief = model.believe([[observation]])
            start = time.monotonic()
            plan = planner.plan(belief, goal, [1000 + number], previous, start + typical / 2 if number % 3 == 2 else None)
            if number % 3 == 0:
                typical = time.monotonic() - start
            writer.on_decision(decision_of(plan, 0, number, observation.time, belief, goal, previous))
            writer.on_step(observation, np.zeros(model.action_spec.size, np.float32), np.zeros(model.action_spec.size, np.float32))
            num_cut += bool(plan.trace.late_readings)
            previous = plan
    return num_cut / num_decisions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--decisions", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    args = parser.parse_args()
    run = read_run(find_record(args.run))
    for kind in args.kinds:
        root = args.out / kind
        shutil.rmtree(root, ignore_errors=True)
        cut = record(run, kind, args.decisions, root)
        command = [sys.executable, "-m", "robo_dream.cli.main", "replay", str(root), "--recompute"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = [line for line in done.stdout.splitlines() if "exactly the same" in line] or [done.stderr.strip()]
        print(f"{kind:<12} {said[-1]}, exit code {done.returncode}; {cut:.0%} cut by a deadline", flush=True)


if __name__ == "__main__":
    main()
