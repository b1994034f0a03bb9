"""A task solved by a script that is told where everything is: what an arm and its limits allow."""

from collections.abc import Callable, Mapping

import numpy as np

from robo_dream.control.cartesian import downward_yaw
from robo_dream.errors import ConfigError
from sim.attempt import Attempt
from sim.ground_truth import GroundTruth
from sim.tabletop.behaviours import skills
from sim.tabletop.behaviours.skills import Moves
from sim.tabletop.world import World

Script = Callable[[World, GroundTruth, np.random.Generator], Moves]


def solve(world: World, attempt: Attempt, rng: np.random.Generator) -> Moves:
    """Tool moves towards the attempt's goal, from where `world` is. Raises `ConfigError` for a task that has no script."""
    script = _SCRIPTS.get(attempt.pair.task)
    if script is None:
        raise ConfigError(f"no script solves the task {attempt.pair.task!r}; there are scripts for {', '.join(sorted(_SCRIPTS))}")
    return script(world, attempt.goal, rng)


def _reach(world: World, goal: GroundTruth, rng: np.random.Generator) -> Moves:
    yield from skills.go(world, goal.tool_pos, 0.0, skills.OPEN, tolerance=0.004)
    yield from skills.squeeze(world, skills.OPEN, 10)


def _push(world: World, goal: GroundTruth, rng: np.random.Generator) -> Moves:
    """Heads for the box's goal spot, correcting sideways, twice; how the box is turned is left to chance."""
    seen, spot = world.object_pose[:2], goal.object_pose[:2]
    yield from skills.rise(world)
    for _ in range(2):
        heading = (spot - seen) / np.linalg.norm(spot - seen)
        yield from skills.push_from(world, rng, seen - 0.08 * heading, spot, 0.0, np.zeros(2))
        tool = world.kinematics.forward(world.joint_target[:-1])
        yield from skills.go(world, np.array([*tool.pos[:2], skills.TRAVEL_Z]), downward_yaw(tool.quat), skills.CLOSED, max_steps=12)
        seen = world.object_pose[:2]


_SCRIPTS: Mapping[str, Script] = {"reach": _reach, "push": _push}
