"""The oracle of a twin: a script that is told the true poses chooses the moves, where no checkpoint knows the arm."""

import numpy as np
import torch

from robo_dream.embodiment import Observation
from robo_dream.imagination import Goal
from sim.attempt import Attempt
from sim.tabletop.behaviours.solve import solve
from sim.tabletop.world import World

ORACLE = "oracle: true poses, not imagination"


class Oracle:
    """The script's next move, for a `ScriptPolicy`. `world` shows how the twin is; where the arm was told to be, the arm says."""

    def __init__(self, world: World, attempt: Attempt, seed: int) -> None:
        self._world = world
        self._moves = solve(world, attempt, np.random.default_rng(seed))

    def __call__(self, observation: Observation) -> np.ndarray | None:
        arm = observation.arm
        joints = arm.joint_pos if arm.joint_target is None else arm.joint_target
        self._world.set_servos(np.append(joints, arm.target_gripper))
        return next(self._moves, None)


def oracle_goal(attempt: Attempt) -> Goal:
    """The attempt's goal in metres; there is no latent."""
    goal = attempt.goal
    tool, box = (torch.tensor(np.asarray(pos, np.float32))[None] for pos in (goal.tool_pos, goal.object_pose[:3]))
    return Goal(torch.zeros(1, 0), object_pos=box[:, None], tool_pos=tool)
