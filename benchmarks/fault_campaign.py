"""How many random faults end in a safe, still arm and a readable record, by promise, fault and driver.

    python benchmarks/fault_campaign.py                        # each fault twice on each driver: some 510, two minutes
    python benchmarks/fault_campaign.py --num 10 --seed 3      # any number, other ones
    python benchmarks/fault_campaign.py --drivers ur xarm      # some drivers
    python benchmarks/fault_campaign.py --real 20              # ur-rtde and the xArm SDK unmodified, in real time

All but `--real` runs in simulated time: the driver, its vendor's own packets (of Universal Robots a stand-in for ur-rtde, which has a clock
of its own), the guard, the loop, the emulated wire and MuJoCo in one process, so that nothing depends on this computer. Unsafe is measured
in the physics: a joint beyond its limits, faster than 1.5 times the speed on the wire, a part out of its box, links that press into the
table or each other. A stop is late when a joint still moves (0.05 rad/s) after the time stated for that fault and driver.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.campaign: what sees both worlds and ships with neither

from tests.campaign.benches import KINDS
from tests.campaign.runs import Outcome
from tests.campaign.shots import arm_shots, missing, planner_shots, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=2, help="of each fault between commander and arm; half as many of those above")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drivers", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--real", type=int, default=0, metavar="N", help="N faults in real time for each of ur and xarm instead")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began, outcomes = time.monotonic(), []
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
            outcomes.append(shot.fire())
            _complain(outcomes[-1])
    print(table(outcomes))
    print(
        f"\n{len(outcomes)} faults in {time.monotonic() - began:.0f} s: {sum(bool(one.unsafe) for one in outcomes)} unsafe, "
        f"{sum(one.is_late for one in outcomes)} stopped late, {sum(bool(one.record) for one in outcomes)} with a bad record"
    )
    sys.exit(1 if any(one.problems for one in outcomes) else 0)


def _complain(outcome: Outcome) -> None:
    if outcome.problems:
        print(f"{outcome.driver}, {outcome.fault}, seed {outcome.seed}: {'; '.join(outcome.problems)}", flush=True)


if __name__ == "__main__":
    main()
