"""How often a script that is told where everything is solves reach and push with an arm, in plain simulation: what an arm's model allows.

    python benchmarks/scripted_arms.py --arm so101 --trials 50

Prints one line of JSON for each task. Push heads for the box's goal spot, correcting sideways; how the box is turned is left to chance.
"""

import argparse
import json
from itertools import islice

import numpy as np

from robo_dream.runtime.plan_episode import drawn_attempt
from sim.tabletop.behaviours.solve import solve
from sim.tabletop.scene import SceneConfig
from sim.tabletop.tasks.attempt import Attempt
from sim.tabletop.tasks.catalogue import task_named
from sim.tabletop.world import World

MAX_STEPS = 80  # control steps of 0.1 s


def attempt_of(world: World, task: str, seed: int) -> Attempt:
    """The attempt after the script's last step."""
    attempt = drawn_attempt(world, task_named(task), seed)
    for move in islice(solve(world, attempt, np.random.default_rng(seed)), MAX_STEPS):
        world.step_move(move)
        attempt.record(world)
    return attempt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", default="so101")
    parser.add_argument("--trials", type=int, default=50)
    args = parser.parse_args()
    with World(SceneConfig(arm=args.arm)) as world:
        for task in ("reach", "push"):
            tried = [attempt_of(world, task, seed).progress for seed in range(args.trials)]
            rates = {kind: float(np.mean([getattr(one, f"{kind}_step") is not None for one in tried])) for kind in ("moderate", "strict")}
            print(json.dumps({"arm": args.arm, "task": task, "trials": args.trials, **rates}))


if __name__ == "__main__":
    main()
