"""A world at the start of a pair, and everything that an attempt needs of it: our own scene or one that others wrote."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robo_dream.embodiment import Camera, Clock, Observation, RobotArm
from robo_dream.evaluation.manifest import Manifest
from robo_dream.safety.limits import SafetyLimits
from sim import environment as environments
from sim.devices import EnvironmentArm, EnvironmentCamera, EnvironmentClock
from sim.environment import Environment
from sim.ground_truth import GroundTruth, ground_truth_of
from sim.tabletop.arm import SimClock, guarded_tool_arm
from sim.tabletop.tasks.catalogue import task_named
from sim.tabletop.tasks.task import Criterion, goal_observation, ground_truth_at
from sim.tabletop.world import SimCamera, World


@dataclass(frozen=True)
class Stage:
    """`ground_truth` and `truth` are for scores, and for the row of true physics; nothing else may read them."""

    arm: RobotArm
    cameras: Sequence[Camera]
    clock: Clock
    limits: SafetyLimits
    criterion: Criterion
    goal: GroundTruth
    goal_observation: Observation
    ground_truth: Callable[[], GroundTruth]
    truth: Callable[[], Mapping[str, np.ndarray]]


def scene_stage(world: World, manifest: Manifest, pair: int, cameras: Sequence[str]) -> Stage:
    """Our own scene, its arm behind the guard that a real one has."""
    goal, limits = manifest.goals[pair], SafetyLimits()
    world.set_state(manifest.starts[pair])
    return Stage(
        guarded_tool_arm(world, limits), [SimCamera(world, name) for name in cameras], SimClock(world), limits, task_named(manifest.task),
        ground_truth_at(world, goal), goal_observation(world, goal), lambda: ground_truth_of(world), world.truth,
    )  # fmt: skip


def environment_stage(environment: Environment, manifest: Manifest, pair: int, cameras: Sequence[str]) -> Stage:
    """A world that others wrote. Its arm cannot break, so a model in uncertainty of where the hand is acts all the same."""
    goal = manifest.goals[pair]
    environment.set_state(manifest.starts[pair])
    arm = EnvironmentArm(environment)
    return Stage(
        arm, [EnvironmentCamera(environment, name) for name in cameras], EnvironmentClock(environment, arm),
        SafetyLimits(max_tool_error=None), environments.task_named(environment, manifest.task).criterion,
        environments.ground_truth_at(environment, goal), environments.goal_observation(environment, goal), environment.ground_truth,
        lambda: environments.truth(environment),
    )  # fmt: skip
