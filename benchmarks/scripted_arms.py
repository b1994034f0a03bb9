"""How often a script that is told where everything is solves reach and push with an arm, in plain simulation: what an arm's model allows.

    python benchmarks/scripted_arms.py --arm so101 --trials 50

Prints one line of JSON for each task. Push heads for the box's goal spot, correcting sideways; how the box is turned is left to chance.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice

import numpy as np

from robo_dream.control.cartesian import downward_yaw
from sim.behaviours import skills
from sim.scene import SceneConfig
from sim.tasks.attempt import Attempt
from sim.tasks.catalogue import task_named
from sim.tasks.task import moment_at
from sim.world import World

MAX_STEPS = 80  # control steps of 0.1 s


def moves(world: World, attempt: Attempt, rng: np.random.Generator) -> Iterator[np.ndarray]:
    assert attempt.goal_state is not None
    goal = moment_at(world, attempt.goal_state)
    if attempt.task.name == "reach":
        yield from skills.go(world, goal.tool_pos, 0.0, skills.OPEN, tolerance=0.004)
        yield from skills.squeeze(world, skills.OPEN, 10)
        return
    seen, spot = world.object_poses[0, :2], goal.object_pose[:2]
    yield from skills.rise(world)
    for _ in range(2):
        heading = (spot - seen) / np.linalg.norm(spot - seen)
        yield from skills.push_from(world, rng, seen - 0.08 * heading, spot, 0.0, np.zeros(2))
        tool = world.kinematics.forward(world.joint_target[:-1])
        yield from skills.go(world, np.array([*tool.pos[:2], skills.TRAVEL_Z]), downward_yaw(tool.quat), skills.CLOSED, max_steps=12)
        seen = world.object_poses[0, :2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", default="so101")
    parser.add_argument("--trials", type=int, default=50)
    args = parser.parse_args()
    with World(SceneConfig(arm=args.arm)) as world:
        for task in ("reach", "push"):
            tried = []
            for seed in range(args.trials):
                rng = np.random.default_rng(seed)
                attempt = Attempt(task_named(task))
                attempt.reset(world, rng)
                for move in islice(moves(world, attempt, rng), MAX_STEPS):
                    world.step_move(move)
                    attempt.record(world)
                tried.append(attempt.progress)
            rates = {kind: float(np.mean([getattr(one, f"{kind}_step") is not None for one in tried])) for kind in ("moderate", "strict")}
            print(json.dumps({"arm": args.arm, "task": task, "trials": args.trials, **rates}))


if __name__ == "__main__":
    main()
