"""The oracle of a twin: a script that is told the true poses chooses the moves, where no checkpoint knows the arm."""

import numpy as np
import torch

from robo_dream.control.policies import ScriptPolicy
from robo_dream.embodiment import Observation
from robo_dream.recording.record import GoalRecord
from robo_dream.runtime.connect import Connected, scene_cameras
from robo_dream.runtime.made_with import made_with
from robo_dream.runtime.mover import Aimed, Mover
from robo_dream.runtime.run import RunConfig
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


def oracle_mover(config: RunConfig) -> Mover:
    """The oracle as the one who chooses the moves of a run."""
    return Mover(scene_cameras(config), lambda bench: None, lambda bench: _aimed(config, bench), said=f"the moves come from the {ORACLE}")


def _aimed(config: RunConfig, bench: Connected) -> Aimed:
    """Towards the attempt's goal in metres; there is no latent."""
    assert bench.attempt is not None  # see `require_policy`
    goal, seen = bench.attempt.goal, bench.attempt.goal_observation()
    tool, box = (np.asarray(pos, np.float32) for pos in (goal.tool_pos, goal.object_pose[:3]))
    kept = GoalRecord({name: frame.image for name, frame in seen.frames.items()}, np.zeros(0, np.float32), box[None], tool)
    made_by = {"policy": ORACLE, "made_with": made_with(torch.device("cpu"))}
    return Aimed(ScriptPolicy(Oracle(bench.world, bench.attempt, config.seed)), kept, made_by)
