"""How often a script that is told where everything is solves reach and push with an arm, in plain simulation: what an arm's model allows.

    python benchmarks/scripted_arms.py --arm so101 --trials 50

Prints one line of JSON for each task. Push heads for the box's goal spot, correcting sideways; how the box is turned is left to chance.
"""

import argparse
import json
from itertools import islice

import numpy as np

from sim.attempt import Attempt
from sim.pairs import drawn_pair
from sim.tabletop.behaviours.solve import solve
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import SceneConfig

MAX_STEPS = 80  # control steps of 0.1 s


def attempt_of(world: Tabletop, task: str, seed: int) -> Attempt:
    """The attempt after the script's last step."""
    attempt = Attempt(world, drawn_pair(world, task, np.random.default_rng(seed)))
    for move in islice(solve(world, attempt, np.random.default_rng(seed)), MAX_STEPS):
        world.step(move)
        attempt.record()
    return attempt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", default="so101")
    parser.add_argument("--trials", type=int, default=50)
    args = parser.parse_args()
    with Tabletop(SceneConfig(arm=args.arm)) as world:
        for task in ("reach", "push"):
            tried = [attempt_of(world, task, seed).progress for seed in range(args.trials)]
            rates = {kind: float(np.mean([getattr(one, f"{kind}_step") is not None for one in tried])) for kind in ("moderate", "strict")}
            print(json.dumps({"arm": args.arm, "task": task, "trials": args.trials, **rates}))


if __name__ == "__main__":
    main()
