"""How often an arm reaches and pushes through its whole deployment path, beside the same task in plain simulation.

    python benchmarks/twins.py --arms so101 ur5e xarm --trials 50 --out runs/twins.jsonl
    python benchmarks/twins.py --arms so101 --policy imagination --out runs/so101.jsonl --figures docs/results/so101_twin.json

Each trial is one `robo-dream run --twin ARM`: the vendor's client, the emulated controller in front of a MuJoCo arm in real time, cameras
through librealsense software devices, the guard, the record. The script (told true poses), tasks, starts and goals are those of
benchmarks/scripted_arms.py, seed by seed. With --policy imagination the checkpoint of the arm's file plans for the twin from the pictures;
with --policy policy_alone its policy moves it, and nothing is chosen by imagining.
A row for each trial is appended to --out; started again, it goes on where it was. Prints the rows as JSON lines, and at the end a table.
--figures writes rates and decision times, with --evaluated also those of a results.jsonl of `robo-dream evaluate`, beside those of other
policies that the file has. Runs that missed are kept beside --out. On a machine that others use, run it as root: it then takes the
priority over them that a robot's computer has.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from results_file import write_figures
from scripted_arms import attempt_of

from robo_dream import config
from robo_dream.evaluation.intervals import paired_difference, wilson
from robo_dream.evaluation.results import read_results
from robo_dream.recording.events import append_line
from robo_dream.recording.record import read_run
from robo_dream.runtime.run import RunConfig
from sim.tabletop.environment import Tabletop

ROOT = Path(__file__).parents[1]
TASKS = ("reach", "push")
KINDS = ("moderate", "strict")
ORACLE, IMAGINATION, ALONE = "oracle", "imagination", "policy_alone"
POLICIES = {
    ORACLE: ("policy=oracle",),
    IMAGINATION: ("policy=imagination",),
    ALONE: ("policy=imagination", "planning.planner.kind=policy_alone"),
}
_LIMIT = 120.0  # s for a trial
Row = dict[str, Any]


def twin_trial(arm: str, task: str, seed: int, policy: str, out: Path) -> Row:
    rmtree(out, ignore_errors=True)  # of a trial that was cut short
    out.mkdir(parents=True)
    wanted = [f"goal.task={task}", f"goal.seed={seed}", *POLICIES[policy], f"out={out}"]
    command = [sys.executable, "-m", "robo_dream.cli.main", "run", "--twin", arm, *wanted]
    with (out / "said.txt").open("w") as said:
        try:
            done = subprocess.run(command, stdout=said, stderr=said, timeout=_LIMIT, cwd=ROOT, preexec_fn=_hurry)
            code: int | None = done.returncode
        except subprocess.TimeoutExpired:
            code = None
    row: Row = {"where": "twin", "policy": policy, "arm": arm, "task": task, "seed": seed, "code": code}
    found = list(out.glob("*/record"))
    run = read_run(found[0]) if found else None
    if run is None or run.result is None:
        return row | {"moderate": False, "strict": False, "end": "no result", "reasons": (out / "said.txt").read_text()[-500:]}
    times = np.array([step.observation.time for step in run.steps])
    ages = [step.observation.time - frame.time for step in run.steps for frame in step.observation.frames.values()]
    late = np.abs(np.diff(times) - run.about["action_spec"]["control_dt"])
    told = {key: run.result[key] for key in ("moderate", "strict", "moderate_step", "end", "reasons", "decision_seconds")}
    row |= told | {"steps": len(late), "first_cm": round(100 * run.result["distances"][0], 2)}
    row |= {"nearest_cm": round(100 * min(run.result["distances"]), 2), "events": dict(Counter(event.kind for event in run.events))}
    row |= {"jitter_ms": {f"p{p}": round(1e3 * float(np.percentile(late, p)), 2) for p in (50, 95)} if len(late) else {}}
    return row | {"frame_age_ms": {f"p{p}": round(1e3 * float(np.percentile(ages, p)), 1) for p in (50, 95)}}


def plain_trial(world: Tabletop, arm: str, task: str, seed: int) -> Row:
    progress = attempt_of(world, task, seed).progress
    moderate, strict = progress.moderate_step is not None, progress.strict_step is not None
    return {"where": "plain", "policy": ORACLE, "arm": arm, "task": task, "seed": seed, "moderate": moderate, "strict": strict}


def table(rows: list[Row]) -> str:
    """Rates in percent over the seeds that both have tried, with Wilson's 95 % interval; guard events a trial, jitter of a step in ms."""
    lines = [
        "| arm | task | trials | twin % | plain % | difference | strict, both | stopped | clips, holds, blocks | jitter p50 / p95 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, task in dict.fromkeys((row["arm"], row["task"]) for row in rows):
        tried = [row for row in rows if (row["arm"], row["task"]) == (arm, task)]
        first, second = ({row["seed"]: row for row in tried if row["where"] == where} for where in ("twin", "plain"))
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            continue
        twin, plain = ([some[seed] for seed in seeds] for some in (first, second))
        counts = [sum(row.get("events", {}).get(kind, 0) for row in twin) / len(seeds) for kind in ("clip", "hold", "blocked")]
        jitter = " / ".join(f"{np.median([row['jitter_ms'][p] for row in twin if row.get('jitter_ms')]):.1f}" for p in ("p50", "p95"))
        gap = 100 * (sum(row["moderate"] for row in twin) - sum(row["moderate"] for row in plain)) / len(seeds)
        strict = " / ".join(f"{100 * np.mean([row['strict'] for row in some]):.0f}" for some in (twin, plain))
        stopped = sum(row["end"] not in ("DONE", "BUDGET") for row in twin)
        lines.append(
            f"| {arm} | {task} | {len(seeds)} | {_rate(twin)} | {_rate(plain)} | {gap:+.0f} | {strict} | {stopped} "
            f"| {', '.join(f'{count:.1f}' for count in counts)} | {jitter} |"
        )
    return "\n".join(lines)


def figures_of(rows: list[Row]) -> dict[str, float | int]:
    """By arm, task, place and policy: pairs, rates in percent, and where something was decided, p50 and p95 of that in milliseconds."""
    figures: dict[str, float | int] = {}
    for key in dict.fromkeys(_key(row) for row in rows):
        some = [row for row in rows if _key(row) == key]
        figures[f"{key}/pairs"] = len(some)
        figures |= {f"{key}/{kind}": round(100 * float(np.mean([bool(row[kind]) for row in some])), 1) for kind in KINDS}
        seconds = [second for row in some for second in row.get("decision_seconds", ())]
        if seconds and not key.endswith(ORACLE):
            figures |= {f"{key}/decision_p{p}_ms": round(1e3 * float(np.percentile(seconds, p))) for p in (50, 95)}
        if key.split("/")[1] == "twin":
            figures[f"{key}/stopped"] = sum(row["end"] not in ("DONE", "BUDGET") for row in some)
        if key.endswith(f"/twin/{IMAGINATION}"):
            figures |= gains(some, [row for row in rows if _key(row) == key.replace(IMAGINATION, ALONE)], key)
    return figures


def gains(rows: list[Row], alone: list[Row], key: str) -> dict[str, float | int]:
    """What imagining adds to the policy alone on the seeds that both have tried (and how many), in points, with 95 % intervals."""
    ours, theirs = ({row["seed"]: row for row in some} for some in (rows, alone))
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return {}
    figures: dict[str, float | int] = {f"{key}/gain_pairs": len(both)}
    for kind in KINDS:
        first, second = (np.array([bool(some[seed][kind]) for seed in both]) for some in (ours, theirs))
        for name, value in zip(("", "_low", "_high"), paired_difference(first, second), strict=True):
            figures[f"{key}/gain_{kind}{name}"] = round(100 * value, 1)
    return figures


def evaluated(path: Path, arm: str) -> list[Row]:
    """The attempts of `robo-dream evaluate`, in plain simulation: by method, as rows like those of the script. Times are of the twins."""
    return [
        {"where": "plain", "policy": one.method, "arm": arm, "task": one.task, "moderate": one.moderate, "strict": one.strict}
        for one in read_results(path)
    ]


def _key(row: Row) -> str:
    return f"{row['arm']}-{row['task']}/{row['where']}/{row['policy']}"


def _rate(rows: list[Row]) -> str:
    won = sum(bool(row["moderate"]) for row in rows)
    low, high = wilson(won, len(rows))
    return f"{100 * won / len(rows):.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _hurry() -> None:
    """Goes before other work of this machine, as on a robot's own computer; behind the guard and the twin, which do so themselves."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=["so101", "ur5e", "xarm"])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("runs/twins.jsonl"))
    parser.add_argument("--policy", choices=POLICIES, default=ORACLE)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--figures", type=Path, help="a file in docs/results that the rates are put into")
    parser.add_argument("--evaluated", type=Path, help="results.jsonl of `robo-dream evaluate`, of the first of --arms")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    args = parser.parse_args()
    rows: list[Row] = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    rows = [{"policy": ORACLE, **row} for row in rows]  # files of before this was said
    done = {(row["where"], row["policy"], row["arm"], row["task"], row["seed"]) for row in rows}

    def keep(row: Row) -> None:
        append_line(args.out, json.dumps(row).encode() + b"\n")
        print(json.dumps(row), flush=True)
        rows.append(row)

    for arm in () if args.table else args.arms:
        scene = config.load(RunConfig, ROOT / f"configs/hardware/{arm}_twin.yaml", []).world
        with Tabletop(scene) as world:
            for task in args.tasks:
                for seed in range(args.trials):
                    if ("plain", ORACLE, arm, task, seed) not in done:
                        keep(plain_trial(world, arm, task, seed))
    for seed in () if args.table else range(args.trials):  # arms and tasks in turn, so that the table can be read early
        for arm in args.arms:
            for task in args.tasks:
                if ("twin", args.policy, arm, task, seed) in done:
                    continue
                out = args.out.with_suffix("") / f"{arm}-{task}-{args.policy}-{seed}"
                keep(row := twin_trial(arm, task, seed, args.policy, out.resolve()))
                if row["moderate"]:
                    rmtree(out)
    print(table([row for row in rows if row["where"] == "plain" or row["policy"] == args.policy]))
    if args.figures is not None:
        known = json.loads(args.figures.read_text()) if args.figures.is_file() else {}
        more = [] if args.evaluated is None else evaluated(args.evaluated, args.arms[0])
        write_figures(args.figures, {key: value for key, value in known.items() if key[0] != "_"} | figures_of([*rows, *more]))


if __name__ == "__main__":
    main()
