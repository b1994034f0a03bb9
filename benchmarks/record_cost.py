"""What recording costs the control loop, and the disk.

    python benchmarks/record_cost.py --out /tmp/record_cost

Hands `--decisions` decisions of `--candidates` candidates, 5 imagined steps of 256 numbers, to a `RunWriter`, each with 5 control steps of
two 64 px views, while this thread does a planner's work: small matrix products from Python, `--work-ms` a decision. Prints how long the
handing over takes (the loop's cost), over all decisions and over those during which no other process took this one's core, what processor
time the writer's thread takes, and how large a decision is.
"""

import argparse
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import GoalRecord, read_run
from robo_dream.recording.writer import RunWriter

BLOCK, HORIZON, CHANNELS, SIDE, ELITES, TERMS = 5, 5, 256, 64, 12, ("distance", "pose", "disagreement")
CAMERAS = ("front", "side")


def made_up_decision(step: int, candidates: int) -> Decision:
    rng = np.random.default_rng(step)
    actions = rng.standard_normal((candidates, BLOCK * HORIZON, 5), np.float32)
    latents = rng.standard_normal((candidates, HORIZON, CHANNELS), np.float32)
    totals = rng.random(candidates, np.float32)
    return Decision(
        step=step, time=0.1 * step, planner="policy_guided", seed=step, status="OK", actions=actions[0], latents=latents[0],
        belief=latents[0, 0], goal=latents[1, 0], candidates=actions, candidate_latents=latents,
        terms={name: rng.random((candidates, HORIZON), np.float32) for name in TERMS}, totals=totals,
        origins=np.zeros(candidates, np.int64), origin_names=("noise",), best_by_iteration=totals[:3],
        disagreement=rng.random((candidates, HORIZON), np.float32), seconds={"total": 0.1}, total=0.5,
        elites=totals.argsort()[:ELITES], previous=actions[1], previous_elites=actions[:ELITES],
    )  # fmt: skip


def made_up_observation(step: int) -> Observation:
    rng = np.random.default_rng(step)
    frames = {name: Frame(0.1 * step, rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), step) for name in CAMERAS}
    joints, here = rng.normal(size=6), np.zeros(3)
    arm = ArmState(0.1 * step, joints, joints, here, np.array([1.0, 0, 0, 0]), 0.0, 0.0, here, 0.0, 0.0)
    return Observation(0.1 * step, frames, arm, {})


def work(seconds: float) -> None:
    """A planner's kind of work for `seconds`: many small operations called from Python."""
    weights, rows = torch.full((256, 256), 0.01), torch.ones(64, 256)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        rows = torch.relu(rows @ weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("/tmp/record_cost"))
    parser.add_argument("--decisions", type=int, default=500)
    parser.add_argument("--candidates", type=int, default=128)
    parser.add_argument("--work-ms", type=float, default=50.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(args.out, ignore_errors=True)
    handing, own, alone, writers = [], [], [], 0.0
    action = np.zeros(5, np.float32)
    with RunWriter(args.out, {"task": "none"}, GoalRecord({}, np.zeros(CHANNELS, np.float32), None, None), max_wait=60.0) as writer:
        for number in range(args.decisions):
            record = made_up_decision(number, args.candidates)
            seen = [made_up_observation(BLOCK * number + i) for i in range(BLOCK)]
            before = time.process_time() - time.thread_time()
            taken = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
            start, start_own = time.perf_counter(), time.thread_time()
            writer.on_decision(record)
            for observation in seen:
                writer.on_step(observation, action, action)
            handing.append(time.perf_counter() - start)
            own.append(time.thread_time() - start_own)
            alone.append(resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw == taken)
            work(args.work_ms / 1e3)  # while the thread writes six files
            while writer.num_waiting:
                time.sleep(0.001)
            writers += time.process_time() - time.thread_time() - before
        writer.finish(made_up_observation(0), {"end": "BUDGET"})
    print(f"{args.decisions} decisions of {args.candidates} candidates, each with {BLOCK} steps of {len(CAMERAS)} views of {SIDE} px")
    undisturbed = np.array(handing)[np.array(alone)]
    rows = (("all", handing), (f"{len(undisturbed)} undisturbed", undisturbed), ("processor time", own))
    for words, seconds in rows:
        p50, p95, p99 = 1e3 * np.percentile(seconds, (50, 95, 99))
        print(f"handing over, {words}: {p50:.3f} ms (p50), {p95:.3f} (p95), {p99:.3f} (p99), {1e3 * np.max(seconds):.3f} at most")
    print(f"the writer's thread takes {1e3 * writers / args.decisions:.1f} ms of processor time a decision")
    decisions = sum(path.stat().st_size for path in (args.out / "decisions").iterdir()) / args.decisions
    steps = sum(path.stat().st_size for path in (args.out / "steps").iterdir()) / args.decisions
    print(f"on disk {decisions / 1e3:.0f} kB a decision and {steps / 1e3:.0f} kB for its {BLOCK} control steps")
    run = read_run(args.out)
    assert len(run.decisions) == args.decisions and not run.damaged


if __name__ == "__main__":
    main()
