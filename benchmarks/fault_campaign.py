"""How many random faults end in a safe, still arm and a readable record, by promise, fault and driver.

    python benchmarks/fault_campaign.py                        # each fault twice on each driver: some 510, five minutes
    python benchmarks/fault_campaign.py --num 10 --seed 3      # any number, other ones
    python benchmarks/fault_campaign.py --drivers ur xarm      # some drivers
    python benchmarks/fault_campaign.py --log faults.jsonl     # goes on where it was cut off
    python benchmarks/fault_campaign.py --real 20              # ur-rtde and the xArm SDK unmodified, in real time

Half of the faults strike under limits that are drawn, each with probability one half, from all of its plausible range. Of all but `--real`
and `--drivers` the figures are written to docs/results/fault_campaign.json.

All but `--real` runs in simulated time: the driver, its vendor's own packets (of Universal Robots a stand-in for ur-rtde, which has a clock
of its own), the guard, the loop, the emulated wire and MuJoCo in one process, so that nothing depends on this computer. Unsafe is measured
in the physics: a joint beyond its limits, faster than 1.5 times the speed on the wire, a part out of its box, links that press into the
table or each other. A stop is late when a joint still moves (0.05 rad/s) after the time stated for that fault and driver.
"""

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.campaign: what sees both worlds and ships with neither

from results_file import write_figures

from robo_dream.recording.events import append_line
from tests.campaign.benches import KINDS
from tests.campaign.runs import Outcome
from tests.campaign.shots import arm_shots, missing, planner_shots, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=2, help="of each fault between commander and arm; half as many of those above")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drivers", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--log", type=Path, help="a file of one line a fault, to go on with later")
    parser.add_argument("--out", type=Path, default=Path("docs/results/fault_campaign.json"))
    parser.add_argument("--real", type=int, default=0, metavar="N", help="N faults in real time for each of ur and xarm instead")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began, outcomes = time.monotonic(), list[Outcome]()
    known = _logged(args.log)
    for driver in args.drivers:
        if missing(driver):
            print(f"{driver} is left out: {missing(driver)} is not installed")
            continue
        if args.real:
            from tests.campaign.real_time import CLIENTS, run_real

            if driver in CLIENTS:
                outcomes += run_real(driver, args.real, args.seed)
            continue
        for shot in (*arm_shots(driver, args.num, args.seed), *planner_shots(driver, max(args.num // 2, 1), args.seed)):
            if (outcome := known.get((driver, shot.case.fault, shot.seed))) is None:
                outcome = shot.fire()
                if args.log is not None:
                    append_line(args.log, json.dumps(asdict(outcome)).encode() + b"\n")
            outcomes.append(outcome)
            _complain(outcome)
    print(table(outcomes))
    print(
        f"\n{len(outcomes)} faults in {time.monotonic() - began:.0f} s: {sum(bool(one.unsafe) for one in outcomes)} unsafe, "
        f"{sum(one.is_late for one in outcomes)} stopped late, {sum(bool(one.record) for one in outcomes)} with a bad record"
    )
    if not args.real and set(args.drivers) == set(KINDS):
        write_figures(args.out, _figures(outcomes))
    sys.exit(1 if any(one.problems for one in outcomes) else 0)


def _figures(outcomes: list[Outcome]) -> dict[str, float | int | str | None]:
    struck = [one for one in outcomes if one.has_struck]
    figures: dict[str, float | int | str | None] = {
        "drivers": len({one.driver for one in struck}), "faults": len(struck),
        "faults_under_drawn_limits": sum(one.has_drawn_limits for one in struck),
        "not_struck_since_drawn_limits_had_stopped_the_arm": len(outcomes) - len(struck),
        "unsafe_motions": sum(bool(one.unsafe) for one in struck), "late_stops": sum(bool(one.is_late) for one in struck),
        "unreadable_records": sum(bool(one.record) for one in struck),
    }  # fmt: skip
    for one in struck:
        for what, count in (("faults", 1), ("problems", int(bool(one.problems)))):
            key = f"{what}/{one.promise}/{one.driver}"
            figures[key] = int(figures.get(key) or 0) + count
    return figures


def _logged(log: Path | None) -> dict[tuple[str, str, int], Outcome]:
    """The faults that struck already."""
    lines = [] if log is None or not log.exists() else log.read_text().splitlines()
    found = [Outcome(**json.loads(line)) for line in lines]
    return {(one.driver, one.fault, one.seed): one for one in found}


def _complain(outcome: Outcome) -> None:
    if outcome.problems:
        print(f"{outcome.driver}, {outcome.fault}, seed {outcome.seed}: {'; '.join(outcome.problems)}", flush=True)


if __name__ == "__main__":
    main()
